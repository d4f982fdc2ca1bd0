"""Turns on the event loop for guests whose time slice was over: one of them per turn of the loop.

However many guests compute at once, everybody else on the loop waits for one slice at most; and a guest that has
had few slices since it last waited for something goes before those that had many, unless these have waited for long.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

__all__ = ["Turns"]

AHEAD = 2


class Turns:
    """A queue of guests that want to go on: in their order, each slice they had putting them further back."""

    def __init__(self) -> None:
        """Make an empty queue."""
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False

    def add(self, loop: asyncio.AbstractEventLoop, slices: int, action: Callable[[], None]) -> None:
        """Call `action` on the running loop when its turn comes; `slices` is how many it had in a row."""
        if loop is not self._loop:  # the loop before was closed with guests in the queue
            self._waiting.clear()
            self._scheduled = False
            self._loop = loop
        number = next(self._order)
        heapq.heappush(self._waiting, (number + slices * AHEAD, number, action))
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self._waiting and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._scheduled = False
        action = heapq.heappop(self._waiting)[2]
        self._schedule()
        action()
