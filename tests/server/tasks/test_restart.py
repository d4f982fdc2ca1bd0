"""What is left of tasks when the server stops, or is killed."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.server.server_process import started
from tests.server.surfaces.client import post
from tests.server.tasks.client import (
    CHAT,
    LONG,
    Remote,
    body_of,
    ended,
    send,
    send_long,
    serving,
    show,
    stream,
    text_of,
)
from websockets.asyncio.client import connect

from pie.runtime import Runtime
from pie.server.tasks.settings import TaskSettings

pytestmark = pytest.mark.asyncio(loop_scope="session")

ONE = TaskSettings(max_running=1)


async def test_a_restart_keeps_results_marks_what_ran_and_runs_what_waits(runtime: Runtime, tmp_path: Path) -> None:
    async with serving(runtime, tmp_path, ONE) as server:
        done = await ended(server, await send(server))
        running = await send_long(server)
        waiting = [await send(server, f"Task {index}", max_tokens=2) for index in range(3)]
        reading = asyncio.create_task(stream(server, waiting[2]))
        async with connect(f"{server.url}/inference/{running}/stream") as websocket:
            text = json.loads(await websocket.recv())["data"]["text"]
            await server.drain()
            events = [json.loads(message) async for message in websocket]
        assert {event["type"] for event in events[:-1]} <= {"TOKEN"}
        assert events[-1]["type"] == "ERROR"
        told = (await show(server, running)).body
        assert (told["status"], told["error"]["code"]) == ("INTERRUPTED", "shutting_down")
        assert (await post(server, CHAT, body_of(runtime.model.name))).error == (503, "shutting_down", None)
        assert [(await show(server, task_id)).body["status"] for task_id in waiting] == ["QUEUED"] * 3
    assert await reading == ([], 1012)
    async with serving(runtime, tmp_path, ONE) as server:
        assert (await show(server, done["task_id"])).body == done
        replayed, _ = await stream(server, running)
        assert text_of(replayed) == text + text_of(events)
        ends = [await ended(server, task_id) for task_id in waiting]
        assert [end["status"] for end in ends] == ["COMPLETED"] * 3
        times = [end["completed_at"] for end in ends]
        assert times == sorted(times)


async def test_a_running_task_may_end_while_the_server_stops(runtime: Runtime, tmp_path: Path) -> None:
    async with serving(runtime, tmp_path, ONE, grace_s=60) as server:
        running = await send(server, LONG)
        async with connect(f"{server.url}/inference/{running}/stream") as websocket:
            await websocket.recv()
            await server.drain()
        assert (await show(server, running)).body["status"] == "COMPLETED"


async def test_a_server_that_is_left_at_once_interrupts_what_runs(runtime: Runtime, tmp_path: Path) -> None:
    async with serving(runtime, tmp_path, ONE) as server:
        running = await send_long(server)
        async with connect(f"{server.url}/inference/{running}/stream") as websocket:
            await websocket.recv()
    async with serving(runtime, tmp_path, ONE) as server:
        assert (await show(server, running)).body["status"] == "INTERRUPTED"


async def test_two_servers_do_not_share_tasks(runtime: Runtime, tmp_path: Path) -> None:
    async with serving(runtime, tmp_path) as server:
        task_id = await send(server)
        async with serving(runtime, tmp_path) as other:
            assert (await post(other, CHAT, body_of(runtime.model.name))).error == (503, "tasks_in_use", None)
        await ended(server, task_id)


async def test_a_damaged_table_is_told(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "tasks.sqlite3").write_bytes(b"nothing" * 1000)
    async with serving(runtime, tmp_path) as server:
        assert (await post(server, CHAT, body_of(runtime.model.name))).error == (500, "tasks_unusable", None)


async def test_a_table_that_cannot_be_written_is_told(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "tasks.sqlite3").mkdir()
    async with serving(runtime, tmp_path) as server:
        assert (await post(server, CHAT, body_of(runtime.model.name))).error == (503, "tasks_not_stored", None)


async def test_a_table_of_an_older_version_is_used(runtime: Runtime, tmp_path: Path) -> None:
    async with serving(runtime, tmp_path) as server:
        before = await ended(server, await send(server))
    with closing(sqlite3.connect(tmp_path / "tasks.sqlite3")) as connection:
        connection.execute("alter table tasks drop column error_trace")
        connection.execute("pragma user_version = 1")
        connection.commit()
    for _ in range(2):
        async with serving(runtime, tmp_path) as server:
            assert (await show(server, before["task_id"])).body == before
            assert (await ended(server, await send(server, "word " * 9000)))["status"] == "FAILED"


async def test_a_table_of_a_newer_version_is_left_alone(runtime: Runtime, tmp_path: Path) -> None:
    file = tmp_path / "tasks.sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("pragma user_version = 1000")
        connection.commit()
    before = file.read_bytes()
    async with serving(runtime, tmp_path) as server:
        assert (await post(server, CHAT, body_of(runtime.model.name))).error == (500, "tasks_unusable", None)
    assert file.read_bytes() == before


async def test_a_killed_server_has_kept_all_that_it_told(tmp_path: Path, cache_dir: Path) -> None:
    with started(tmp_path / "home", cache_dir, PIE_TASKS_MAX_RUNNING="2") as process:
        remote: Any = Remote(process.url)
        sent = [await post(remote, CHAT, body_of("embedded_model", LONG, seed=seed)) for seed in range(12)]
        ids = [reply.body["task_id"] for reply in sent]
        await ended(remote, ids[0])
        told = {task_id: (await show(remote, task_id)).body for task_id in ids}
        process.process.kill()
        process.process.wait()
    with started(tmp_path / "home", cache_dir, PIE_TASKS_PORT="0") as process:
        assert process.process.stdout is not None
        second = re.fullmatch(r"Tasks at http(://\S+)\n", process.process.stdout.readline())
        assert second is not None
        remote = Remote(f"ws{second[1]}")
        ends = {task_id: await ended(remote, task_id) for task_id in told}
    with closing(sqlite3.connect(tmp_path / "home" / "tasks.sqlite3")) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    assert all(ends[task_id] == before for task_id, before in told.items() if before["status"] == "COMPLETED")
    assert {end["status"] for end in ends.values()} <= {"COMPLETED", "INTERRUPTED"}
    assert sum(end["status"] == "INTERRUPTED" for end in ends.values()) <= 2


async def test_an_operator_lets_clients_see_tracebacks(tmp_path: Path, cache_dir: Path) -> None:
    with started(tmp_path / "home", cache_dir, "--debug") as process:
        remote: Any = Remote(process.url)
        reply = await post(remote, CHAT, body_of("embedded_model", "word " * 9000))
        ((event,), _) = await stream(remote, reply.body["task_id"])
    assert event["data"]["trace"].startswith("Traceback ")
