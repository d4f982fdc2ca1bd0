"""Programs that answer HTTP requests at paths of the server's own port, for whoever shows a token."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.routing import Route

from pie.server.answering import Answering, Offered
from pie.server.owner import owner_of
from pie.server.service import Service
from pie.server.surfaces.routes import surface_route

__all__ = ["program_routes"]


def program_routes(service: Service) -> Iterator[Route]:
    """The routes of a server, the longest paths first."""
    for route in sorted(service.settings.routes, key=lambda route: len(route.path), reverse=True):
        if route.surface is not None:
            yield surface_route(service, route)
            continue
        app = _answering(service, route.program)
        yield Route(route.path, app)
        yield Route(f"{route.path}/{{rest:path}}", app)


def _answering(service: Service, identifier: str) -> Answering:
    """Lets a program answer, each time in the newest version that is installed."""

    async def find() -> Offered:
        service.check_open()
        return await service.programs.offer(identifier)

    answering = Answering(
        service.processes, service.settings, find, owner=lambda scope: owner_of(service.doorkeeper, scope)
    )
    service.answerings.append(answering)
    return answering
