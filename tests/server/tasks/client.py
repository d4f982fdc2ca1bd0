"""Tasks over HTTP, and their streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.server.surfaces.client import Reply, post
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from pie.runtime import Runtime
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings
from pie.server.tasks.settings import TaskSettings

__all__ = [
    "CHAT",
    "LONG",
    "Remote",
    "body_of",
    "cancel",
    "ended",
    "send",
    "send_long",
    "serving",
    "show",
    "stream",
    "text_of",
]

CHAT = "/inference/chat"
LONG = "Tell me a long story."


class Remote:
    """As much of a server as the client of tasks needs, over a server in a process of its own."""

    def __init__(self, url: str) -> None:
        self.url = url


def body_of(model: str, text: str = "What is the capital of Norway?", **parameters: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model_id": model, "messages": messages, "parameters": {"max_tokens": 40, **parameters}}


async def send(server: Server, text: str = "What is the capital of Norway?", **parameters: Any) -> str:
    """The id of a new task."""
    reply = await post(server, CHAT, body_of(server.service.runtime.model.name, text, **parameters))
    assert reply.status == 200, reply.content
    assert reply.body["status"] == "QUEUED"
    return str(reply.body["task_id"])


async def send_long(server: Server) -> str:
    """The id of a new task that goes on until its context is full."""
    (token,) = server.service.runtime.model.tokenizer.encode("x")
    return await send(server, max_tokens=100_000, logit_bias={str(token): 100})


async def show(server: Server, task_id: str, token: str | None = None) -> Reply:
    return await post(server, f"/inference/{task_id}", b"", method="GET", token=token)


async def cancel(server: Server, task_id: str, token: str | None = None) -> Reply:
    return await post(server, f"/inference/{task_id}/cancel", b"", token=token)


async def ended(server: Server, task_id: str) -> Any:
    """What is told of a task once it has ended."""
    async with asyncio.timeout(100):
        while True:
            told = (await show(server, task_id)).body
            if told["status"] not in ("QUEUED", "RUNNING"):
                return told
            await asyncio.sleep(0.01)


async def stream(server: Server, task_id: str) -> tuple[list[dict[str, Any]], int]:
    """All events, and the code with which the stream is closed."""
    events: list[dict[str, Any]] = []
    async with connect(f"{server.url}/inference/{task_id}/stream") as websocket:
        with suppress(ConnectionClosed):
            while True:
                events.append(json.loads(await websocket.recv()))
        assert websocket.close_code is not None
        return events, websocket.close_code


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["data"]["text"] for event in events if event["type"] == "TOKEN")


@asynccontextmanager
async def serving(
    runtime: Runtime, home: Path, tasks: TaskSettings | None = None, **settings: Any
) -> AsyncIterator[Server]:
    """A server of its own over the shared runtime."""
    chosen = {"authentication": False, "grace_s": 0, **settings}
    known = ServerSettings(port=0, tasks=tasks or TaskSettings(), **chosen)
    with listen(known) as listening:
        async with serve(runtime, known, listening, home=home) as server:
            yield server
