"""Readers who leave at every stage of a task cancel nothing; a task that is canceled makes no more than a step."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.server.surfaces.test_leaving import until
from tests.server.surfaces.test_leaving_counted import all_is_back
from tests.server.surfaces.test_leaving_counted import ended as ended_at
from tests.server.tasks.client import LONG, cancel, ended, send, send_long, serving, show, stream, text_of
from websockets.asyncio.client import connect

from pie.runtime import Runtime
from pie.server.server import Server
from pie.server.tasks.settings import TaskSettings

__all__ = ["ended_at"]

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def read_until(server: Server, task_id: str, text: str | None) -> None:
    """Read a task's stream until it has told so much, or not at all, and drop the connection."""
    async with connect(f"{server.url}/inference/{task_id}/stream") as websocket:
        told = ""
        while text is not None and not told.startswith(text):
            told += json.loads(await websocket.recv())["data"]["text"]
        websocket.transport.abort()


async def test_readers_who_leave_at_any_stage_cancel_nothing(runtime: Runtime, tmp_path: Path) -> None:
    async with serving(runtime, tmp_path, TaskSettings(max_running=1)) as server:
        whole = (await ended(server, await send(server, LONG, seed=3)))["result"]
        first = await send_long(server)
        second = await send(server, LONG, seed=3)
        await asyncio.gather(*(read_until(server, second, None) for _ in range(5)))
        assert (await show(server, second)).body["status"] == "QUEUED"
        middle = whole["content"][: len(whole["content"]) // 2]
        readers = [read_until(server, second, text) for text in (middle[:1], middle, whole["content"])]
        leaving = asyncio.gather(*readers)
        staying = asyncio.create_task(stream(server, second))
        await cancel(server, first)
        events, code = await staying
        await leaving
        assert (text_of(events), code) == (whole["content"], 1000)
        assert (await ended(server, second))["result"] == whole
        for text in (None, whole["content"]):  # after its end
            await read_until(server, second, text)
        await until(lambda: server.service.num_sessions == 0)
        assert runtime.num_processes == 0


@pytest.mark.parametrize("stage", ["launched", "prefill", "text"])
async def test_a_step_after_it_is_canceled_all_is_back(
    server: Server, runtime: Runtime, ended_at: list[int], stage: str
) -> None:
    stats, launched = runtime.model.scheduler.stats(), runtime.num_launched
    computed = stats.computed_tokens
    task_id = await send_long(server)
    async with connect(f"{server.url}/inference/{task_id}/stream") as websocket:
        match stage:
            case "launched":
                await until(lambda: runtime.num_launched > launched)
            case "prefill":
                await until(lambda: stats.computed_tokens > computed)
            case "text":
                await websocket.recv()
        await cancel(server, task_id)
        assert await all_is_back(server, runtime) <= ended_at[0] + 1
    assert (await ended(server, task_id))["status"] == "CANCELED"
