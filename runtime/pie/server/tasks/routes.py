"""Where tasks are answered: `/inference`, on the server's port and on one of its own."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from pie.server.endpoint import Endpoint, small_bodies
from pie.server.guard import Guard
from pie.server.tasks.request import read_task
from pie.server.tasks.stream import serve_stream
from pie.server.tasks.tasks import Tasks
from pie.server.users import Holder

__all__ = ["make_tasks_app", "task_routes"]


def make_tasks_app(tasks: Tasks) -> ASGIApp:
    """The application of a port where tasks alone are answered."""
    return Guard(Starlette(routes=task_routes(tasks)), tasks.service.settings)


def task_routes(tasks: Tasks) -> list[BaseRoute]:
    """All paths of tasks."""
    service, reader = tasks.service, small_bodies()

    async def chat(request: Request, holder: Holder) -> dict[str, Any]:
        service.check_open()
        with service.limiter.admitted(service.accounts_of(holder)):
            record = read_task(
                await reader.read(request.scope, request.receive), service.runtime.models, owner=holder.user
            )
            await tasks.submit(record, holder)
        return {"task_id": record.task_id, "status": "QUEUED"}

    async def show(request: Request, holder: Holder) -> dict[str, Any]:
        return (await tasks.find(request.path_params["task_id"], owner=holder.user)).told()

    async def cancel(request: Request, holder: Holder) -> dict[str, Any]:
        task_id = request.path_params["task_id"]
        await tasks.cancel(task_id, owner=holder.user)
        return {"status": "cancel_requested", "task_id": task_id}

    async def stream(websocket: WebSocket) -> None:
        await serve_stream(websocket, tasks)

    return [
        Route("/inference/chat", Endpoint(service, {"POST": chat})),
        Route("/inference/{task_id}", Endpoint(service, {"GET": show})),
        Route("/inference/{task_id}/cancel", Endpoint(service, {"POST": cancel})),
        WebSocketRoute("/inference/{task_id}/stream", stream),
    ]
