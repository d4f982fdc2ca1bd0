"""wasi:io/streams and wasi:io/error: bytes in and out, with back-pressure."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from pie.wasm.imports import Imports
from pie.wasm.values import Err, Variant
from pie.wasm.wasi.environment import Sink
from pie.wasm.wasi.poll import Pollable

__all__ = [
    "CHUNK_BYTES",
    "PERMIT_BYTES",
    "BytesInput",
    "Input",
    "InputStream",
    "OutputStream",
    "ReadyInput",
    "StreamError",
    "StreamFailure",
    "define",
]

CHUNK_BYTES = 64 << 10
"""How much is read in one call at most: bytes cross one value each, so a call of this size takes milliseconds."""

PERMIT_BYTES = 1 << 20
"""How much is written in one call at most. Python's unbuffered stdout loses what exceeds it, so it is generous."""

_STREAMS = "wasi:io/streams"


class StreamFailure(Exception):
    """Raised by a sink or a source: the stream's last operation failed.

    Attributes:
        code: the file system's error code, if it was that.
    """

    def __init__(self, message: str, code: str | None = None) -> None:
        """Make the failure; `message` is for people."""
        super().__init__(message)
        self.code = code


class StreamError:
    """wasi:io/error.error: what a guest holds to learn why a stream failed."""

    __slots__ = ("code", "message")

    def __init__(self, failure: StreamFailure) -> None:
        """Make it from the failure."""
        self.message = str(failure)
        self.code = failure.code


class InputStream(Protocol):
    """Where a guest reads from; always ready, so reading never waits."""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end. Raises StreamFailure."""
        ...


class BytesInput:
    """An input stream over bytes that are there already."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        """Start at the beginning of `data`."""
        self._data = data
        self._position = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        chunk = self._data[self._position : self._position + size]
        self._position += len(chunk)
        return chunk


class Input(ABC):
    """wasi:io/streams.input-stream."""

    __slots__ = ()

    @abstractmethod
    def read(self, size: int) -> bytes:
        """What is there by now, up to `size` bytes; raises Err(closed) at the end."""

    @abstractmethod
    def blocking_read(self, size: int) -> Any:
        """As `read`, or an awaitable of it, once there is something."""

    @abstractmethod
    def subscribe(self) -> Pollable:
        """Ready when there is something to read."""

    def error(self, failure: StreamFailure) -> StreamError:
        """What a guest is told of a failure."""
        return StreamError(failure)


class ReadyInput(Input):
    """An input stream whose content is there already."""

    __slots__ = ("_source",)

    def __init__(self, source: InputStream) -> None:
        """Read from `source`."""
        self._source = source

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; raises Err(closed) at the end."""
        chunk: bytes = _guarded(self._source.read, min(size, CHUNK_BYTES))
        if not chunk and size:
            raise Err(Variant("closed"))
        return chunk

    def blocking_read(self, size: int) -> bytes:
        """As `read`."""
        return self.read(size)

    def subscribe(self) -> Pollable:
        """Ready."""
        return Pollable()


class OutputStream:
    """wasi:io/streams.output-stream over a sink; at most one write is under way.

    Args:
        sink: takes what is written.
        writes: where the write under way is found by whoever must wait for it, even after the guest dropped the stream.
    """

    __slots__ = ("_failure", "_sink", "_under_way", "_writes")

    def __init__(self, sink: Sink, writes: set[asyncio.Future[None]] | None = None) -> None:
        self._sink = sink
        self._writes = set() if writes is None else writes
        self._under_way: asyncio.Future[None] | None = None
        self._failure: StreamFailure | None = None

    @property
    def busy(self) -> asyncio.Future[None] | None:
        """The write under way, if any."""
        return self._under_way

    def permit(self) -> int:
        """How many bytes may be written now; raises Err if the stream failed."""
        failure, self._failure = self._failure, None
        if failure is not None:
            self._sink = _closed
            raise Err(Variant("last-operation-failed", StreamError(failure)))
        if self._sink is _closed:
            raise Err(Variant("closed"))
        return 0 if self._under_way is not None else PERMIT_BYTES

    def write(self, data: bytes) -> None:
        """Write at most what `permit` gave; raises Err if that fails at once."""
        if len(data) > self.permit():
            raise ValueError(f"the program wrote {len(data)} bytes without a permit")
        try:
            outcome = _guarded(self._sink, data)
        except Err:
            self._sink = _closed
            raise
        if outcome is not None:
            self._under_way = asyncio.ensure_future(outcome)
            self._writes.add(self._under_way)
            self._under_way.add_done_callback(self._written)

    async def write_and_flush(self, data: bytes) -> None:
        """Write all of it, in parts, each after the one before."""
        for start in range(0, len(data), PERMIT_BYTES):
            await self.flush()
            self.write(data[start : start + PERMIT_BYTES])
        await self.flush()

    async def flush(self) -> None:
        """Wait for the write under way; raises Err if it failed."""
        if self._under_way is not None:
            await asyncio.wait([self._under_way])
        self.permit()

    def _written(self, write: asyncio.Future[None]) -> None:
        self._under_way = None
        self._writes.discard(write)
        if write.cancelled():
            self._failure = StreamFailure("the write was cancelled")
        elif (error := write.exception()) is not None:
            self._failure = error if isinstance(error, StreamFailure) else StreamFailure(str(error))


class _Writable(Pollable):
    """Ready while its stream takes bytes."""

    __slots__ = ("_stream",)

    def __init__(self, stream: OutputStream) -> None:
        super().__init__()
        self._stream = stream

    def ready(self) -> bool:
        return self._stream.busy is None

    @property
    def future(self) -> asyncio.Future[Any]:
        busy = self._stream.busy
        return super().future if busy is None else busy


def _closed(_data: bytes) -> None:
    """The sink of a stream that failed."""


def _guarded(operation: Callable[[Any], Any], argument: Any) -> Any:
    try:
        return operation(argument)
    except StreamFailure as failure:
        raise Err(Variant("last-operation-failed", StreamError(failure))) from failure


def _write_and_flush(_guest: Any, stream: OutputStream, data: bytes) -> Any:
    if stream.busy is None and len(data) <= PERMIT_BYTES:
        stream.write(data)
        if stream.busy is None:
            return None
        return stream.flush()
    return stream.write_and_flush(data)


def _flush(_guest: Any, stream: OutputStream) -> None:
    if stream.busy is None:
        stream.permit()


def _blocking_flush(guest: Any, stream: OutputStream) -> Any:
    return _flush(guest, stream) if stream.busy is None else stream.flush()


async def _skip(stream: Input, size: int) -> int:
    chunk = stream.blocking_read(size)
    return len(await chunk if isinstance(chunk, Awaitable) else chunk)


async def _splice(stream: OutputStream, source: Input, size: int) -> int:
    await stream.flush()
    chunk = source.blocking_read(min(size, stream.permit()))
    data = await chunk if isinstance(chunk, Awaitable) else chunk
    stream.write(data)
    return len(data)


def _define_input(imports: Imports) -> None:
    def method(name: str, call: Callable[..., Any]) -> None:
        imports.function(_STREAMS, f"[method]input-stream.{name}", call)

    imports.resource(_STREAMS, "input-stream", Input)
    method("read", lambda _guest, stream, size: stream.read(size))
    method("skip", lambda _guest, stream, size: len(stream.read(size)))
    method("blocking-read", lambda _guest, stream, size: stream.blocking_read(size))
    method("blocking-skip", lambda _guest, stream, size: _skip(stream, size))
    method("subscribe", lambda _guest, stream: stream.subscribe())


def _define_output(imports: Imports) -> None:
    def method(name: str, call: Callable[..., Any]) -> None:
        imports.function(_STREAMS, f"[method]output-stream.{name}", call)

    imports.resource(_STREAMS, "output-stream", OutputStream)
    method("check-write", lambda _guest, stream: stream.permit())
    method("write", lambda _guest, stream, data: stream.write(data))
    method("blocking-write-and-flush", _write_and_flush)
    method("flush", _flush)
    method("blocking-flush", _blocking_flush)
    method("subscribe", lambda _guest, stream: _Writable(stream))
    method("write-zeroes", lambda _guest, stream, size: stream.write(bytes(min(size, PERMIT_BYTES + 1))))
    method("blocking-write-zeroes-and-flush", lambda _guest, stream, size: _zeroes(stream, size))
    for prefix in ("", "blocking-"):
        method(f"{prefix}splice", lambda _guest, stream, source, size: _splice(stream, source, size))


async def _zeroes(stream: OutputStream, size: int) -> None:
    while size:
        part = min(size, PERMIT_BYTES)
        await stream.write_and_flush(bytes(part))
        size -= part


def define(imports: Imports) -> None:
    """Offer wasi:io/error and wasi:io/streams."""
    imports.resource("wasi:io/error", "error", StreamError)
    imports.function("wasi:io/error", "[method]error.to-debug-string", lambda _guest, error: error.message)
    _define_input(imports)
    _define_output(imports)
