"""Clients that leave at every stage: the program ends and its pages come back (the fixture `runtime` looks)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from tests.server.surfaces.client import CHAT, chat_body, opened, post

from pie.errors import ProcessError
from pie.runtime import Runtime
from pie.server.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENDLESS = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "string", "minLength": 400}}}


@pytest.fixture
def model(server: Server) -> str:
    return server.service.runtime.model.name


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("stage", ["head", "body", "launched", "generating"])
async def test_a_client_that_leaves_before_it_is_answered(
    server: Server, runtime: Runtime, model: str, stage: str
) -> None:
    where = urlsplit(server.url)
    _, writer = await asyncio.open_connection(where.hostname, where.port)
    body = json.dumps(chat_body(model, max_tokens=2000, response_format=ENDLESS)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    launched = runtime.num_launched
    match stage:
        case "head":
            writer.write(head[:20])
        case "body":
            writer.write(head + body[:20])
        case "launched":
            writer.write(head + body)
            await until(lambda: runtime.num_launched > launched)
        case "generating":
            writer.write(head + body)
            await until(lambda: runtime.model.scheduler.ledger().held)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await until(lambda: runtime.num_processes == server.service.processes.num_running == 0)


async def test_a_client_that_leaves_in_a_stream_ends_the_program(server: Server, runtime: Runtime, model: str) -> None:
    async with opened(server, CHAT, chat_body(model, max_tokens=2000, response_format=ENDLESS)) as stream:
        for _ in range(4):
            await anext(stream)
        assert runtime.num_processes == 1
        assert server.service.processes.num_running == 1
    await until(lambda: runtime.num_processes == 0)
    assert (await post(server, CHAT, chat_body(model, max_tokens=2))).status == 200


async def test_a_program_that_is_ended_in_mid_stream_says_so(server: Server, runtime: Runtime, model: str) -> None:
    async with opened(server, CHAT, chat_body(model, max_tokens=2000, response_format=ENDLESS)) as stream:
        told = [await anext(stream)]
        server.service.processes.terminate_all(ProcessError("shutting-down", "the server stopped"))
        told += [data async for data in stream]
    error = json.loads(told[-1])["error"]
    assert error["code"] == "shutting_down"
    assert set(error) == {"message", "type", "param", "code"}
