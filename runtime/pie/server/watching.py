"""WebSockets over which something is told until its reader leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from pie.errors import PieError
from pie.server.owner import owner_of
from pie.server.service import Service
from pie.server.surfaces.headers import new_request_id, own_headers
from pie.server.surfaces.refusal import headers_of, status_of, told

__all__ = ["TRY_AGAIN_LATER", "serve_reader"]

TRY_AGAIN_LATER = 1013
"""The code with which a WebSocket closes that cannot be served now."""


async def serve_reader(websocket: WebSocket, service: Service, tell: Callable[[str], Awaitable[None]]) -> None:
    """Let a reader in, as a session, and run `tell` for its user until that is done or the reader leaves."""
    try:
        owner = owner_of(service.doorkeeper, websocket.scope)
    except PieError as error:
        headers = {**headers_of(error), **own_headers(service, new_request_id())}
        await websocket.send_denial_response(JSONResponse(told(error), status_of(error), headers))
        return
    await websocket.accept()
    if service.num_sessions >= service.settings.max_connections:
        await websocket.close(TRY_AGAIN_LATER, "too-many-connections")
        return
    service.num_sessions += 1
    try:
        await _until_it_leaves(websocket, tell(owner))
    finally:
        service.num_sessions -= 1


async def _until_it_leaves(websocket: WebSocket, tell: Awaitable[None]) -> None:
    telling = asyncio.ensure_future(tell)
    leaving = asyncio.ensure_future(_leaves(websocket))
    try:
        await asyncio.wait([telling, leaving], return_when=asyncio.FIRST_COMPLETED)
    finally:
        telling.cancel()
        leaving.cancel()
        await asyncio.wait([telling, leaving])
    for task in (telling, leaving):
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, WebSocketDisconnect):
            raise error


async def _leaves(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
