"""Work that several wait for, and that ends early when none of them does any more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["SharedWork"]


class SharedWork:
    """A task with several askers, each of whom may be cancelled without the others' noticing."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        """Start the work on the running event loop."""
        self._task = asyncio.create_task(work)
        self._num_waiting = 0

    @property
    def is_over(self) -> bool:
        """Whether it is done, or has been told to end."""
        return self._task.done() or self._task.cancelling() > 0

    async def wait(self) -> None:
        """Wait until it is done; raises what it raises. The last asker that is cancelled sees it ended first."""
        self._num_waiting += 1
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._num_waiting == 1:
                self.cancel()
                await asyncio.wait([self._task])
            raise
        finally:
            self._num_waiting -= 1

    def cancel(self) -> None:
        """Have it end, if it has not and its loop has not."""
        if not self._task.get_loop().is_closed():
            self._task.cancel()
