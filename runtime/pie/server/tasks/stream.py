"""`/inference/{task_id}/stream`: all tokens of a task from the first, then how it ended; a reader may come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from pie.errors import PieError
from pie.server.owner import owner_of
from pie.server.surfaces.headers import new_request_id, own_headers
from pie.server.surfaces.refusal import headers_of, status_of, told
from pie.server.tasks.live import Live
from pie.server.tasks.record import Record
from pie.server.tasks.tasks import Tasks

__all__ = ["serve_stream"]

NOT_FOUND = 4404
ENDED = 1000
RESTARTS = 1012
TRY_AGAIN_LATER = 1013
Event = dict[str, Any]


async def serve_stream(websocket: WebSocket, tasks: Tasks) -> None:
    """Serve one reader until all is told or it leaves; the task goes on without it."""
    service = tasks.service
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
        await _until_it_leaves(websocket, tasks, owner)
    finally:
        service.num_sessions -= 1


async def _until_it_leaves(websocket: WebSocket, tasks: Tasks, owner: str) -> None:
    loop = asyncio.get_running_loop()
    telling = loop.create_task(_tell(websocket, tasks, owner))
    leaving = loop.create_task(_leaves(websocket))
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


async def _tell(websocket: WebSocket, tasks: Tasks, owner: str) -> None:
    task_id = websocket.path_params["task_id"]
    found: Live | Record | None = tasks.live(task_id, owner=owner)
    try:
        found = found or await tasks.find(task_id, owner=owner)
    except PieError as error:
        await websocket.close(NOT_FOUND if error.code == "task-not-found" else TRY_AGAIN_LATER, error.code)
        return
    is_whole = False
    debug, ping_s = tasks.service.settings.debug, tasks.settings.ping_s
    events = _of_record(found, debug=debug) if isinstance(found, Record) else _of_live(found, ping_s, debug=debug)
    async for event in events:
        await websocket.send_json(event)
        is_whole = event["type"] in ("DONE", "ERROR", "CANCELED")
    await websocket.close(ENDED if is_whole else RESTARTS)


async def _of_record(record: Record, *, debug: bool) -> AsyncIterator[Event]:
    """The events of a task that has ended: its text in one piece."""
    if record.end is None:
        return
    if record.end.text:
        yield _token(record.end.text)
    yield record.end.event(with_trace=debug)


async def _of_live(live: Live, ping_s: float, *, debug: bool) -> AsyncIterator[Event]:
    """The events of a task from its beginning; there is no last one if the server stops before it ends."""
    num_told = 0
    while True:
        news = live.news
        while num_told < len(live.texts):
            num_told += 1
            yield _token(live.texts[num_told - 1])
        if live.end is not None:
            yield live.end.event(with_trace=debug)
            return
        if live.is_left:
            return
        try:
            async with asyncio.timeout(ping_s):
                await news.wait()
        except TimeoutError:
            yield {"type": "PING"}


def _token(text: str) -> Event:
    return {"type": "TOKEN", "data": {"text": text}}
