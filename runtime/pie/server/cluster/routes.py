"""`GET /health` and `WS /ws/cluster-status`: what the machine is doing, once and as it changes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from pie.server.cluster.cluster import Cluster
from pie.server.cluster.replies import ClusterStatus, HealthReply
from pie.server.service import Service
from pie.server.surfaces.headers import new_request_id, own_headers
from pie.server.surfaces.openapi import Operation
from pie.server.surfaces.reading_only import ReadOnly
from pie.server.watching import serve_reader

__all__ = ["CLUSTER_OPERATIONS", "cluster_routes"]

EVERY_S = 1.0
"""How often the status is told while no model changes its state."""

CLUSTER_OPERATIONS = (
    Operation("get", "/health", "What the machine is doing; open without a token", HealthReply, (405,)),
    Operation(
        "get",
        "/ws/cluster-status",
        "What the machine is doing, as it changes: a WebSocket",
        ClusterStatus,
        (401,),
        status=101,
        note="Each message is of this type: one at once, then every second, and when a model is loaded or cannot be.",
    ),
)


def cluster_routes(service: Service) -> list[BaseRoute]:
    """The two of them."""
    cluster = Cluster(service)

    async def health(_request: Request) -> Response:
        return JSONResponse(msgspec.to_builtins(cluster.health()))

    async def watch(websocket: WebSocket) -> None:
        await serve_reader(websocket, service, lambda _owner: _tell(websocket, cluster))

    app = ReadOnly(health, own_headers=lambda: own_headers(service, new_request_id()))
    return [Route("/health", app), WebSocketRoute("/ws/cluster-status", watch)]


async def _tell(websocket: WebSocket, cluster: Cluster) -> None:
    while True:
        await websocket.send_text(msgspec.json.encode(cluster.status()).decode())
        with suppress(TimeoutError):
            async with asyncio.timeout(EVERY_S):
                await cluster.service.runtime.models.change()
