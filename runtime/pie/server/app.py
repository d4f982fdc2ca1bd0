"""The one application on the one port: clients at `/`, probes of operators, programs at paths, surfaces."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from pie.errors import RequestError
from pie.server.cluster.routes import CLUSTER_OPERATIONS, cluster_routes
from pie.server.connection import Connection, close_reason
from pie.server.guard import Guard
from pie.server.metrics import CONTENT_TYPE, Metrics
from pie.server.pools.routes import POOL_OPERATIONS, pool_routes
from pie.server.routing import program_routes
from pie.server.service import Service
from pie.server.surfaces.describing import description_routes
from pie.server.surfaces.forms import route_operations, surface_operations
from pie.server.surfaces.openapi import described
from pie.server.surfaces.routes import PATHS, surface_routes
from pie.server.tasks.forms import TASK_OPERATIONS
from pie.server.tasks.routes import task_routes
from pie.server.tasks.tasks import Tasks
from pie.server.watching import TRY_AGAIN_LATER

__all__ = ["make_app"]


def make_app(service: Service, tasks: Tasks) -> ASGIApp:
    """The application over a service and its tasks."""

    async def serve_client(websocket: WebSocket) -> None:
        await websocket.accept()
        if service.num_sessions >= service.settings.max_connections:
            error = RequestError(
                "too-many-connections", f"{service.num_sessions} clients are connected", remedy="Try again later."
            )
            await websocket.close(TRY_AGAIN_LATER, close_reason(error))
            return
        service.num_sessions += 1
        try:
            await Connection(service, websocket).run()
        finally:
            service.num_sessions -= 1

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        why_not = service.why_not_ready()
        return PlainTextResponse(f"not ready: {why_not}\n", 503) if why_not else PlainTextResponse("ready\n")

    shown = Metrics(service, vllm_names=service.settings.vllm_metrics)

    async def metrics(_request: Request) -> Response:
        return Response(shown.page(), media_type=CONTENT_TYPE)

    operations = [*surface_operations(PATHS), *TASK_OPERATIONS, *CLUSTER_OPERATIONS, *POOL_OPERATIONS]
    document = described(operations, route_operations(service.settings.routes))
    routes = [
        WebSocketRoute("/", serve_client),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
        *program_routes(service),
        *surface_routes(service),
        *task_routes(tasks),
        *cluster_routes(service),
        *pool_routes(service),
        *description_routes(document),
    ]
    return Guard(Starlette(routes=routes), service.settings)
