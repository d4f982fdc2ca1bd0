"""The response of a surface: JSON, or server-sent events, begun with the first thing that is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.types import Message, Send

from pie.errors import PieError
from pie.server.surfaces.refusal import headers_of, status_of, told

__all__ = ["Sender"]

Field = tuple[bytes, bytes]


class Sender:
    """The response.

    Attributes:
        failing: the event that ends a stream, and tells why.
    """

    def __init__(self, send: Send, headers: Mapping[str, str]) -> None:
        """Nothing is sent yet; `headers` go with whatever will be."""
        self._send = send
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._has_begun = False
        self._is_left = False
        self.failing: Callable[[PieError], dict[str, Any]] = told

    def leave(self) -> None:
        """Send nothing more: nobody is there."""
        self._is_left = True

    async def ping(self) -> None:
        """Send that the answer is still being made."""
        await self._part(b"event: ping\ndata: {}\n\n")

    async def whole(self, content: dict[str, Any]) -> None:
        """Send an answer in one piece."""
        await self._all(content, 200, [])

    async def later(self, content: dict[str, Any], *, after_s: int) -> None:
        """Send that the answer is to be asked for again."""
        await self._all(content, 202, [(b"retry-after", str(after_s).encode())])

    async def event(self, content: dict[str, Any]) -> None:
        """Send one event, named by its `type` if it has one."""
        name = f"event: {content['type']}\n".encode() if "type" in content else b""
        await self._part(name + b"data: " + _encode(content) + b"\n\n")

    async def done(self) -> None:
        """Send that the answer is whole."""
        await self._part(b"data: [DONE]\n\n")

    async def end(self) -> None:
        """Send that nothing more comes."""
        await self._give({"type": "http.response.body", "body": b"", "more_body": False})

    async def refuse(self, error: PieError) -> None:
        """Send why there is no answer, or no more of it."""
        if self._has_begun:
            await self.event(self.failing(error))
            await self.end()
        else:
            fields = [(name.encode(), value.encode()) for name, value in headers_of(error).items()]
            await self._all(told(error), status_of(error), fields)

    async def _all(self, content: dict[str, Any], status: int, headers: Sequence[Field]) -> None:
        body = _encode(content)
        own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._begin([*own, *headers], status=status)
        await self._give({"type": "http.response.body", "body": body})

    async def _part(self, data: bytes) -> None:
        if not self._has_begun:
            await self._begin([(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")])
        await self._give({"type": "http.response.body", "body": data, "more_body": True})

    async def _give(self, message: Message) -> None:
        if not self._is_left:
            await self._send(message)

    async def _begin(self, headers: Sequence[Field], *, status: int = 200) -> None:
        self._has_begun = True
        await self._give({"type": "http.response.start", "status": status, "headers": [*headers, *self._headers]})


def _encode(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
