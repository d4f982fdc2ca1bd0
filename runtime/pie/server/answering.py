"""HTTP requests to programs: each is answered by an instance of its own, or all by one; bodies pass piece by piece.

An ASGI application; knows the server's runtime and nothing of sessions.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from pie.errors import PieError, ProcessError
from pie.host.mailbox import Event
from pie.process.programs import LoadedProgram
from pie.runtime import Answer
from pie.server.processes import ProcessTable
from pie.server.resident import Resident
from pie.server.settings import ServerSettings
from pie.wasm.wasi.http import HttpExchange
from pie.wasm.wasi.http_messages import HttpRequest, HttpResponse

__all__ = ["Answering", "Offered"]

MAX_REQUESTS = 256
"""Requests that one program answers at a time; more are told to come again."""

STATUS = {
    "no-handler": 503,
    "no-response": 502,
    "program-not-found": 503,
    "shutting-down": 503,
    "token-needed": 401,
    "too-many-processes": 503,
}
"""The status of a refusal, by its code; 500 of any other."""

MAX_WAITING_BYTES = 1 << 20
MAX_WAITING_PARTS = 1024
RETRY_AFTER_S = "1"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Offered:
    """What answers.

    Attributes:
        program: the program.
        digest: of its file.
        stays: whether one instance answers all requests of a user; otherwise each has its own.
    """

    program: LoadedProgram
    digest: str
    stays: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    """A response that has begun, and what to call if nobody wants the rest."""

    response: HttpResponse
    give_up: Callable[[], None]


class Answering:
    """The requests to one program.

    Attributes:
        num_requests: answered now.
    """

    def __init__(
        self,
        processes: ProcessTable,
        settings: ServerSettings,
        find: Callable[[], Awaitable[Offered]],
        *,
        owner: Callable[[Scope], str],
    ) -> None:
        """Let the program that `find` gives answer; the processes belong to whom `owner` tells of a request."""
        self._processes = processes
        self._settings = settings
        self._find = find
        self._owner = owner
        self._residents: dict[str, Resident] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self.num_requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self.num_requests >= MAX_REQUESTS:
            error = ProcessError("busy", f"{self.num_requests} requests are being answered", remedy="Try again soon.")
            await _refuse(error, 503, scope, receive, send)
            return
        self.num_requests += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self.num_requests -= 1

    async def retire(self) -> None:
        """End the programs that stay up, once they have answered what waits."""
        await asyncio.gather(*self._retiring, *(resident.retire() for resident in self._residents.values()))

    async def close(self) -> None:
        """End the programs that stay up."""
        if retiring := tuple(self._retiring):
            for task in retiring:
                task.cancel()  # which ends their programs
            await asyncio.wait(retiring)
        while self._residents:
            await self._residents.popitem()[1].close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with _Body(receive) as body:
            answering = asyncio.ensure_future(self._begin(scope, body))
            either: list[asyncio.Future[Any]] = [answering, body.gone]
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                is_answered = answering.done()
                answering.cancel()  # which ends the process that has not answered yet
                await asyncio.wait([answering])
            if not is_answered:
                return
            try:
                answer = answering.result()
            except PieError as error:
                log.warning("a request to a program failed", extra={"facts": {"code": error.code}})
                await _refuse(error, STATUS.get(error.code, 500), scope, receive, send)
                return
            await _pass_on(answer, body, send)

    async def _begin(self, scope: Scope, body: _Body) -> _Answer:
        owner = self._owner(scope)
        offered = await self._find()
        exchange = HttpExchange(_read(scope, body))
        if offered.stays:
            resident = self._resident(owner, offered)
            return _Answer(await resident.answer(exchange), lambda: resident.give_up(exchange))
        program = offered.program
        self._processes.check_room(owner, 1, settings=self._settings)
        process = self._processes.launch_for_request(
            program, exchange, owner=owner, listener=lambda event: _note(program.name, event)
        )
        return _Answer((await Answer.begun(process, exchange)).response, process.terminate)

    def _resident(self, owner: str, offered: Offered) -> Resident:
        """The one of a user; another program takes its place once it has answered what waits."""
        resident = self._residents.get(owner)
        if resident is None or resident.digest != offered.digest:
            name = offered.program.name
            self._residents[owner] = Resident(
                self._processes,
                self._settings,
                offered.program,
                digest=offered.digest,
                owner=owner,
                listener=lambda event: _note(name, event),
            )
        if resident is not None and resident is not self._residents[owner]:
            task = asyncio.get_running_loop().create_task(resident.retire(), name=f"retires: {offered.program.name}")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
        return self._residents[owner]


class _Body:
    """A request's body on its way, and whether its client is still there."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._parts: deque[bytes] = deque()
        self._num_bytes = 0
        self._whole = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> _Body:
        self._reading = asyncio.get_running_loop().create_task(self._read(), name="request body")
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])
        self.gone.cancel()
        self._changed.set()  # a program that stays may still wait for more

    async def next(self) -> bytes:
        """The next part; empty at the end. Raises ConnectionResetError if the client is gone."""
        while not self._parts:
            if self._whole:
                return b""
            if self.gone.done():
                raise ConnectionResetError("the client left")
            self._changed.clear()
            await self._changed.wait()
        part = self._parts.popleft()
        self._num_bytes -= len(part)
        self._room.set()
        return part

    async def _read(self) -> None:
        while True:
            await self._room.wait()
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone.set_result(None)
                self._changed.set()
                return
            self._take(message)

    def _take(self, message: Message) -> None:
        if body := message.get("body", b""):
            self._parts.append(body)
            self._num_bytes += len(body)
        self._whole = not message.get("more_body", False)
        if self._num_bytes > MAX_WAITING_BYTES or len(self._parts) > MAX_WAITING_PARTS:
            self._room.clear()
        self._changed.set()


async def _pass_on(answer: _Answer, body: _Body, send: Send) -> None:
    """Send a response as it comes; if its client leaves, it is given up.

    Raises:
        ProcessError: `no-response` if the response broke off; the server then cuts the connection, so the client knows.
    """
    passing = asyncio.ensure_future(_send(answer.response, send))
    try:
        await asyncio.wait([passing, body.gone], return_when=asyncio.FIRST_COMPLETED)
    finally:
        passing.cancel()
        await asyncio.wait([passing])
        if passing.cancelled() or passing.exception() is not None:
            answer.give_up()  # after a whole response it may go on
    if not passing.cancelled():
        passing.result()


async def _send(response: HttpResponse, send: Send) -> None:
    headers = [(name.lower().encode(), value) for name, value in response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    async for part in response.body:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _read(scope: Scope, body: _Body) -> HttpRequest:
    query = scope["query_string"].decode("latin-1")
    path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
    return HttpRequest(
        method=scope["method"],
        scheme=scope["scheme"],
        authority=Headers(scope=scope).get("host", ""),
        path=f"{path}?{query}" if query else path,
        headers=[(name.decode("latin-1"), value) for name, value in scope["headers"]],
        receive=body.next,
    )


def _note(name: str, event: Event) -> None:
    """What a program writes while it answers is for whoever looks for its faults; a server's log is not the place."""
    if isinstance(event.data, bytes):
        log.debug("%s %s: %s", name, event.kind, event.data.decode("utf-8", "replace").rstrip())


async def _refuse(error: PieError, status: int, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {503: {"retry-after": RETRY_AFTER_S}, 401: {"www-authenticate": "Bearer"}}.get(status)
    content = {"error": {"code": error.code, "message": error.cause, "remedy": error.remedy}}
    await JSONResponse(content, status, headers)(scope, receive, send)
