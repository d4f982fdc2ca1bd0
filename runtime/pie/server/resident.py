"""A program that stays up: one instance answers many requests, one after another, and is started again when it ends."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from pie.errors import PieError, ProcessError
from pie.host.mailbox import Listener
from pie.process.inbox import Inbox
from pie.process.process import Process
from pie.process.programs import LoadedProgram
from pie.server.processes import ProcessTable
from pie.server.settings import ServerSettings
from pie.wasm.wasi.http import HttpExchange
from pie.wasm.wasi.http_messages import HttpResponse

__all__ = ["Resident"]

BACK_OFF_S = 0.1
"""From an end to the next start; after each life in which nothing was answered it is twice as long."""

MAX_BACK_OFF_S = 10.0
LEFT_S = 10.0
"""How long it may go on with a request whose client has left."""

log = logging.getLogger(__name__)


class Resident:
    """One program for one user; it starts with the first request.

    Attributes:
        digest: of the program's file.
    """

    def __init__(
        self,
        processes: ProcessTable,
        settings: ServerSettings,
        program: LoadedProgram,
        *,
        digest: str,
        owner: str,
        listener: Listener,
    ) -> None:
        """Prepare; `listener` hears what the program writes."""
        self.digest = digest
        self._processes = processes
        self._settings = settings
        self._program = program
        self._owner = owner
        self._listener = listener
        self._inbox = Inbox()
        self._process: Process | None = None
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    async def answer(self, exchange: HttpExchange) -> HttpResponse:
        """The response to a request, once the program has begun it; whoever stops waiting calls `give_up`.

        Raises:
            ProcessError: `no-response` if the program gave none; `too-many-processes`, `shutting-down`.
            PieError: why the program ended before it answered.
        """
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run(), name=f"stays: {self._program.name}")
        self._inbox.put(exchange)
        try:
            return await exchange.response()
        except asyncio.CancelledError:
            self.give_up(exchange)
            raise

    def give_up(self, exchange: HttpExchange) -> None:
        """The client of a request has left: what is still written fails, and it must come to an end soon."""
        exchange.give_up()
        self._inbox.withdraw(exchange)
        if self._inbox.taken is exchange:
            asyncio.get_running_loop().call_later(LEFT_S, self._end_if_still_at, exchange)

    async def close(self) -> None:
        """End the process; who waits is told that the server ends."""
        self._closed = True
        process = self._process
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        self._inbox.fail(_over())
        if process is not None:
            with suppress(PieError):
                await process.outcome()

    async def retire(self) -> None:
        """Answer what waits, then close; at once if this is cancelled."""
        try:
            await self._inbox.idle()
        finally:
            await self.close()

    def _end_if_still_at(self, exchange: HttpExchange) -> None:
        if self._inbox.taken is exchange and self._process is not None:
            self._process.terminate()

    async def _run(self) -> None:
        delay_s = BACK_OFF_S
        while not self._closed:  # a process that ends just then may keep the cancellation from coming through
            await self._inbox.filled()
            before = self._inbox.num_answered
            try:
                self._processes.check_room(self._owner, 1, settings=self._settings)
            except PieError as error:
                self._inbox.fail(error)
                continue
            await self._live()
            if self._closed:
                return
            delay_s = BACK_OFF_S if self._inbox.num_answered > before else min(2 * delay_s, MAX_BACK_OFF_S)
            await asyncio.sleep(delay_s)

    async def _live(self) -> None:
        """From a start of the program to its end."""
        before = self._inbox.num_taken
        process = self._process = self._processes.launch_for_request(
            self._program, self._inbox, owner=self._owner, listener=self._listener
        )
        try:
            await process.outcome()
        except PieError as error:
            log.warning(
                "a program that stays up ended", extra={"facts": {"program": self._program.name, "code": error.code}}
            )
            if self._inbox.num_taken == before:  # it cannot even start: nobody should wait for that
                self._inbox.fail(error)
        finally:
            self._process = None
            process.terminate(_over())


def _over() -> ProcessError:
    return ProcessError(
        "shutting-down", "the program is about to stop", remedy="Try again when it has been started anew."
    )
