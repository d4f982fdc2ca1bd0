"""Bodies that are too large, never end, or come in hundreds: refused in little memory, and the next is answered."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from tests.server.surfaces.client import Reply, post
from tests.server.surfaces.refused.rows import CHAT, GOOD, TASK

from pie.process.programs import LoadedProgram
from pie.server.listening import answering, listen_at
from pie.server.server import Server
from pie.server.surfaces.body import MAX_READING
from pie.server.surfaces.chat import ChatExchange
from pie.server.surfaces.surface import Bounds, Surface

pytestmark = pytest.mark.asyncio(loop_scope="session")

MIB = 1 << 20
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(port: int, head: str) -> AsyncIterator[Connection]:
    """A connection on which the head of a POST was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{head}\r\nhost: localhost\r\n\r\n".encode())
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def port_of(server: Server) -> int:
    port = urlsplit(server.url).port
    assert port is not None
    return port


async def reply_on(connection: Connection) -> Reply:
    head = (await connection[0].readuntil(b"\r\n\r\n")).decode()
    status, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    content = await connection[0].readexactly(int(headers["content-length"]))
    return Reply(int(status.split()[1]), headers, content)


async def is_served(server: Server) -> bool:
    body = {**GOOD[CHAT], "model": server.service.runtime.model.name}
    return (await post(server, CHAT, body)).status == 200


@pytest.mark.parametrize("path", [CHAT, TASK])
@pytest.mark.parametrize("is_declared", [True, False])
async def test_a_hundred_mebibytes_are_refused_in_little_memory(server: Server, path: str, is_declared: bool) -> None:
    kind = f"content-length: {100 * MIB}" if is_declared else "transfer-encoding: chunked"
    part = b" " * 65536
    part = part if is_declared else b"10000\r\n" + part + b"\r\n"
    tracemalloc.start()
    try:
        async with connected(port_of(server), f"POST {path} HTTP/1.1\r\n{kind}") as connection:
            replying = asyncio.create_task(reply_on(connection))
            for _ in range(1600):
                connection[1].write(part)
                await connection[1].drain()
            if not is_declared:
                connection[1].write(b"0\r\n\r\n")
            reply = await replying
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reply.error == (413, "body_too_large", None)
    assert reply.headers["connection"] == "close"
    assert peak_bytes < 40 * MIB  # 8 MiB are read, in a buffer that grows
    assert await is_served(server)


@asynccontextmanager
async def impatient(server: Server, body_s: float) -> AsyncIterator[int]:
    """The port of a chat surface that waits so long for bodies."""
    service = server.service

    async def find() -> LoadedProgram:
        return await service.programs.ours("chat-completions")

    surface = Surface(
        service,
        lambda incoming: ChatExchange.read(incoming.body, service.runtime.models),
        find,
        bounds=Bounds(body_s=body_s),
    )
    with listen_at("127.0.0.1", 0) as listening:
        async with answering(Starlette(routes=[Route(CHAT, surface)]), listening):
            yield int(listening.getsockname()[1])


@pytest.mark.parametrize("kind", ["content-length: 1000", "transfer-encoding: chunked"])
async def test_a_body_that_never_ends_is_given_up(server: Server, kind: str) -> None:
    launched = server.service.runtime.num_launched
    async with impatient(server, 0.05) as port, connected(port, f"POST {CHAT} HTTP/1.1\r\n{kind}") as connection:
        connection[1].write(b"5\r\n{    \r\n" if "chunked" in kind else b"{")
        reply = await reply_on(connection)
        assert reply.error == (408, "body_too_slow", None)
        assert reply.headers["connection"] == "close"
        assert await connection[0].read() == b""  # it is closed, whatever still comes
    assert server.service.runtime.num_launched == launched
    assert await is_served(server)


async def test_a_body_that_trickles_is_given_up_too(server: Server) -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"1\r\n \r\n")
            await asyncio.sleep(0.005)

    head = f"POST {CHAT} HTTP/1.1\r\ntransfer-encoding: chunked"
    async with impatient(server, 0.1) as port, connected(port, head) as connection:
        trickling = asyncio.create_task(trickle(connection[1]))
        assert (await reply_on(connection)).error == (408, "body_too_slow", None)
        trickling.cancel()


async def test_only_so_many_bodies_are_read_at_a_time(server: Server) -> None:
    half = f"POST {CHAT} HTTP/1.1\r\ncontent-length: 2"
    body = json.dumps({**GOOD[CHAT], "model": server.service.runtime.model.name})
    head = f"POST {CHAT} HTTP/1.1\r\ncontent-length: {len(body)}"
    async with impatient(server, 60) as port, asyncio.timeout(60):
        async with AsyncExitStack() as stack:
            waiting = [await stack.enter_async_context(connected(port, half)) for _ in range(MAX_READING)]
            for _, writer in waiting:
                writer.write(b"{")
            while (reply := await asked(port, head, body)).status == 200:  # until all heads have been read
                pass
            assert reply.error == (503, "RESOURCE_EXHAUSTED", None)
            assert reply.headers["retry-after"] == "5"
            for connection in waiting[: MAX_READING // 2]:
                connection[1].write(b"}")
                assert (await reply_on(connection)).error == (400, "bad_value", "model")
        while (await asked(port, head, body)).status != 200:  # until the rest is known to have left
            pass


async def asked(port: int, head: str, body: str) -> Reply:
    async with connected(port, head) as connection:
        connection[1].write(body.encode())
        return await reply_on(connection)
