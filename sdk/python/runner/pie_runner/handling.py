"""wasi:http for a program's `handle`: one request in, one response out, bodies piece by piece."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator
from typing import Any

from componentize_py_types import Err, Ok
from wit_world.imports import streams, wasi_http_types

from inferlet import loop
from inferlet.errors import Error
from inferlet.serving import Request, Response

__all__ = ["answer"]

_CHUNK_BYTES = 64 << 10
_OTHER_METHODS = {
    getattr(wasi_http_types, f"Method_{name.capitalize()}"): name.upper()
    for name in ("get", "head", "post", "put", "delete", "connect", "options", "trace", "patch")
}


async def answer(
    handle: Any, incoming: wasi_http_types.IncomingRequest, outparam: wasi_http_types.ResponseOutparam
) -> None:
    """Call `handle` with the request, and send what it returns; if it raises, the answer is 500.

    Raises:
        Exception: what `handle` raised, after the answer; or what the content of the response raised in the middle of
            it: then the connection breaks off, so that the client knows.
    """
    with incoming:
        body = _Body(incoming)
        try:
            try:
                response = Response.of(await _call(handle, _read(incoming, body)))
                header = _header(response)
            except Exception:
                failed = Response("The program failed.\n", status=500)
                await _send(failed, _header(failed), outparam)
                raise
            await _send(response, header, outparam)
        finally:
            body.close()


async def _call(handle: Any, request: Request) -> object:
    result = handle(request)
    return await result if inspect.isawaitable(result) else result


def _read(incoming: wasi_http_types.IncomingRequest, body: _Body) -> Request:
    method = incoming.method()
    name = _OTHER_METHODS.get(type(method)) or str(getattr(method, "value", ""))
    header_list = [(field, value.decode("latin-1")) for field, value in incoming.headers().entries()]
    return Request(name, incoming.path_with_query() or "/", header_list, body.parts)


class _Body:
    """The request's body, which must be let go of before the request is."""

    def __init__(self, incoming: wasi_http_types.IncomingRequest) -> None:
        self._incoming = incoming
        self._body: wasi_http_types.IncomingBody | None = None
        self._stream: streams.InputStream | None = None

    async def parts(self) -> AsyncIterator[bytes]:
        if self._body is not None:
            raise Error("body-taken", "the body of a request can be read once")
        self._body = self._incoming.consume()
        stream = self._stream = self._body.stream()
        while True:
            try:
                part = stream.read(_CHUNK_BYTES)
            except Err as end:
                if isinstance(end.value, streams.StreamError_Closed):
                    return
                raise Error("client-gone", "the client left before the request was whole") from None
            if part:
                yield part
            else:
                await loop.ready(stream.subscribe())

    def close(self) -> None:
        for handle in (self._stream, self._body):
            if handle is not None:
                handle.__exit__(None, None, None)


def _header(response: Response) -> wasi_http_types.Fields:
    entries = [(name, value.encode("latin-1", "replace")) for name, value in response.header_list]
    try:
        return wasi_http_types.Fields.from_list(entries)
    except Err:
        names = ", ".join(name for name, _ in entries)
        raise Error("bad-header", f"the response cannot have these header fields, or one of them: {names}") from None


async def _send(response: Response, header: wasi_http_types.Fields, outparam: wasi_http_types.ResponseOutparam) -> None:
    outgoing = wasi_http_types.OutgoingResponse(header)
    try:
        outgoing.set_status_code(response.status)
    except Err:
        sys.stderr.write(f"there is no HTTP status {response.status}\n")
        outgoing.set_status_code(500)
    body = outgoing.body()
    wasi_http_types.ResponseOutparam.set(outparam, Ok(outgoing))
    with body.write() as stream:
        async for part in _parts(response):
            await _write(stream, part.encode() if isinstance(part, str) else bytes(part))
    wasi_http_types.OutgoingBody.finish(body, None)


async def _parts(response: Response) -> AsyncIterator[str | bytes]:
    if isinstance(response.content, str | bytes):
        yield response.content
        return
    async for part in response.content:
        yield part


async def _write(stream: streams.OutputStream, data: bytes) -> None:
    while data:
        room = stream.check_write()
        if not room:
            await loop.ready(stream.subscribe())
            continue
        part, data = data[: min(room, _CHUNK_BYTES)], data[min(room, _CHUNK_BYTES) :]
        stream.write(part)
        stream.flush()
