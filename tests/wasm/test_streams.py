from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pie.wasm import Err, Variant
from pie.wasm.wasi.streams import (
    CHUNK_BYTES,
    PERMIT_BYTES,
    BytesInput,
    OutputStream,
    ReadyInput,
    StreamError,
    StreamFailure,
    _blocking_flush,
    _Writable,
    _write_and_flush,
)


def code_of(error: Err) -> str:
    assert isinstance(error.payload, Variant)
    return error.payload.tag


def test_input_ends_with_closed() -> None:
    stream = ReadyInput(BytesInput(b"abcdef"))
    assert stream.read(4) == b"abcd"
    assert stream.read(0) == b""
    assert stream.read(4) == b"ef"
    with pytest.raises(Err) as caught:
        stream.read(4)
    assert code_of(caught.value) == "closed"


def test_no_call_carries_more_than_a_chunk() -> None:
    assert len(ReadyInput(BytesInput(bytes(CHUNK_BYTES * 2))).read(1 << 40)) == CHUNK_BYTES


def test_output_to_a_plain_function_never_waits() -> None:
    written: list[bytes] = []
    stream = OutputStream(written.append)
    assert stream.permit() == PERMIT_BYTES
    assert _write_and_flush(None, stream, b"abc") is None
    stream.write(b"def")
    assert _blocking_flush(None, stream) is None
    assert written == [b"abc", b"def"]


async def test_a_slow_sink_holds_the_writer_back() -> None:
    gate, written = asyncio.Event(), bytearray()

    async def sink(data: bytes) -> None:
        await gate.wait()
        written.extend(data)

    stream = OutputStream(sink)
    stream.write(b"first")
    pollable = _Writable(stream)
    assert stream.permit() == 0
    assert not pollable.ready()
    with pytest.raises(ValueError, match="without a permit"):
        stream.write(b"second")
    gate.set()
    await _blocking_flush(None, stream)
    assert pollable.ready()
    assert stream.permit() == PERMIT_BYTES
    assert written == b"first"


async def test_a_long_write_goes_out_in_order_and_in_parts() -> None:
    parts: list[bytes] = []

    async def sink(data: bytes) -> None:
        await asyncio.sleep(0)
        parts.append(data)

    data = bytes(range(256)) * (PERMIT_BYTES // 256 * 2 + 1)
    await _write_and_flush(None, OutputStream(sink), data)
    assert b"".join(parts) == data
    assert max(map(len, parts)) == PERMIT_BYTES


@pytest.mark.parametrize("late", [False, True])
async def test_a_failed_write_is_told_once_and_closes_the_stream(late: bool) -> None:
    async def fail_late() -> None:
        await asyncio.sleep(0)
        raise StreamFailure("the disk is full", "insufficient-space")

    def sink(_data: bytes) -> Any:
        if late:
            return fail_late()
        raise StreamFailure("the disk is full", "insufficient-space")

    stream = OutputStream(sink)
    with pytest.raises(Err) as caught:
        await _write_and_flush(None, stream, b"data")
    assert code_of(caught.value) == "last-operation-failed"
    assert isinstance(caught.value.payload.payload, StreamError)
    assert caught.value.payload.payload.code == "insufficient-space"
    with pytest.raises(Err) as caught:
        stream.permit()
    assert code_of(caught.value) == "closed"
