"""Where surfaces are: the built-in ones at their paths, and those of the operator's routes."""

from __future__ import annotations

from collections.abc import Callable

from starlette.routing import Route

import pie.config
from pie.process.programs import LoadedProgram
from pie.server.service import Service
from pie.server.surfaces.chat import ChatExchange
from pie.server.surfaces.completions import CompletionExchange
from pie.server.surfaces.describing import description_routes
from pie.server.surfaces.embeddings import EmbeddingExchange
from pie.server.surfaces.models import model_routes
from pie.server.surfaces.openapi import described
from pie.server.surfaces.responses import ResponsesExchange
from pie.server.surfaces.surface import Exchange, Surface

__all__ = ["surface_route", "surface_routes"]

PATHS = {
    "chat-completions": "/v1/chat/completions",
    "responses": "/v1/responses",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
}
"""Each surface and its path."""

PROGRAMS = {"responses": "chat-completions"}
"""The programs that come with the server for surfaces which have not one of their own name."""


def surface_routes(service: Service) -> list[Route]:
    """The routes of all that is built in."""
    surfaces = [Route(path, _ours(service, surface)) for surface, path in PATHS.items()]
    descriptions = description_routes(described(PATHS, service.settings.routes))
    return [*surfaces, *model_routes(service), *descriptions]


def surface_route(service: Service, route: pie.config.Route) -> Route:
    """The route at which an installed program answers as a surface, each time in its newest version."""

    async def find() -> LoadedProgram:
        return (await service.programs.find(route.program))[1]

    return Route(route.path, Surface(service, _reader(service, str(route.surface)), find))


def _ours(service: Service, surface: str) -> Surface:
    return Surface(service, _reader(service, surface), lambda: service.programs.ours(PROGRAMS.get(surface, surface)))


def _reader(service: Service, surface: str) -> Callable[[bytes], Exchange]:
    models = service.runtime.models
    readers: dict[str, Callable[[bytes], Exchange]] = {
        "chat-completions": lambda body: ChatExchange(body, models),
        "responses": lambda body: ResponsesExchange(body, models),
        "completions": lambda body: CompletionExchange(body, models),
        "embeddings": lambda body: EmbeddingExchange(body, models),
    }
    return readers[surface]
