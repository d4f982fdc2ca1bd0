"""Answering HTTP requests: what a program's `handle` is given, and what it may return.

    from inferlet.serving import Response

    async def handle(request):
        return Response(f"You asked for {request.path}.")

A program with a function `handle` is built into a component that a server offers at a path or a port. Each request has
an instance of its own.
"""

from __future__ import annotations

import json as json_format
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from inferlet.errors import Error

__all__ = ["Request", "Response"]

Content = str | bytes | AsyncIterable[str | bytes]
Headers = Mapping[str, str] | Iterable[tuple[str, str]]

_MAX_BODY_BYTES = 16 << 20


class Request:
    """What a client asks.

    Attributes:
        method: such as GET.
        path: without the query.
        query: the query's entries; of one that comes more than once, the last.
        headers: names in lower case; of a name that comes more than once, the last. `header_list` has all.
        header_list: names and values in their order.
    """

    __slots__ = ("_parts", "header_list", "headers", "method", "path", "query")

    def __init__(
        self,
        method: str,
        target: str,
        header_list: list[tuple[str, str]],
        parts: Callable[[], AsyncIterator[bytes]],
    ) -> None:
        url = urlsplit(target)
        self.method = method
        self.path = url.path
        self.query = dict(parse_qsl(url.query, keep_blank_values=True))
        self.header_list = header_list
        self.headers = {name.lower(): value for name, value in header_list}
        self._parts = parts

    def parts(self) -> AsyncIterator[bytes]:
        """The body in parts, as they arrive; once.

        Raises:
            Error: `body-taken` if it was read before; `client-gone`.
        """
        return self._parts()

    async def body(self, max_bytes: int = _MAX_BODY_BYTES) -> bytes:
        """The whole body; once.

        Raises:
            Error: `body-too-large` if it is larger than `max_bytes`; `body-taken`; `client-gone`.
        """
        body = bytearray()
        async for part in self.parts():
            body += part
            if len(body) > max_bytes:
                raise Error("body-too-large", f"the body of the request has more than {max_bytes} bytes")
        return bytes(body)

    async def text(self) -> str:
        """The body as UTF-8; what is no UTF-8 becomes replacement characters."""
        return (await self.body()).decode("utf-8", "replace")

    async def json(self) -> Any:
        """The body, parsed.

        Raises:
            Error: `not-json` if it is no JSON; as `body`.
        """
        try:
            return json_format.loads(await self.body())
        except (ValueError, RecursionError) as error:
            raise Error("not-json", f"the body of the request is no JSON: {error}") from None

    def __repr__(self) -> str:
        return f"Request({self.method} {self.path})"


class Response:
    """What a program answers.

    Attributes:
        status: such as 200.
        header_list: names and values in their order.
        content: text or bytes; or an async iterable of them, sent piece by piece as they come.
    """

    __slots__ = ("content", "header_list", "status")

    def __init__(self, content: Content = b"", *, status: int = 200, headers: Headers = ()) -> None:
        self.status = status
        self.header_list = list(headers.items() if isinstance(headers, Mapping) else headers)
        self.content = content
        if not any(name.lower() == "content-type" for name, _ in self.header_list):
            is_bytes = isinstance(content, bytes)
            kind = "application/octet-stream" if is_bytes else "text/plain; charset=utf-8"
            self.header_list.append(("content-type", kind))

    @classmethod
    def json(cls, value: object, *, status: int = 200) -> Response:
        """A response with a value as JSON.

        Raises:
            Error: `not-json` if JSON cannot express it.
        """
        try:
            text = json_format.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise Error("not-json", f"JSON cannot express the response: {error}") from None
        return cls(text, status=status, headers={"content-type": "application/json"})

    @classmethod
    def of(cls, result: object) -> Response:
        """What `handle` returned, as a response: itself, text, bytes or an iterable of them, or a value as JSON."""
        if isinstance(result, cls):
            return result
        if isinstance(result, str | bytes | AsyncIterable):
            return cls(result)
        return cls.json(result)

    def __repr__(self) -> str:
        return f"Response({self.status})"
