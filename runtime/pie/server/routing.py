"""Programs that answer HTTP requests at paths of the server's own port, for whoever shows a token."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import Scope

from pie.errors import RequestError
from pie.process.programs import LoadedProgram
from pie.server.answering import Answering
from pie.server.auth import Doorkeeper
from pie.server.service import Service

__all__ = ["program_routes"]

LOCAL_USER = "local"
"""Whose processes they are where nobody must prove who they are."""

SCHEME = "bearer "


def program_routes(service: Service) -> Iterator[Route]:
    """The routes of a server, the longest paths first."""
    for route in sorted(service.settings.routes, key=lambda route: len(route.path), reverse=True):
        app = _answering(service, route.program)
        yield Route(route.path, app)
        yield Route(f"{route.path}/{{rest:path}}", app)


def _answering(service: Service, identifier: str) -> Answering:
    """Lets a program answer, each time in the newest version that is installed."""

    async def find() -> LoadedProgram:
        service.check_open()
        return (await service.programs.find(identifier))[1]

    return Answering(service.runtime, find, owner=lambda scope: _user(service.doorkeeper, scope))


def _user(doorkeeper: Doorkeeper, scope: Scope) -> str:
    """Whose request it is.

    Raises:
        RequestError: `token-needed`.
    """
    if not doorkeeper.needs_proof():
        return LOCAL_USER
    given = Headers(scope=scope).get("authorization", "")
    user = doorkeeper.user_of(given[len(SCHEME) :].strip()) if given.lower().startswith(SCHEME) else None
    if user is None:
        raise RequestError(
            "token-needed",
            "the request shows no token that this server knows",
            remedy="Send the header `Authorization: Bearer TOKEN`.",
        )
    # The token is for this server; a program has no use for it that its user would want.
    scope["headers"] = [field for field in scope["headers"] if field[0].lower() != b"authorization"]
    return user
