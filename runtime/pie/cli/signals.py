"""Ctrl-C and SIGTERM of the whole process, from its first lines to its last, where no `Interrupt` has them.

This is imported before everything else, so it imports little.
"""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pie.cli.interrupt import SIGNALS, Interrupted

__all__ = ["Signals"]


class Signals:
    """A signal ends the process at once, or raises Interrupted where something may have to be given back.

    Python's own way, KeyboardInterrupt, is lost where exceptions are ignored, and may end us with another code.

    Attributes:
        code: the exit code that tells of the first signal that came here; None as long as there was none.
    """

    def __init__(self) -> None:
        """Prepare; nothing changes until `take`."""
        self.code: int | None = None
        self._raises = False

    def take(self) -> None:
        """Take the signals over for the rest of the process; one that is ignored, as under `nohup`, stays so."""
        atexit.register(_ignore)  # the first to be registered runs last
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Within, the first signal raises Interrupted."""
        self._raises = True
        try:
            yield
        finally:
            self._raises = False

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        first, self.code = self.code is None, self.code or 128 + number
        if not (first and self._raises):
            os._exit(self.code)
        raise Interrupted


def _ignore() -> None:
    """Let nothing change the exit code any more while Python takes itself apart, which it does with no handler."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
