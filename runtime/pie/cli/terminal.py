"""What people see on stderr while something slow goes on: a spinner on a terminal, one line per step elsewhere."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Any, Self

__all__ = ["Progress"]

QUIET_S = 3  # steps that end sooner leave no trace


class Progress:
    """Call it with the name of each step as it begins; `finish` ends the last one."""

    def __init__(self) -> None:
        """Decide by the terminal: NO_COLOR, TERM=dumb or a pipe give plain lines."""
        self._plain = not sys.stderr.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        self._text: str | None = None
        self._start = 0.0
        self._status: Any = None

    def __call__(self, text: str) -> None:
        """The step `text` begins, and the one before it is over."""
        self.finish()
        self._text, self._start = text, time.monotonic()
        if not self._plain:
            from rich.console import Console

            self._status = Console(stderr=True, highlight=False).status(f"{text} …")
            self._status.start()

    def update(self, text: str) -> None:
        """How far the current step is; shown on a terminal only."""
        if self._status is not None:
            self._status.update(f"{text} …")

    def finish(self) -> None:
        """The current step is over; a slow one leaves a line with its time."""
        if self._text is None:
            return
        if self._status is not None:
            self._status.stop()
            self._status = None
        seconds = time.monotonic() - self._start
        if seconds >= QUIET_S:
            print(f"{self._text}: {seconds:.1f} s", file=sys.stderr, flush=True)
        self._text = None

    def __enter__(self) -> Self:
        """Nothing is shown before the first step."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clear the display."""
        self.finish()
