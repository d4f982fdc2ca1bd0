"""Which adapter weights somebody still needs: names that are open, passes, and contexts that hold what they made.

Counts references; the device lets go of weights that nobody refers to.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from pie.forward import AdapterNumber

__all__ = ["AdapterWeights"]


class AdapterWeights:
    """The references to the adapter weights of one device."""

    def __init__(self, free: Callable[[AdapterNumber], None]) -> None:
        """Start without any; `free` is told of weights that nobody refers to any more."""
        self._free = free
        self._references: Counter[AdapterNumber] = Counter()

    @property
    def num_held(self) -> int:
        """How many weights somebody refers to."""
        return len(self._references)

    def retain(self, number: AdapterNumber) -> None:
        """Keep weights until `release`."""
        self._references[number] += 1

    def release(self, number: AdapterNumber) -> None:
        """One reference less."""
        self._references[number] -= 1
        if not self._references[number]:
            del self._references[number]
            self._free(number)

    def keep_during(self, number: AdapterNumber, task: asyncio.Future[Any]) -> None:
        """Keep weights until a task is over."""
        self.retain(number)
        task.add_done_callback(lambda _task: self.release(number))
