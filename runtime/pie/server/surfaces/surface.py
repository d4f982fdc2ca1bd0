"""One HTTP surface: reads a request, lets a program answer, and sends that as JSON or as server-sent events."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from pie.errors import PieError, ProcessError
from pie.process.programs import LoadedProgram
from pie.server.owner import owner_of
from pie.server.service import Service
from pie.server.surfaces.body import ClientLeft, client_leaves, read_body
from pie.server.surfaces.refusal import Refusal, headers_of, status_of, told
from pie.server.surfaces.running import Run, running
from pie.server.surfaces.vocabulary import Answer, Given, TokenLogprobs, read_answer, read_logprobs

__all__ = ["Bounds", "Exchange", "Surface", "Words"]

MAX_READING = 256
"""Bodies of one surface that are read at a time, since each is held in memory."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a body may be, and how long it may take."""

    max_body_bytes: int = 8 << 20
    body_s: float = 30.0


class Words(Protocol):
    """The events of an answer that is streamed; one with a `type` is named by it.

    Attributes:
        marks_end: whether `[DONE]` follows a whole answer.
    """

    marks_end: bool

    def hear(self, told: Sequence[TokenLogprobs]) -> None:
        """Take how likely the next tokens of the one choice were, of which pieces may come then."""
        ...

    def piece(self, text: str) -> Iterable[dict[str, Any]]:
        """The events of more text of the one choice."""
        ...

    def end(self, answer: Answer) -> Iterable[dict[str, Any]]:
        """The last events, after all text."""
        ...

    def failed(self, error: PieError) -> dict[str, Any]:
        """The event of an error after events have been sent."""
        ...


class Exchange(Protocol):
    """One request as its surface reads it, and the words of the answer.

    Attributes:
        given: the input of the program.
    """

    given: Given

    @property
    def words(self) -> Words | None:
        """What makes events of the answer; None if it is sent in one piece."""
        ...

    def whole(self, value_json: str) -> dict[str, Any]:
        """The answer in one piece, of what the program returned.

        Raises:
            ProcessError: `bad-answer`.
        """
        ...


class Surface:
    """An ASGI application over one kind of request."""

    def __init__(
        self,
        service: Service,
        read: Callable[[bytes], Exchange],
        find: Callable[[], Awaitable[LoadedProgram]],
        *,
        bounds: Bounds = Bounds(),
    ) -> None:
        """Answer what `read` understands by the program that `find` gives."""
        self._service = service
        self._read = read
        self._find = find
        self._bounds = bounds
        self._num_reading = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; if its client leaves, the program ends."""
        sender = _Sender(send)
        try:
            await self._serve(scope, receive, sender)
        except ClientLeft:
            return
        except PieError as error:
            log.info("a request was not answered", extra={"facts": {"code": error.code, "path": scope["path"]}})
            await sender.refuse(error)
        except Exception:  # a defect of ours: whoever waits must learn that nothing more comes
            log.exception("a request failed")
            await sender.refuse(_server_failed())

    async def _serve(self, scope: Scope, receive: Receive, sender: _Sender) -> None:
        if scope["method"] != "POST":
            raise Refusal("method-not-allowed", f"{scope['method']} is not answered here", remedy="Send a POST.")
        owner = owner_of(self._service.doorkeeper, scope)
        self._service.check_open()
        exchange = await self._receive(scope, receive)
        leaving = asyncio.ensure_future(client_leaves(receive))
        answering = asyncio.ensure_future(self._answer(exchange, owner, sender))
        try:
            await asyncio.wait([leaving, answering], return_when=asyncio.FIRST_COMPLETED)
        finally:
            is_answered = answering.done()
            leaving.cancel()
            answering.cancel()  # which ends the process that still runs
            await asyncio.wait([leaving, answering])
        if is_answered:
            answering.result()

    async def _receive(self, scope: Scope, receive: Receive) -> Exchange:
        if self._num_reading >= MAX_READING:
            raise ProcessError("busy", f"{self._num_reading} requests are being read", remedy="Try again soon.")
        self._num_reading += 1
        try:
            bounds = self._bounds
            body = await read_body(scope, receive, max_bytes=bounds.max_body_bytes, within_s=bounds.body_s)
        finally:
            self._num_reading -= 1
        return self._read(body)

    async def _answer(self, exchange: Exchange, owner: str, sender: _Sender) -> None:
        program = await self._find()
        words, hears = exchange.words, exchange.words is not None and "logprobs" in exchange.given
        async with running(self._service, program, exchange.given, owner=owner, with_messages=hears) as run:
            if words is None:
                await sender.whole(exchange.whole(await run.value()))
            else:
                await _stream_or_fail(words, run, sender)


async def _stream_or_fail(words: Words, run: Run, sender: _Sender) -> None:
    try:
        await _stream(words, run, sender)
    except PieError as error:
        if not sender.has_begun:
            raise
        log.info("an answer broke off", extra={"facts": {"code": error.code}})
        await sender.event(words.failed(error))
        await sender.end()


async def _stream(words: Words, run: Run, sender: _Sender) -> None:
    """Send what the program prints, then the rest of its answer; nothing is sent before there is something."""
    num_said = num_told = 0
    while (said := await run.more()) is not None:
        for logprobs in map(read_logprobs, said.messages):
            num_told += len(logprobs)
            words.hear(logprobs)
        num_said += len(said.text)
        for event in words.piece(said.text) if said.text else ():
            await sender.event(event)
    answer = read_answer(await run.value(), num_choices=1)
    words.hear(answer.choices[0].logprobs[num_told:])
    if rest := answer.choices[0].text[num_said:]:
        for event in words.piece(rest):
            await sender.event(event)
    for event in words.end(answer):
        await sender.event(event)
    if words.marks_end:
        await sender.done()
    await sender.end()


class _Sender:
    """The response, begun with the first thing that is sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def whole(self, content: dict[str, Any]) -> None:
        await self._all(content, 200, [])

    async def event(self, content: dict[str, Any]) -> None:
        name = f"event: {content['type']}\n".encode() if "type" in content else b""
        await self._part(name + b"data: " + _encode(content) + b"\n\n")

    async def done(self) -> None:
        await self._part(b"data: [DONE]\n\n")

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def refuse(self, error: PieError) -> None:
        if self.has_begun:
            await self.event(told(error))
            await self.end()
        else:
            fields = [(name.encode(), value.encode()) for name, value in headers_of(error).items()]
            await self._all(told(error), status_of(error), fields)

    async def _all(self, content: dict[str, Any], status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        body = _encode(content)
        own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._begin([*own, *headers], status=status)
        await self._send({"type": "http.response.body", "body": body})

    async def _part(self, data: bytes) -> None:
        if not self.has_begun:
            await self._begin([(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")])
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _begin(self, headers: list[tuple[bytes, bytes]], *, status: int = 200) -> None:
        self.has_begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})


def _server_failed() -> ProcessError:
    return ProcessError(
        "server-failed",
        "the server met an error of its own in this request",
        remedy="Report it with the log of the server.",
    )


def _encode(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
