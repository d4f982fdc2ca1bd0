"""Raw requests to the surfaces, and their events read one by one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpcore2

from pie.server.server import Server

__all__ = [
    "CHAT",
    "COMPLETIONS",
    "RESPONSES",
    "Reply",
    "address",
    "chat_body",
    "events",
    "joined",
    "opened",
    "post",
]

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
RESPONSES = "/v1/responses"


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """Its JSON."""
        return json.loads(self.content)

    @property
    def error(self) -> tuple[int, str, str | None]:
        """Status, code and param of a refusal."""
        error = self.body["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        return self.status, error["code"], error["param"]


def chat_body(model: str, text: str = "What is the capital of Norway?", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 60, **fields}


def address(server: Server, path: str) -> str:
    return f"http{server.url.removeprefix('ws')}{path}"


async def post(server: Server, path: str, body: object, *, method: str = "POST", token: str | None = None) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
    async with httpcore2.AsyncConnectionPool() as pool:
        response = await pool.request(method, address(server, path), content=content, headers=headers)
    fields = {name.decode(): value.decode() for name, value in response.headers}
    return Reply(response.status, fields, response.content)


@asynccontextmanager
async def opened(server: Server, path: str, body: dict[str, Any]) -> AsyncIterator[AsyncIterator[str]]:
    """The data of the events of a stream; leaving the block closes the connection."""
    content = json.dumps({**body, "stream": True}).encode()
    async with (
        httpcore2.AsyncConnectionPool() as pool,
        pool.stream("POST", address(server, path), content=content) as response,
    ):
        assert response.status == 200
        assert dict(response.headers)[b"content-type"].startswith(b"text/event-stream")
        yield _data(response)


async def events(server: Server, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """All events of a stream but the last, which must be [DONE]."""
    async with opened(server, path, body) as stream:
        *told, last = [data async for data in stream]
    assert last == "[DONE]"
    return [json.loads(data) for data in told]


def joined(chunks: list[dict[str, Any]]) -> str:
    """The text of all deltas."""
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


async def _data(response: httpcore2.Response) -> AsyncIterator[str]:
    buffered = b""
    async for part in response.aiter_stream():
        buffered += part
        while b"\n\n" in buffered:
            event, _, buffered = buffered.partition(b"\n\n")
            assert event.startswith(b"data: ")
            yield event.removeprefix(b"data: ").decode()
    assert buffered == b""
