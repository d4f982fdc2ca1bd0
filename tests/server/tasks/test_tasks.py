"""Tasks: sent, run in their order, read by many, canceled, and kept."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.server.tasks.client import LONG, cancel, ended, send, send_long, serving, show, stream, text_of
from websockets.asyncio.client import connect

from pie.process.process import Process
from pie.process.programs import LoadedProgram
from pie.runtime import Client, Runtime
from pie.server.server import Server
from pie.server.tasks.settings import TaskSettings

pytestmark = pytest.mark.asyncio(loop_scope="session")

UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_a_task_is_answered_and_shown(server: Server) -> None:
    task_id = await send(server, temperature=0)
    assert str(uuid.UUID(task_id)) == task_id
    told = await ended(server, task_id)
    assert told["status"] == "COMPLETED"
    assert told["task_id"] == task_id
    assert told["model_id"] == server.service.runtime.model.name
    assert told["prompt"] == [{"role": "user", "content": "What is the capital of Norway?"}]
    assert told["parameters"] == {"max_tokens": 40, "temperature": 0}
    assert "Oslo" in told["result"]["content"]
    assert told["result"]["finish_reason"] == "stop"
    assert told["tokens_per_second"] > 0
    assert UTC.fullmatch(told["created_at"])
    assert UTC.fullmatch(told["completed_at"])
    assert set(told["result"]) == {"content", "finish_reason"}


async def test_what_is_streamed_is_the_result_for_each_reader_early_or_late(server: Server) -> None:
    task_id = await send(server, LONG, seed=3)
    readings = [asyncio.create_task(stream(server, task_id)) for _ in range(3)]
    told = await ended(server, task_id)
    for events, code in [*await asyncio.gather(*readings), await stream(server, task_id)]:
        assert code == 1000
        assert [event["type"] for event in events[:-1]] == ["TOKEN"] * (len(events) - 1)
        assert text_of(events) == told["result"]["content"]
        done = {"result": told["result"], "tokens_per_second": told["tokens_per_second"]}
        assert events[-1] == {"type": "DONE", "data": done}


async def test_a_reader_who_comes_in_the_middle_is_told_all_tokens(server: Server) -> None:
    task_id = await send(server, LONG, seed=3, max_tokens=400, repetition_penalty=1.3)
    async with connect(f"{server.url}/inference/{task_id}/stream") as first:
        assert json.loads(await first.recv())["type"] == "TOKEN"
        events, _ = await stream(server, task_id)  # how many pieces these are depends on how busy the machine is
    assert text_of(events) == (await ended(server, task_id))["result"]["content"]


async def test_a_reader_who_leaves_cancels_nothing(server: Server) -> None:
    task_id = await send(server, LONG, seed=3)
    async with connect(f"{server.url}/inference/{task_id}/stream") as websocket:
        await websocket.recv()
    assert (await ended(server, task_id))["status"] == "COMPLETED"


async def test_an_unknown_task_is_not_found_in_any_way(server: Server) -> None:
    for task_id in (str(uuid.uuid4()), "nothing"):
        assert (await show(server, task_id)).error == (404, "task_not_found", None)
        assert await stream(server, task_id) == ([], 4404)
        assert (await cancel(server, task_id)).error == (404, "task_not_found", None)


async def test_a_running_task_is_canceled_and_what_has_ended_stays(runtime: Runtime, server: Server) -> None:
    task_id = await send_long(server)
    async with connect(f"{server.url}/inference/{task_id}/stream") as websocket:
        assert json.loads(await websocket.recv())["type"] == "TOKEN"
        for _ in range(2):
            body = {"status": "cancel_requested", "task_id": task_id}
            assert (await cancel(server, task_id)).body == body
    told = await ended(server, task_id)
    assert told["status"] == "CANCELED"
    assert "result" not in told
    events, code = await stream(server, task_id)
    assert (events[-1], code) == ({"type": "CANCELED"}, 1000)
    assert runtime.num_processes == 0
    done = await send(server, max_tokens=1)
    before = await ended(server, done)
    assert (await cancel(server, done)).status == 200
    assert (await show(server, done)).body == before


async def test_a_canceled_task_that_waits_never_runs(runtime: Runtime, tmp_path: Path) -> None:
    async with serving(runtime, tmp_path, TaskSettings(max_running=1)) as server:
        first = await send_long(server)
        second = await send(server)
        async with connect(f"{server.url}/inference/{first}/stream") as websocket:
            await websocket.recv()
        launched = runtime.num_launched
        reading = asyncio.create_task(stream(server, second))
        await cancel(server, second)
        assert (await show(server, second)).body["status"] == "CANCELED"
        assert await reading == ([{"type": "CANCELED"}], 1000)
        await cancel(server, first)
        assert (await ended(server, first))["status"] == "CANCELED"
        assert runtime.num_launched == launched


async def test_tasks_run_in_their_order_and_so_many_at_a_time(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await order_of(40, runtime, tmp_path, monkeypatch)


@pytest.mark.slow
async def test_a_thousand_tasks_run_in_their_order(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await order_of(1000, runtime, tmp_path, monkeypatch)


async def order_of(num_tasks: int, runtime: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    launch_for = runtime.launch_for

    def watched(client: Client, program: LoadedProgram, input_json: str, **options: Any) -> Process:
        asked.append(json.loads(input_json)["messages"][0]["content"])
        assert runtime.num_processes < 4
        return launch_for(client, program, input_json, **options)

    monkeypatch.setattr(runtime, "launch_for", watched)
    async with serving(runtime, home, TaskSettings(max_running=4)) as server:
        ids = [await send(server, f"Task {index}", max_tokens=1) for index in range(num_tasks)]
        for task_id in ids:
            assert (await ended(server, task_id))["status"] == "COMPLETED"
    assert asked == [f"Task {index}" for index in range(num_tasks)]


async def test_a_stream_with_nothing_to_tell_says_that_it_lives(runtime: Runtime, tmp_path: Path) -> None:
    async with serving(runtime, tmp_path, TaskSettings(max_running=1, ping_s=0.02)) as server:
        first = await send_long(server)
        second = await send(server, max_tokens=2)
        async with connect(f"{server.url}/inference/{second}/stream") as websocket:
            assert json.loads(await websocket.recv()) == {"type": "PING"}
            await cancel(server, first)
        assert (await ended(server, second))["status"] == "COMPLETED"


async def test_only_the_newest_are_kept_and_not_for_ever(runtime: Runtime, tmp_path: Path) -> None:
    async with serving(runtime, tmp_path, TaskSettings(max_kept=2)) as server:
        ids = []
        for _ in range(4):
            ids.append(await send(server, max_tokens=1))
            await ended(server, ids[-1])
        assert [(await show(server, task_id)).status for task_id in ids] == [404, 404, 200, 200]
    async with serving(runtime, tmp_path, TaskSettings(kept_s=0)) as server:
        assert [(await show(server, task_id)).status for task_id in ids] == [404] * 4


async def test_a_task_whose_program_fails_says_why(server: Server) -> None:
    task_id = await send(server, "word " * 9000)
    told = await ended(server, task_id)
    assert (told["status"], told["error"]["code"]) == ("FAILED", "prompt_too_long")
    events, code = await stream(server, task_id)
    assert code == 1000
    assert events == [{"type": "ERROR", "data": {"message": told["error"]["message"]}}]


async def test_the_traceback_of_a_program_is_told_by_a_server_that_shows_them(runtime: Runtime, tmp_path: Path) -> None:
    async with serving(runtime, tmp_path, debug=True) as server:
        traced = await send(server, "word " * 9000)
        early, _ = await stream(server, traced)
        told = await ended(server, traced)
        late, _ = await stream(server, traced)
    assert early == late
    (event,) = late
    assert event["type"] == "ERROR"
    assert event["data"]["message"] == told["error"]["message"]
    assert set(told["error"]) == {"code", "message"}
    trace = event["data"]["trace"]
    assert trace.startswith("Traceback (most recent call last):\n")
    assert 'File "main.py", line ' in trace
    assert "prompt-too-long" in trace.splitlines()[-1]
    async with serving(runtime, tmp_path) as server:
        assert await stream(server, traced) == (
            [{"type": "ERROR", "data": {"message": told["error"]["message"]}}],
            1000,
        )
        plain = await send(server, "word " * 9000)
        await ended(server, plain)
    async with serving(runtime, tmp_path, debug=True) as server:
        assert await stream(server, traced) == (late, 1000)
        (event,), _ = await stream(server, plain)
        assert set(event["data"]) == {"message"}  # nothing was kept to tell


async def test_a_task_that_is_ended_by_its_server_has_no_traceback(runtime: Runtime, tmp_path: Path) -> None:
    async with serving(runtime, tmp_path, debug=True) as server:
        task_id = await send_long(server)
        async with connect(f"{server.url}/inference/{task_id}/stream") as websocket:
            await websocket.recv()
            await server.drain()
            last = [json.loads(message) async for message in websocket][-1]
    assert (last["type"], set(last["data"])) == ("ERROR", {"message"})
