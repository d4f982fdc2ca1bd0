"""Where tasks are answered: `/inference`, on the server's port and on one of its own."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from pie.errors import PieError, ProcessError
from pie.server.guard import Guard
from pie.server.owner import holder_of
from pie.server.surfaces.body import ClientLeft, read_body
from pie.server.surfaces.headers import new_request_id, own_headers
from pie.server.surfaces.refusal import check_method, headers_of, status_of, told
from pie.server.tasks.request import read_task
from pie.server.tasks.stream import serve_stream
from pie.server.tasks.tasks import Tasks
from pie.server.users import Holder

__all__ = ["make_tasks_app", "task_routes"]

MAX_BODY_BYTES = 1 << 20
BODY_S = 30.0
MAX_READING = 256
"""Bodies that are read at a time, since each is held in memory."""

Answer = Callable[[Request, Holder], Awaitable[dict[str, Any]]]
log = logging.getLogger(__name__)


def make_tasks_app(tasks: Tasks) -> ASGIApp:
    """The application of a port where tasks alone are answered."""
    return Guard(Starlette(routes=task_routes(tasks)), tasks.service.settings)


def task_routes(tasks: Tasks) -> list[BaseRoute]:
    """All paths of tasks."""
    reading = _Reading(tasks)

    async def chat(request: Request, holder: Holder) -> dict[str, Any]:
        service = tasks.service
        service.check_open()
        with service.limiter.admitted(service.accounts_of(holder)):
            record = read_task(await reading.body(request), service.runtime.models, owner=holder.user)
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
        Route("/inference/chat", _Endpoint(tasks, "POST", chat)),
        Route("/inference/{task_id}", _Endpoint(tasks, "GET", show)),
        Route("/inference/{task_id}/cancel", _Endpoint(tasks, "POST", cancel)),
        WebSocketRoute("/inference/{task_id}/stream", stream),
    ]


class _Reading:
    """Bodies, so many at a time."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._num_reading = 0

    async def body(self, request: Request) -> bytes:
        if self._num_reading >= MAX_READING:
            raise ProcessError("busy", f"{self._num_reading} requests are being read", remedy="Try again soon.")
        self._num_reading += 1
        try:
            return await read_body(request.scope, request.receive, max_bytes=MAX_BODY_BYTES, within_s=BODY_S)
        finally:
            self._num_reading -= 1


class _Endpoint:
    """An ASGI application over one kind of request."""

    def __init__(self, tasks: Tasks, method: str, answer: Answer) -> None:
        self._tasks = tasks
        self._method = method
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        try:
            response = await self._response(scope, receive)
        except ClientLeft:
            return
        except PieError as error:
            facts = {"code": error.code, "path": scope["path"], "request": request_id}
            log.info("a request was not answered", extra={"facts": facts})
            response = _refusal(error)
        except Exception:  # a defect of ours: whoever waits must learn that nothing more comes
            log.exception("a request failed", extra={"facts": {"request": request_id}})
            response = _refusal(
                ProcessError(
                    "server-failed",
                    "the server met an error of its own in this request",
                    remedy="Report it with the log of the server.",
                )
            )
        response.headers.update(own_headers(self._tasks.service, request_id))
        await response(scope, receive, send)

    async def _response(self, scope: Scope, receive: Receive) -> Response:
        check_method(scope["method"], self._method)
        holder = holder_of(self._tasks.service.doorkeeper, scope)
        return JSONResponse(await self._answer(Request(scope, receive), holder))


def _refusal(error: PieError) -> Response:
    return JSONResponse(told(error), status_of(error), headers_of(error))
