"""The requests that wait for a program that answers them one after another."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pie.errors import PieError
from pie.wasm.wasi.http import HttpExchange

__all__ = ["Inbox"]


class Inbox:
    """Requests in the order of their coming.

    Attributes:
        taken: the request that is being answered; None if there is none.
        num_taken: requests that were ever taken.
        num_answered: those of them after which the program went on.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.taken: HttpExchange | None = None
        self.num_taken = self.num_answered = 0
        self._waiting: deque[HttpExchange] = deque()
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()

    def put(self, exchange: HttpExchange) -> None:
        """One more request."""
        self._waiting.append(exchange)
        self._changed.set()

    def withdraw(self, exchange: HttpExchange) -> None:
        """Nobody waits for this one any more; nothing happens if it was taken before."""
        if exchange in self._waiting:
            self._waiting.remove(exchange)
            self._settled.set()

    def fail(self, error: PieError) -> None:
        """Tell all that wait that they are not answered."""
        while self._waiting:
            self._waiting.popleft().fail(error)
        self._settled.set()

    async def filled(self) -> None:
        """Return when a request waits."""
        while not self._waiting:
            self._changed.clear()
            await self._changed.wait()

    async def idle(self) -> None:
        """Return when no request waits, and none is being answered."""
        while self._waiting or self.taken is not None:
            self._settled.clear()
            await self._settled.wait()

    @asynccontextmanager
    async def next(self) -> AsyncIterator[HttpExchange]:
        """The next request, which is over when the block is left; an error that leaves the block is its answer."""
        await self.filled()
        exchange = self.taken = self._waiting.popleft()
        self.num_taken += 1
        try:
            yield exchange
            self.num_answered += 1
        except PieError as error:
            exchange.fail(error)
            raise
        finally:
            self.taken = None
            exchange.end()
            self._settled.set()
