"""`GET /v1/models`: what may stand in the field `model`."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pie.host.served_models import ServedModels
from pie.server.owner import owner_of
from pie.server.service import Service
from pie.server.surfaces.headers import new_request_id, own_headers
from pie.server.surfaces.reading_only import ReadOnly
from pie.server.surfaces.refusal import Refusal

__all__ = ["check_configured", "check_served", "model_routes"]


def model_routes(service: Service) -> list[Route]:
    """The routes of the list and of its entries."""
    models = service.runtime.models
    created_s = int(time.time())

    def entry(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": created_s, "owned_by": "pie"}

    async def listed(request: Request) -> Response:
        owner_of(service.doorkeeper, request.scope)
        name = request.path_params.get("model")
        if name is None:
            there = [entry(name) for name in models.names if name not in models.failures]
            return JSONResponse({"object": "list", "data": there})
        if name not in models.loading:
            check_served(name, models)
        return JSONResponse(entry(name))

    app = ReadOnly(listed, own_headers=lambda: own_headers(service, new_request_id()))
    return [Route("/v1/models", app), Route("/v1/models/{model:path}", app)]


def check_served(name: str, models: ServedModels) -> None:
    """Raise unless there is a model of that name, and it is ready.

    Raises:
        Refusal: `model-not-served`.
        ModelError: `model-loading`, `model-load-failed`.
    """
    check_configured(name, models)
    models.find(name)


def check_configured(name: str, models: ServedModels, *, param: str = "model") -> None:
    """Raise unless there is a model of that name, whatever became of it; `param` is the field that names it.

    Raises:
        Refusal: `model-not-served`.
    """
    if name not in models.names:
        raise Refusal(
            "model-not-served",
            f"no model is called {name!r} here",
            remedy="Take a name that GET /v1/models lists.",
        ).at(param)
