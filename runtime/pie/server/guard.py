"""What a browser may ask: refuses foreign pages, and names that are not this server's (DNS rebinding).

Pages of allowed origins are told so (cross-origin resource sharing, as the Fetch standard of WHATWG has it), so that
their scripts can read what they are answered.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from pie.errors import RequestError
from pie.server.settings import ServerSettings

__all__ = ["Guard"]


PREFLIGHT_KEPT_S = 600
"""How long a browser need not ask again whether it may send a request."""


class Guard:
    """Refuses what the pages of other sites make a browser ask (DNS rebinding, foreign origins)."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        """Stand before `app`."""
        origins = [origin.lower().rstrip("/") for origin in settings.allowed_origins]
        self._app = _sharing(app, origins) if origins else app
        self._hostnames = {"localhost", settings.host.lower(), *(name.lower() for name in settings.host_names)}
        self._origins = set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass; answer the rest with 403."""
        if scope["type"] in ("http", "websocket"):
            try:
                self._check(Headers(scope=scope))
            except RequestError as error:
                await _refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, headers: Headers) -> None:
        host = headers.get("host", "")
        name = _hostname(host)
        if not (name in self._hostnames or _is_address(name)):
            raise RequestError(
                "host-not-allowed",
                f"this server is not known as {name[:100]!r}",
                remedy="Use its address, or add the name to server.allowed_host_names.",
            )
        origin = headers.get("origin")
        if not (origin is None or origin.lower() in self._origins or _authority(origin) == host.lower()):
            raise RequestError(
                "origin-not-allowed",
                f"pages of {origin[:100]!r} may not use this server",
                remedy="Add the site to server.allowed_origins.",
            )


def _sharing(app: ASGIApp, origins: list[str]) -> ASGIApp:
    """The application, which tells the pages of these origins that they may read it; cookies are never asked for."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["*"],
        max_age=PREFLIGHT_KEPT_S,
    )


async def _refuse(error: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
    response = PlainTextResponse(f"{error}\n", 403)
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)


def _hostname(authority: str) -> str:
    try:
        return (urlsplit(f"//{authority}").hostname or "").lower()
    except ValueError:
        return ""


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    """Whether it is a number: those cannot be rebound."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
