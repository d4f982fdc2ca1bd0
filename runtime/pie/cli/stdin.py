"""Lines of stdin for a program, read by a thread of its own: a reader that waits holds up nobody."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

__all__ = ["read_stdin"]


def read_stdin(deliver: Callable[[str], object], close: Callable[[], object] = lambda: None) -> None:
    """Call `deliver` on the running event loop with each line, and `close` when there are no more."""
    if sys.stdin is None:  # closed by whoever started us
        close()
        return
    loop = asyncio.get_running_loop()

    def post(function: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: the program has ended
            loop.call_soon_threadsafe(function, *arguments)

    def read() -> None:
        with open(sys.stdin.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                post(deliver, line.decode("utf-8", "replace").rstrip("\r\n"))
        post(close)

    threading.Thread(target=read, name="stdin", daemon=True).start()
