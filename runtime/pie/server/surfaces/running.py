"""A program that answers one request: its text as it comes, then its answer. It ends with the request."""

from __future__ import annotations

import asyncio
import codecs
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pie.host.mailbox import Event
from pie.process.programs import LoadedProgram
from pie.scheduler.budgets import TokenBudget
from pie.server.service import Service
from pie.server.surfaces.vocabulary import Given, Took
from pie.server.users import Holder

__all__ = ["Run", "Said", "running"]

MAX_WAITING_BYTES = 1 << 20
"""What waits to be sent; a program that says more waits. Generations are bounded by themselves."""


@dataclass(frozen=True, slots=True)
class Said:
    """More that a program said; the messages came before the end of the text."""

    text: str
    messages: tuple[str, ...] = ()


class Run:
    """What a running program says."""

    def __init__(self, *, with_messages: bool = False) -> None:
        """Nothing has been said, and the clock starts; `with_messages` they are heard too."""
        self._begun_s = time.monotonic()
        self._first_s: float | None = None
        self._process_id = ""
        self._with_messages = with_messages
        self._messages: list[str] = []
        self._waiting: deque[bytes] = deque()
        self._num_bytes = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._news = asyncio.Event()
        self._room: asyncio.Future[None] | None = None
        self._outcome: asyncio.Task[str] | None = None

    def hear(self, event: Event) -> asyncio.Future[None] | None:
        """Take what the process says; what is neither text of its stdout nor a message wanted is for nobody."""
        if event.kind == "stdout" and isinstance(event.data, bytes):
            if event.data and self._first_s is None:
                self._first_s = time.monotonic()
            self._waiting.append(event.data)
        elif event.kind == "message" and isinstance(event.data, str) and self._with_messages:
            self._messages.append(event.data)
        else:
            return None
        self._num_bytes += len(event.data)
        self._news.set()
        if self._num_bytes <= MAX_WAITING_BYTES:
            return None
        if self._room is None or self._room.done():
            self._room = asyncio.get_running_loop().create_future()
        return self._room

    def belongs_to(self, process_id: str, outcome: asyncio.Task[str]) -> None:
        """Say which process it is, and what tells how it ends."""
        self._process_id = process_id
        self._outcome = outcome
        outcome.add_done_callback(lambda _task: self._news.set())

    async def more(self) -> Said | None:
        """What it says next; None once the process has ended, well or not, and all has been taken."""
        while True:
            await self._news.wait()
            is_over = self._outcome is not None and self._outcome.done()
            if not is_over:
                self._news.clear()
            messages, self._messages = tuple(self._messages), []
            said = Said(self._decoder.decode(self._take(), final=is_over), messages)
            if said.text or said.messages:
                return said
            if is_over:
                return None

    async def value(self) -> str:
        """What it returns, as JSON.

        Raises:
            PieError: why the process ended.
        """
        if self._outcome is None:
            raise RuntimeError("the process was not started")
        return await self._outcome

    def took(self) -> Took:
        """What it took until now."""
        all_ms = (time.monotonic() - self._begun_s) * 1000
        first_ms = None if self._first_s is None else (self._first_s - self._begun_s) * 1000
        return Took(self._process_id, all_ms, first_ms)

    def _take(self) -> bytes:
        pieces = b"".join(self._waiting)
        self._waiting.clear()
        self._num_bytes = 0
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        return pieces


@asynccontextmanager
async def running(
    service: Service, program: LoadedProgram, given: Given, *, holder: Holder, with_messages: bool = False
) -> AsyncIterator[Run]:
    """Launch a program within the bounds of all launches; it ends with the block, and its tokens are spent then.

    Raises:
        ProcessError: `shutting-down`, `too-many-processes`.
    """
    service.check_open()
    service.check_room(holder.user, 1)
    run = Run(with_messages=with_messages)
    accounts, counted = service.accounts_of(holder), TokenBudget(None)
    is_counted = any(limits.tokens_per_minute is not None for limits in accounts.values())
    process = service.processes.launch_for_request(
        program,
        json.dumps(given),
        owner=holder.user,
        listener=run.hear,
        budget=counted if is_counted else None,
        waits=False,
    )
    outcome = asyncio.get_running_loop().create_task(process.outcome(), name=f"outcome of {process.process_id}")
    run.belongs_to(process.process_id, outcome)
    try:
        yield run
    finally:
        process.terminate()
        try:
            await asyncio.wait([outcome])
            outcome.exception()  # it has been told where somebody waited for it
        finally:
            service.limiter.spend(accounts, counted.spent)
