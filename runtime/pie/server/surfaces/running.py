"""A program that answers one request: its text as it comes, then its answer. It ends with the request."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pie.host.mailbox import Event
from pie.process.programs import LoadedProgram
from pie.server.service import Service
from pie.server.surfaces.vocabulary import Answer, Given, read_answer

__all__ = ["Run", "running"]

MAX_WAITING_BYTES = 1 << 20
"""Text that waits to be sent; a program that prints more waits. Generations are bounded by themselves."""


class Run:
    """What a running program says."""

    def __init__(self) -> None:
        """Nothing has been said."""
        self._waiting: deque[bytes] = deque()
        self._num_bytes = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._news = asyncio.Event()
        self._room: asyncio.Future[None] | None = None
        self._outcome: asyncio.Task[str] | None = None

    def hear(self, event: Event) -> asyncio.Future[None] | None:
        """Take what the process says; what is no text of its stdout is for nobody."""
        if event.kind != "stdout" or not isinstance(event.data, bytes):
            return None
        self._waiting.append(event.data)
        self._num_bytes += len(event.data)
        self._news.set()
        if self._num_bytes <= MAX_WAITING_BYTES:
            return None
        if self._room is None or self._room.done():
            self._room = asyncio.get_running_loop().create_future()
        return self._room

    def ends_with(self, outcome: asyncio.Task[str]) -> None:
        """Say what tells how the process ends."""
        self._outcome = outcome
        outcome.add_done_callback(lambda _task: self._news.set())

    async def text(self) -> str:
        """More of its stdout; nothing once the process has ended, well or not."""
        while True:
            await self._news.wait()
            is_over = self._outcome is not None and self._outcome.done()
            if not is_over:
                self._news.clear()
            piece = self._decoder.decode(self._take(), final=is_over)
            if piece or is_over:
                return piece

    async def answer(self, *, num_choices: int) -> Answer:
        """What it returns.

        Raises:
            ProcessError: `bad-answer`.
            PieError: why the process ended.
        """
        if self._outcome is None:
            raise RuntimeError("the process was not started")
        return read_answer(await self._outcome, num_choices=num_choices)

    def _take(self) -> bytes:
        pieces = b"".join(self._waiting)
        self._waiting.clear()
        self._num_bytes = 0
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        return pieces


@asynccontextmanager
async def running(service: Service, program: LoadedProgram, given: Given, *, owner: str) -> AsyncIterator[Run]:
    """Launch a program within the bounds of all launches; it ends with the block.

    Raises:
        ProcessError: `shutting-down`, `too-many-processes`.
    """
    service.check_open()
    service.check_room(owner, 1)
    run = Run()
    process = service.processes.launch_for_request(program, json.dumps(given), owner=owner, listener=run.hear)
    outcome = asyncio.get_running_loop().create_task(process.outcome(), name=f"outcome of {process.process_id}")
    run.ends_with(outcome)
    try:
        yield run
    finally:
        process.terminate()
        await asyncio.wait([outcome])
        outcome.exception()  # it has been told where somebody waited for it
