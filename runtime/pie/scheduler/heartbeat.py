"""Whether a loop turns: how long ago its turn began, while it has something to do."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Heartbeat"]


class Heartbeat:
    """When a loop last began a turn."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin at rest."""
        self._clock = clock
        self._begun_s: float | None = None

    @property
    def busy_s(self) -> float:
        """Seconds since the last turn began; 0 at rest."""
        return 0.0 if self._begun_s is None else self._clock() - self._begun_s

    def turn(self) -> None:
        """A turn begins."""
        self._begun_s = self._clock()

    def rest(self) -> None:
        """There is nothing to do until something changes."""
        self._begun_s = None
