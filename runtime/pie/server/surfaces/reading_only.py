"""What is read with GET and HEAD alone, and says so in the form of surfaces to whoever sends something else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from pie.errors import PieError
from pie.server.surfaces.refusal import check_method, headers_of, status_of, told

__all__ = ["ReadOnly"]


class ReadOnly:
    """An ASGI application over one answer."""

    def __init__(
        self,
        answer: Callable[[Request], Awaitable[Response]],
        *,
        own_headers: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """Answer by `answer`, which may raise a PieError, with `own_headers` on every response."""
        self._answer = answer
        self._own_headers = own_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            check_method(scope["method"], "GET", "HEAD")
            response = await self._answer(Request(scope, receive))
        except PieError as error:
            response = JSONResponse(told(error), status_of(error), headers_of(error))
        response.headers.update(self._own_headers())
        await response(scope, receive, send)
