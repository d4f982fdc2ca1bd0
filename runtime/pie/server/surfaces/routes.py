"""Where surfaces are: the built-in ones at their paths, and those of the operator's routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.routing import Route

import pie.config
from pie.process.programs import LoadedProgram
from pie.server.service import Service
from pie.server.surfaces.chat import ChatExchange
from pie.server.surfaces.completions import CompletionExchange
from pie.server.surfaces.embeddings import EmbeddingExchange
from pie.server.surfaces.generate import GenerateExchange
from pie.server.surfaces.incoming import Incoming
from pie.server.surfaces.models import model_routes
from pie.server.surfaces.responses import ResponsesExchange
from pie.server.surfaces.surface import Bounds, Exchange, Surface

__all__ = ["PATHS", "surface_route", "surface_routes"]

PING_S = 15.0
"""Clients of `/v1/inference/chat` take a stream that is silent for longer for dead."""

BUILT_IN = {
    "chat-completions": ("/v1/chat/completions", "chat-completions"),
    "responses": ("/v1/responses", "chat-completions"),
    "inference-chat": ("/v1/inference/chat", "chat-completions"),
    "completions": ("/v1/completions", "completions"),
    "embeddings": ("/v1/embeddings", "embeddings"),
    "generate": ("/v1/generate/{model}", "completions"),
}
"""The path of each surface, and the program that comes with the server and answers there."""

PATHS = {surface: path for surface, (path, _program) in BUILT_IN.items()}
"""The path of each surface, as it is described."""


def surface_routes(service: Service) -> list[Route]:
    """The routes of all that is built in."""
    return [
        Route(path.replace("{model}", "{model:path}"), _ours(service, surface, program))
        for surface, (path, program) in BUILT_IN.items()
    ] + model_routes(service)


def surface_route(service: Service, route: pie.config.Route) -> Route:
    """The route at which an installed program answers as a surface, each time in its newest version."""

    async def find() -> LoadedProgram:
        return (await service.programs.find(route.program))[1]

    return Route(route.path, _surface(service, str(route.surface), find, route.on_disconnect))


def _ours(service: Service, surface: str, program: str) -> Surface:
    return _surface(service, surface, lambda: service.programs.ours(program), None)


def _surface(
    service: Service, surface: str, find: Callable[[], Awaitable[LoadedProgram]], on_disconnect: str | None
) -> Surface:
    is_infer = surface == "inference-chat"
    bounds = Bounds(ping_s=PING_S) if is_infer else Bounds()
    continues = is_infer if on_disconnect is None else on_disconnect == "continue"
    return Surface(service, _reader(service, surface), find, bounds=bounds, continues=continues)


def _reader(service: Service, surface: str) -> Callable[[Incoming], Exchange]:
    models = service.runtime.models
    default_model = models.names[0]
    readers: dict[str, Callable[[Incoming], Exchange]] = {
        "chat-completions": lambda incoming: ChatExchange.read(incoming.body, models),
        "responses": lambda incoming: ResponsesExchange(incoming.body, models),
        "inference-chat": lambda incoming: ChatExchange.infer(incoming.body, models, default_model),
        "completions": lambda incoming: CompletionExchange(incoming.body, models),
        "embeddings": lambda incoming: EmbeddingExchange(incoming.body, models),
        "generate": lambda incoming: GenerateExchange(incoming, models),
    }
    return readers[surface]
