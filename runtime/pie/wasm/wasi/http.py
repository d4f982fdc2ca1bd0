"""wasi:http for programs that answer requests: one exchange is one request, and the response the guest makes of it.

Bodies stream both ways. A request's body is asked for only when the guest reads it, and the guest cannot write on until
what it wrote of the response has been taken. Outgoing requests are refused: programs send those through `pie:ext/http`,
under the operator's rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from pie.errors import PieError, ProcessError
from pie.wasm.imports import Imports
from pie.wasm.values import Err, Ok, Variant
from pie.wasm.wasi.http_messages import Fields, HttpRequest, HttpResponse, Receive
from pie.wasm.wasi.poll import Pollable
from pie.wasm.wasi.streams import CHUNK_BYTES, Input, OutputStream, StreamFailure

__all__ = ["HttpExchange", "define"]

_TYPES = "wasi:http/types"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_GONE = "the client left"
_REFUSED = ("outgoing-request", "request-options", "incoming-response", "future-incoming-response")


class HttpExchange:
    """One request and its response; `request` and `outparam` are handed to the guest's `handle`.

    Attributes:
        request: wasi:http/types.incoming-request.
        outparam: wasi:http/types.response-outparam.
    """

    def __init__(self, request: HttpRequest) -> None:
        """Prepare the exchange of a request."""
        self.request = IncomingRequest(request)
        self.outparam = ResponseOutparam()

    async def response(self) -> HttpResponse:
        """The response, once the guest has begun it.

        Raises:
            ProcessError: `no-response` if it gave none, or an error.
        """
        response = await asyncio.shield(self.outparam.given)
        return HttpResponse(response.status, tuple(response.headers.entries()), response.pipe.parts())

    def fail(self, error: PieError) -> None:
        """The guest ended with an error; whoever waits for the response is told."""
        if not self.outparam.given.done():
            self.outparam.given.set_exception(error)

    def give_up(self) -> None:
        """Nobody wants the response any more: what the guest still writes of it fails."""
        given = self.outparam.given
        if not given.done():
            given.cancel()
        elif not given.cancelled() and given.exception() is None:
            given.result().pipe.refuse()

    def end(self) -> None:
        """The guest is over: what it has not answered or not written by now, it never will."""
        self.outparam.close()
        given = self.outparam.given
        if given.done() and not given.cancelled() and given.exception() is None:
            given.result().pipe.break_off()


class IncomingRequest:
    """wasi:http/types.incoming-request."""

    def __init__(self, request: HttpRequest) -> None:
        """Present a request to the guest."""
        self.request = request
        self.headers = Fields(request.headers, immutable=True)
        self._consumed = False

    def method(self) -> Variant:
        """The method as a variant."""
        name = self.request.method.upper()
        return Variant(name.lower()) if name in _METHODS else Variant("other", self.request.method)

    def scheme(self) -> Variant:
        """HTTP or HTTPS."""
        return Variant("HTTPS" if self.request.scheme == "https" else "HTTP")

    def consume(self) -> IncomingBody:
        """The body, once; raises Err afterwards."""
        if self._consumed:
            raise Err(None)
        self._consumed = True
        return IncomingBody(self.request.receive)


class IncomingBody:
    """wasi:http/types.incoming-body."""

    def __init__(self, receive: Receive) -> None:
        """Read the parts that `receive` gives."""
        self._receive = receive
        self._taken = False

    def stream(self) -> BodyInput:
        """The stream, once; raises Err afterwards."""
        if self._taken:
            raise Err(None)
        self._taken = True
        return BodyInput(self._receive)


class BodyInput(Input):
    """An input stream over a request's body, of which one part is held at a time."""

    __slots__ = ("_failure", "_part", "_receive", "_waiting")

    def __init__(self, receive: Receive) -> None:
        """Read the parts that `receive` gives; none is asked for yet."""
        self._receive = receive
        self._part: bytes | None = b""  # None at the end
        self._failure: StreamFailure | None = None
        self._waiting: asyncio.Future[bytes] | None = None

    @property
    def waiting(self) -> asyncio.Future[bytes] | None:
        """Done when the next part is there; None if there is something to read now, or nothing ever again."""
        self._settle()
        if self._part == b"" and self._failure is None and self._waiting is None:
            self._waiting = asyncio.ensure_future(self._receive())
            self._waiting.add_done_callback(_retrieve)
        return self._waiting

    def read(self, size: int) -> bytes:
        """What is there by now, up to `size` bytes; raises Err at the end, or if the client is gone."""
        if not size or self.waiting is not None:
            return b""
        if self._failure is not None:
            failure, self._failure, self._part = self._failure, None, None
            raise Err(Variant("last-operation-failed", self.error(failure)))
        if self._part is None:
            raise Err(Variant("closed"))
        chunk, self._part = self._part[: min(size, CHUNK_BYTES)], self._part[min(size, CHUNK_BYTES) :]
        return chunk

    async def read_later(self, size: int) -> bytes:
        """As `read`, once there is something."""
        if (waiting := self.waiting) is not None:
            await asyncio.wait([waiting])
        return self.read(size)

    def blocking_read(self, size: int) -> Any:
        """As `read`; the guest waits until there is something."""
        return self.read(size) if not size or self.waiting is None else self.read_later(size)

    def subscribe(self) -> Pollable:
        """Ready when there is something to read."""
        return _Readable(self)

    def close(self) -> None:
        """The guest dropped it."""
        if self._waiting is not None:
            self._waiting.cancel()

    def _settle(self) -> None:
        """Take the part that has arrived."""
        if self._waiting is None or not self._waiting.done():
            return
        arrived, self._waiting = self._waiting, None
        if arrived.cancelled():
            self._part = None
        elif (error := arrived.exception()) is not None:
            self._failure = StreamFailure(str(error))
        else:
            self._part = arrived.result() or None


class _Readable(Pollable):
    """Ready while its stream has something to read."""

    __slots__ = ("_stream",)

    def __init__(self, stream: BodyInput) -> None:
        super().__init__()
        self._stream = stream

    def ready(self) -> bool:
        return self._stream.waiting is None

    @property
    def future(self) -> asyncio.Future[Any]:
        waiting = self._stream.waiting
        return super().future if waiting is None else waiting


class FutureTrailers:
    """wasi:http/types.future-trailers: requests have none."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self._asked = False

    def get(self) -> Ok | Err:
        """No trailers, the first time; afterwards an error, as the contract says."""
        if self._asked:
            return Err(None)
        self._asked = True
        return Ok(Ok(None))


class ResponseOutparam:
    """wasi:http/types.response-outparam: where the guest puts its response.

    Attributes:
        given: the response, once it is there.
    """

    def __init__(self) -> None:
        """Wait for the response."""
        self.given: asyncio.Future[OutgoingResponse] = asyncio.get_running_loop().create_future()
        self.given.add_done_callback(_retrieve)

    def set(self, response: Ok | Err) -> None:
        """Take the guest's response, or its error."""
        if self.given.done():
            if isinstance(response, Ok):  # the request was given up meanwhile
                response.payload.pipe.refuse()
            return
        if isinstance(response, Err):
            cause = response.payload.tag if isinstance(response.payload, Variant) else "an error"
            self.given.set_exception(_no_response(f"the program answered the request with {cause}"))
            return
        outgoing: OutgoingResponse = response.payload
        if not outgoing.has_body:
            outgoing.pipe.finish()
        self.given.set_result(outgoing)

    def close(self) -> None:
        """The guest dropped it, or is over."""
        if not self.given.done():
            self.given.set_exception(_no_response("the program ended without a response to the request"))


class OutgoingResponse:
    """wasi:http/types.outgoing-response.

    Attributes:
        status: such as 200.
        headers: of the response.
        has_body: whether the guest asked for the body; otherwise there is none.
        pipe: takes the body.
    """

    def __init__(self, headers: Fields) -> None:
        """Begin a response with status 200."""
        self.status = 200
        self.headers = headers.freeze()
        self.has_body = False
        self.pipe = _Pipe()

    def set_status(self, status: int) -> None:
        """Set the status; raises Err if there is no such status."""
        if not 200 <= status <= 599:
            raise Err(None)
        self.status = status

    def body(self) -> OutgoingBody:
        """The body, once; raises Err afterwards."""
        if self.has_body:
            raise Err(None)
        self.has_body = True
        values = self.headers.get("content-length")
        return OutgoingBody(self.pipe, int(values[0]) if len(values) == 1 and values[0].isdigit() else None)


class OutgoingBody:
    """wasi:http/types.outgoing-body."""

    def __init__(self, pipe: _Pipe, expected_bytes: int | None) -> None:
        """Put a body of so many bytes, or of any number, into a pipe."""
        self._pipe = pipe
        self._expected_bytes = expected_bytes
        self._num_bytes = 0
        self._stream: OutputStream | None = None

    def write(self, writes: set[asyncio.Future[None]]) -> OutputStream:
        """The stream, once; raises Err afterwards."""
        if self._stream is not None:
            raise Err(None)
        self._stream = OutputStream(self._send, writes)
        return self._stream

    async def finish(self) -> None:
        """The body is whole; raises Err if it is not as long as its header says."""
        if self._stream is not None and self._stream.busy is not None:
            await asyncio.wait([self._stream.busy])
        if self._expected_bytes is not None and self._num_bytes != self._expected_bytes:
            raise Err(Variant("HTTP-response-body-size", self._num_bytes))
        self._pipe.finish()

    async def _send(self, data: bytes) -> None:
        self._num_bytes += len(data)
        if self._expected_bytes is not None and self._num_bytes > self._expected_bytes:
            raise StreamFailure(f"the response's content-length is {self._expected_bytes}")
        await self._pipe.send(data)


class _Pipe:
    """The body of a response on its way: one part at a time, each taken before the next is accepted."""

    def __init__(self) -> None:
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        self._finished = False
        self._refused = False
        self._ended = asyncio.Event()

    async def send(self, data: bytes) -> None:
        """Hand over a part; returns when there is room for the next. Raises StreamFailure if nobody takes it."""
        if self._refused:
            raise StreamFailure(_GONE)
        if not data:
            return
        await self._parts.put(data)
        if self._refused:  # meanwhile, which made room
            raise StreamFailure(_GONE)

    def finish(self) -> None:
        """There are no more parts after those that were handed over."""
        self._finished = True
        self._ended.set()

    def break_off(self) -> None:
        """There will be no more parts, whether or not the body is whole."""
        self._ended.set()

    def refuse(self) -> None:
        """Nobody takes parts any more."""
        self._refused = True
        while not self._parts.empty():
            self._parts.get_nowait()

    async def parts(self) -> AsyncIterator[bytes]:
        """The parts, until the body is whole; raises ProcessError(`no-response`) if it never will be."""
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            while True:
                part = asyncio.ensure_future(self._parts.get())
                await asyncio.wait([part, ended], return_when=asyncio.FIRST_COMPLETED)
                if part.done():
                    yield part.result() or b""
                    continue
                part.cancel()
                break
            while not self._parts.empty():
                yield self._parts.get_nowait() or b""
        finally:
            ended.cancel()
        if not self._finished:
            raise _no_response("the program ended before the body of its response did")


def _no_response(cause: str) -> ProcessError:
    return ProcessError(
        "no-response", cause, remedy="Answer every request through its response-outparam, and finish the body."
    )


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()  # whoever reads is told; nobody else must be


def _denied(_guest: Any, *_arguments: Any) -> None:
    raise Err(Variant("HTTP-request-denied"))


class _Refused:
    """A resource of outgoing requests; a guest never gets one."""


def define(imports: Imports) -> None:
    """Offer wasi:http to programs that answer requests."""
    _define_fields(imports)
    _define_request(imports)
    _define_response(imports)
    imports.stub(_TYPES, "outgoing HTTP through wasi:http is not available to programs")
    for name in _REFUSED:
        imports.resource(_TYPES, name, _Refused)
    imports.function("wasi:http/outgoing-handler", "handle", _denied)


def _method(imports: Imports, resource: str) -> Callable[[str, Callable[..., Any]], None]:
    return lambda name, call: imports.function(_TYPES, f"[method]{resource}.{name}", call)


def _define_fields(imports: Imports) -> None:
    imports.resource(_TYPES, "fields", Fields)
    imports.function(_TYPES, "[constructor]fields", lambda _guest: Fields())
    imports.function(_TYPES, "[static]fields.from-list", lambda _guest, entries: Fields.checked(entries))
    method = _method(imports, "fields")
    method("get", lambda _guest, fields, name: fields.get(name))
    method("has", lambda _guest, fields, name: bool(fields.get(name)))
    method("set", lambda _guest, fields, name, values: fields.set(name, values))
    method("delete", lambda _guest, fields, name: fields.delete(name))
    method("append", lambda _guest, fields, name, value: fields.append(name, value))
    method("entries", lambda _guest, fields: fields.entries())
    method("clone", lambda _guest, fields: fields.copy())


def _define_request(imports: Imports) -> None:
    imports.resource(_TYPES, "incoming-request", IncomingRequest)
    method = _method(imports, "incoming-request")
    method("method", lambda _guest, incoming: incoming.method())
    method("path-with-query", lambda _guest, incoming: incoming.request.path)
    method("scheme", lambda _guest, incoming: incoming.scheme())
    method("authority", lambda _guest, incoming: incoming.request.authority)
    method("headers", lambda _guest, incoming: incoming.headers.freeze())
    method("consume", lambda _guest, incoming: incoming.consume())
    imports.resource(_TYPES, "incoming-body", IncomingBody)
    _method(imports, "incoming-body")("stream", lambda _guest, body: body.stream())
    imports.function(_TYPES, "[static]incoming-body.finish", lambda _guest, _body: FutureTrailers())
    imports.resource(_TYPES, "future-trailers", FutureTrailers)
    method = _method(imports, "future-trailers")
    method("subscribe", lambda _guest, _trailers: Pollable())
    method("get", lambda _guest, trailers: trailers.get())


def _define_response(imports: Imports) -> None:
    imports.resource(_TYPES, "response-outparam", ResponseOutparam)
    imports.function(_TYPES, "[static]response-outparam.set", lambda _guest, outparam, answer: outparam.set(answer))
    imports.resource(_TYPES, "outgoing-response", OutgoingResponse)
    imports.function(_TYPES, "[constructor]outgoing-response", lambda _guest, headers: OutgoingResponse(headers))
    method = _method(imports, "outgoing-response")
    method("status-code", lambda _guest, response: response.status)
    method("set-status-code", lambda _guest, response, status: response.set_status(status))
    method("headers", lambda _guest, response: response.headers.freeze())
    method("body", lambda _guest, response: response.body())
    imports.resource(_TYPES, "outgoing-body", OutgoingBody)
    _method(imports, "outgoing-body")("write", lambda guest, body: body.write(guest.writes))
    imports.function(_TYPES, "[static]outgoing-body.finish", lambda _guest, body, _trailers: body.finish())
    imports.function(_TYPES, "http-error-code", lambda _guest, _error: None)
