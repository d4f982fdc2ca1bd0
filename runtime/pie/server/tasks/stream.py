"""`/inference/{task_id}/stream`: all tokens of a task from the first, then how it ended; a reader may come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.websockets import WebSocket

from pie.errors import PieError
from pie.server.tasks.live import Live
from pie.server.tasks.record import Record
from pie.server.tasks.tasks import Tasks
from pie.server.watching import TRY_AGAIN_LATER, serve_reader

__all__ = ["serve_stream"]

NOT_FOUND = 4404
ENDED = 1000
RESTARTS = 1012
Event = dict[str, Any]


async def serve_stream(websocket: WebSocket, tasks: Tasks) -> None:
    """Serve one reader until all is told or it leaves; the task goes on without it."""
    await serve_reader(websocket, tasks.service, lambda owner: _tell(websocket, tasks, owner))


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
