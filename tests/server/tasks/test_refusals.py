"""What tasks are refused for, with which status, code and param; nothing is kept of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.server.surfaces.client import post
from tests.server.tasks.client import CHAT, body_of, cancel, send, send_long, serving, show
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from pie.runtime import Runtime
from pie.server.listening import listen_at
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings
from pie.server.tasks.settings import TaskSettings
from pie.server.users import token_hash

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def model(server: Server) -> str:
    return server.service.runtime.model.name


@pytest.mark.parametrize(
    ("parameters", "code", "param"),
    [
        ({"temperature": 2.1}, "bad_value", "parameters.temperature"),
        ({"temperature": -0.1}, "bad_value", "parameters.temperature"),
        ({"max_tokens": 0}, "bad_value", "parameters.max_tokens"),
        ({"top_p": 0}, "bad_value", "parameters.top_p"),
        ({"top_p": 1.1}, "bad_value", "parameters.top_p"),
        ({"top_k": 0}, "bad_value", "parameters.top_k"),
        ({"stop": [""]}, "bad_value", "parameters.stop[0]"),
        ({"seed": 2**63}, "bad_value", "parameters.seed"),
        ({"repetition_penalty": 0}, "bad_value", "parameters.repetition_penalty"),
        ({"logit_bias": {"999999": 1}}, "bad_value", "parameters.logit_bias"),
        ({"beam_width": 3}, "unsupported_field", "parameters.beam_width"),
        ({"stream": True}, "unsupported_field", "parameters.stream"),
    ],
)
async def test_a_parameter_that_does_not_fit_is_named(
    server: Server, model: str, parameters: dict[str, Any], code: str, param: str
) -> None:
    assert (await post(server, CHAT, body_of(model, **parameters))).error == (400, code, param)


@pytest.mark.parametrize(
    ("changes", "status", "code", "param"),
    [
        ({"model_id": None}, 400, "bad_value", "model_id"),
        ({"model_id": "gpt-9"}, 404, "model_not_found", "model_id"),
        ({"messages": []}, 400, "bad_value", "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "bad_value", "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, 400, "bad_value", "messages[0].content"),
        ({"messages": [{"role": "user"}]}, 400, "bad_value", "messages[0].content"),
        ({"tools": []}, 400, "unsupported_field", "tools"),
    ],
)
async def test_a_field_that_does_not_fit_is_named(
    server: Server, model: str, changes: dict[str, Any], status: int, code: str, param: str
) -> None:
    assert (await post(server, CHAT, {**body_of(model), **changes})).error == (status, code, param)


async def test_a_field_that_is_missing_is_named(server: Server, model: str) -> None:
    assert (await post(server, CHAT, {"model_id": model})).error == (400, "bad_value", "messages")
    assert (await post(server, CHAT, {"messages": []})).error == (400, "bad_value", "model_id")


async def test_bodies_and_methods_that_do_not_fit_are_refused(server: Server) -> None:
    assert (await post(server, CHAT, b"{")).error == (400, "bad_json", None)
    assert (await post(server, CHAT, b" " * (2 << 20))).error == (413, "body_too_large", None)
    assert (await post(server, CHAT, b"", method="GET")).error == (405, "method_not_allowed", None)
    assert (await post(server, "/inference/x", b"")).error == (405, "method_not_allowed", None)
    assert (await post(server, "/inference/x/cancel", b"", method="GET")).error == (405, "method_not_allowed", None)


async def test_a_server_with_too_many_tasks_says_when_to_come_again(runtime: Runtime, tmp_path: Path) -> None:
    async with serving(runtime, tmp_path, TaskSettings(max_running=1, max_waiting=2)) as server:
        ids = [await send_long(server) for _ in range(2)]
        reply = await post(server, CHAT, body_of(runtime.model.name))
        assert reply.error == (503, "RESOURCE_EXHAUSTED", None)
        assert reply.headers["retry-after"] == "5"
        for task_id in reversed(ids):
            await cancel(server, task_id)


async def test_a_user_with_too_many_tasks_leaves_room_for_others(runtime: Runtime, tmp_path: Path) -> None:
    users = tmp_path / "authorized_users.toml"
    users.write_text("".join(f'[users.{name}.tokens]\nci = "{token_hash(name)}"\n' for name in ("wilma", "fred")))
    users.chmod(0o600)
    settings, body = TaskSettings(max_running=1, max_waiting_per_user=2), body_of(runtime.model.name)
    async with serving(runtime, tmp_path, settings, authentication=True, max_processes=0) as server:
        ids = [(await post(server, CHAT, body, token="wilma")).body["task_id"] for _ in range(2)]
        for _ in range(3):
            reply = await post(server, CHAT, body, token="wilma")
            assert reply.error == (503, "RESOURCE_EXHAUSTED", None)
            assert "2 tasks of yours" in reply.body["error"]["message"]
            assert reply.headers["retry-after"] == "5"
        assert (await post(server, CHAT, body, token="fred")).status == 200
        await cancel(server, ids[0], "wilma")
        assert (await post(server, CHAT, body, token="wilma")).status == 200
    async with serving(runtime, tmp_path, settings, authentication=True, max_processes=0) as server:
        assert (await post(server, CHAT, body, token="wilma")).status == 503  # what an earlier server has left counts
        assert [(await post(server, CHAT, body, token="fred")).status for _ in range(2)] == [200, 503]


async def test_a_user_without_room_does_not_hold_up_the_queue_for_ever(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(runtime, tmp_path, max_processes=0) as server:
        task_id = await send(server, max_tokens=1)
        await asyncio.sleep(0.3)
        assert (await show(server, task_id)).body["status"] == "QUEUED"
        monkeypatch.setattr(server.service, "settings", ServerSettings())
        async with asyncio.timeout(30):
            while (await show(server, task_id)).body["status"] != "COMPLETED":
                await asyncio.sleep(0.01)


async def test_a_task_is_its_users_alone_and_the_second_port_answers_tasks_alone(
    runtime: Runtime, tmp_path: Path
) -> None:
    users = tmp_path / "authorized_users.toml"
    users.write_text("".join(f'[users.{name}.tokens]\nci = "{token_hash(name)}"\n' for name in ("wilma", "fred")))
    users.chmod(0o600)
    settings = ServerSettings(port=0, grace_s=0)
    with listen(settings) as listening, listen_at("127.0.0.1", 0) as second:
        async with serve(runtime, settings, listening, home=tmp_path, tasks_listening=second) as server:
            alone: Any = type("Second", (), {"url": f"ws://127.0.0.1:{second.getsockname()[1]}"})
            body = body_of(runtime.model.name, max_tokens=1)
            assert (await post(alone, CHAT, body)).error == (401, "token_needed", None)
            task_id = (await post(alone, CHAT, body, token="wilma")).body["task_id"]
            assert (await show(server, task_id)).status == 401
            assert (await show(server, task_id, "fred")).error == (404, "task_not_found", None)
            assert (await cancel(server, task_id, "fred")).error == (404, "task_not_found", None)
            assert (await show(alone, task_id, "wilma")).status == 200
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{alone.url}/inference/{task_id}/stream")
            assert refused.value.response.status_code == 401
            headers = {"authorization": "Bearer fred"}
            async with connect(f"{alone.url}/inference/{task_id}/stream", additional_headers=headers) as websocket:
                await websocket.wait_closed()
            assert websocket.close_code == 4404
            headers = {"authorization": "Bearer wilma"}
            async with connect(f"{alone.url}/inference/{task_id}/stream", additional_headers=headers) as websocket:
                await websocket.wait_closed()
            assert websocket.close_code == 1000
            assert (await post(alone, "/v1/models", b"", method="GET", token="wilma")).status == 404
