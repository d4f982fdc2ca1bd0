"""Clients that leave at every stage: the program ends and its pages come back (the fixture `runtime` looks)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.server.surfaces.client import CHAT, chat_body, joined, opened, post

from pie.errors import ProcessError
from pie.process.process import Process
from pie.process.programs import LoadedProgram
from pie.runtime import Client, Runtime
from pie.server.server import Server
from pie.server.surfaces.chat import ChatExchange
from pie.server.surfaces.incoming import Incoming
from pie.server.surfaces.surface import Bounds, Exchange, Surface

pytestmark = pytest.mark.asyncio(loop_scope="session")

INFER = "/v1/inference/chat"
ENDLESS = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "string", "minLength": 400}}}


@pytest.fixture
def model(server: Server) -> str:
    return server.service.runtime.model.name


@pytest.fixture
def started(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> list[Process]:
    """The processes that are started, as they are."""
    started: list[Process] = []
    launch_for = runtime.launch_for

    def watched(client: Client, program: LoadedProgram, given: Any, **options: Any) -> Process:
        started.append(launch_for(client, program, given, **options))
        return started[-1]

    monkeypatch.setattr(runtime, "launch_for", watched)
    return started


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


def infer_body() -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hi"}], "maxTokens": 60, "structuredOutputs": {"regex": "a{400}"}}


async def test_an_inference_goes_on_without_its_client(
    server: Server, runtime: Runtime, started: list[Process]
) -> None:
    async with opened(server, INFER, infer_body()) as stream:
        await anext(stream)
    assert json.loads(await started[0].outcome())["usage"]["completion_tokens"] == 60
    await until(lambda: runtime.num_processes == server.service.processes.num_running == 0)


async def test_an_inference_for_nobody_ends_with_the_server(server: Server, runtime: Runtime) -> None:
    async with opened(server, INFER, {**infer_body(), "maxTokens": 2000}) as stream:
        await anext(stream)
    server.service.processes.terminate_all(ProcessError("shutting-down", "the server stopped"))
    await until(lambda: runtime.num_processes == server.service.processes.num_running == 0)


class Wire:
    """The server's side of a connection, from which the client may leave, and what was sent over it."""

    def __init__(self, body: object) -> None:
        self._body = json.dumps(body).encode()
        self.sent: list[bytes] = []
        self.left = asyncio.Event()
        self._is_read = False

    async def receive(self) -> dict[str, Any]:
        if not self._is_read:
            self._is_read = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message.get("body", b""))


def surface_of(server: Server, *, continues: bool, ping_s: float | None = None) -> Surface:
    service = server.service

    def read(incoming: Incoming) -> Exchange:
        return ChatExchange.infer(incoming.body, service.runtime.models, service.runtime.model.name)

    async def find() -> LoadedProgram:
        return await service.programs.ours("chat-completions")

    return Surface(service, read, find, bounds=Bounds(ping_s=ping_s), continues=continues)


SCOPE = {"type": "http", "method": "POST", "path": INFER, "path_params": {}, "headers": []}


@pytest.mark.parametrize("continues", [False, True])
async def test_a_route_says_whether_a_program_goes_on(
    server: Server, runtime: Runtime, started: list[Process], continues: bool
) -> None:
    wire = Wire(infer_body())
    surface = surface_of(server, continues=continues)
    answering = asyncio.ensure_future(surface(dict(SCOPE), wire.receive, wire.send))
    await until(lambda: len(wire.sent) > 2)
    (process,) = started
    wire.left.set()
    await answering
    assert b"data: [DONE]\n\n" not in wire.sent
    if continues:
        assert json.loads(await started[0].outcome())["usage"]["completion_tokens"] == 60
    else:
        with pytest.raises(ProcessError, match="terminated"):
            await process.outcome()
    assert runtime.num_processes == 0


async def test_a_silent_stream_has_pings(server: Server) -> None:
    wire = Wire({**infer_body(), "maxTokens": 4})
    await surface_of(server, continues=False, ping_s=0.0001)(dict(SCOPE), wire.receive, wire.send)
    assert b"event: ping\ndata: {}\n\n" in wire.sent
    assert b"data: [DONE]\n\n" in wire.sent
    texts = [json.loads(part.removeprefix(b"data: ")) for part in wire.sent if part.startswith(b"data: {")]
    assert re.fullmatch("a+", joined(texts))
