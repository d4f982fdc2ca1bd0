"""Threads on which guests that compute for long are driven, so that the event loop stays free.

Wasm runs without the GIL. Whoever has computed least since it last waited goes first, so that a program which merely
starts up does not queue behind endless loops; but of those that come later, only so many pass a piece of work, or
steady newcomers would let it wait for ever. Knows nothing of guests: a piece of work is a callable with a number.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable

__all__ = ["Workers"]


class Workers:
    """A few daemon threads that serve one queue, in order but for who lets others pass."""

    def __init__(self, count: int) -> None:
        """Start `count` threads."""
        self._queue: queue.PriorityQueue[tuple[int, int, Callable[[], None] | None]] = queue.PriorityQueue()
        self._order = itertools.count()
        self._threads = [threading.Thread(target=self._serve, name=f"wasm-cpu-{i}", daemon=True) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def __bool__(self) -> bool:
        return bool(self._threads)

    def submit(self, passed_by: int, work: Callable[[], None]) -> None:
        """Run `work` on one of the threads; it must not raise.

        Args:
            passed_by: how many pieces that are submitted later, with 0, still go first.
            work: the piece.
        """
        number = next(self._order)
        self._queue.put((number + passed_by, number, work))

    def close(self) -> None:
        """Stop the threads after the work they have begun; what waits is not begun any more."""
        for _ in self._threads:
            self._queue.put((-1, next(self._order), None))
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _serve(self) -> None:
        while (work := self._queue.get()[2]) is not None:
            work()
            del work  # an idle thread must not keep the last guest alive
