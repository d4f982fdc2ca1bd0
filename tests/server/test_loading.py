"""A server that listens while its models are loaded: what it answers before one is ready, and when one cannot be."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpcore2
import pytest
import pytest_asyncio
from tests.server.held_file import HeldModel
from tests.server.running import pack
from tests.server.surfaces.client import CHAT, Reply, address, chat_body, post
from tests.server.surfaces.test_openapi import check_reply
from tests.server.tasks.client import body_of, cancel, ended, show

from pie.config import ModelSettings, Route, Settings, embedded_model
from pie.errors import ModelError, PieError
from pie.host.served_models import ServedModels
from pie.process.store import ProgramStore
from pie.runtime import Runtime
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings
from pie.server.tasks.request import read_task
from pie.server.users import Holder
from pie.testing import write_random_model
from pie_client import Client, Event

pytestmark = pytest.mark.asyncio(loop_scope="session")

SDK = {"x-sie-sdk-version": "0.4.1"}
MANIFEST = '[package]\nname = "namer"\nversion = "0.1.0"\n'
NAMER = """
from inferlet import Context, Model, Sampler, runtime


async def main(input):
    if "model" not in input:
        Model.default()
        return runtime.models()
    with Context(Model.load(input["model"])) as context:
        return len(await context.user("hi").generate(Sampler.argmax(), max_tokens=2, stop=[]).collect_tokens())
"""


@dataclass(frozen=True, slots=True)
class Loading:
    """A server with the embedded model, beside which another one, `small`, is not loaded before it is released."""

    server: Server
    runtime: Runtime
    small: HeldModel

    async def release(self) -> None:
        """Let it be loaded, and wait for that."""
        await asyncio.to_thread(self.small.release)
        await self.runtime.models.settled()


def our_threads() -> set[threading.Thread]:
    """Those that load and compute, of all runtimes of this process."""
    return {thread for thread in threading.enumerate() if thread.name in ("pie-loader", "pie-device")}


@asynccontextmanager
async def serving(settings: Settings, home: Path) -> AsyncIterator[tuple[Server, Runtime]]:
    options = ServerSettings(port=0, authentication=False, routes=(Route("/answers", "answering"),), grace_s=0)
    before = our_threads()
    async with Runtime(settings, in_background=True) as runtime:
        with listen(options) as listening:
            async with serve(runtime, options, listening, home=home) as server:
                yield server, runtime
    assert our_threads() == before


def settings(home: Path, cache: Path, *more: ModelSettings) -> Settings:
    return Settings(home, cache, embedded_model(), kv_pages=64, more_models=more)


@pytest_asyncio.fixture(loop_scope="session")
async def loading(tmp_path: Path, cache_dir: Path) -> AsyncIterator[Loading]:
    small = HeldModel(write_random_model(tmp_path / "small", seed=3))
    chosen = settings(tmp_path / "home", cache_dir, ModelSettings(small.folder, kv_pages=128))
    async with serving(chosen, tmp_path / "home") as (server, runtime):
        try:
            await runtime.models.when_ready("embedded_model")
            yield Loading(server, runtime, small)
        finally:
            await asyncio.to_thread(small.release)


async def get(server: Server, path: str) -> tuple[int, str]:
    reply = await post(server, path, b"", method="GET")
    return reply.status, reply.content.decode()


async def ask(server: Server, path: str, body: dict[str, Any], headers: dict[str, str]) -> Reply:
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    async with httpcore2.AsyncConnectionPool() as pool:
        content = json.dumps(body).encode()
        response = await pool.request("POST", address(server, path), content=content, headers=fields)
    told = {name.decode(): value.decode() for name, value in response.headers}
    return Reply(response.status, told, response.content)


async def test_a_server_answers_for_the_models_that_are_ready(loading: Loading) -> None:
    server = loading.server
    assert await get(server, "/healthz") == (200, "ok\n")
    assert await get(server, "/readyz") == (503, "not ready: model small is loading\n")
    answer = await post(server, CHAT, chat_body("embedded_model", temperature=0))
    assert answer.status == 200
    assert "Oslo" in answer.body["choices"][0]["message"]["content"]
    await loading.release()
    assert await get(server, "/readyz") == (200, "ready\n")
    assert (await post(server, CHAT, chat_body("small"))).status == 200


BODIES: dict[str, dict[str, Any]] = {
    CHAT: chat_body("small"),
    "/v1/completions": {"model": "small", "prompt": "a"},
    "/v1/responses": {"model": "small", "input": "a", "max_output_tokens": 3},
    "/v1/embeddings": {"model": "small", "input": "a"},
    "/v1/generate/small": {"prompt": "a", "max_new_tokens": 2},
    "/v1/inference/chat": {"baseModel": "small", "messages": [{"role": "user", "content": "a"}], "maxTokens": 3},
}


async def test_a_model_that_is_being_loaded_is_told_in_the_words_of_each_client(loading: Loading) -> None:
    server = loading.server
    for path, body in BODIES.items():
        reply = await post(server, path, body)
        assert reply.error == (503, "MODEL_LOADING", None)
        assert (reply.headers["retry-after"], reply.headers["x-sie-error-code"]) == ("5", "MODEL_LOADING")
        check_reply(path.replace("/small", "/{model}"), reply)
        reply = await ask(server, path, body, SDK)
        assert reply.status == 202
        check_reply(path.replace("/small", "/{model}"), reply)
        assert reply.headers["retry-after"] == "5"
        assert "x-sie-error-code" not in reply.headers
        assert "x-sie-request-id" in reply.headers
        assert reply.body == {
            "status": "provisioning",
            "gpu": "cpu",
            "bundle": "default",
            "estimated_wait_s": 5,
            "message": "model 'small' is being loaded. Try again soon.",
        }
    assert (await ask(server, CHAT, BODIES[CHAT], {"x-sie-sdk-version": "1" * 65})).status == 503
    task = {"model_id": "small", "messages": [{"role": "user", "content": "a"}]}
    assert (await post(server, "/inference/chat", task)).error == (503, "MODEL_LOADING", None)
    names = [entry["id"] for entry in (await post(server, "/v1/models", b"", method="GET")).body["data"]]
    assert names == ["embedded_model", "small"]
    assert (await get(server, "/v1/models/small"))[0] == 200
    await loading.release()
    for path, body in BODIES.items():
        assert (await ask(server, path, body, SDK)).status == 200


async def test_a_program_of_a_session_begins_when_all_models_are_loaded(loading: Loading, tmp_path: Path) -> None:
    async with Client(loading.server.url) as client:
        await client.authenticate("me")
        await client.install_program(pack(tmp_path / "namer", NAMER), MANIFEST)
        names = await client.launch_process("namer")
        tokens = await client.launch_process("namer", {"model": "small"})
        assert {one.id for one in await client.list_processes()} == {names.process_id, tokens.process_id}
        ended = await client.launch_process("namer")
        await ended.terminate()
        assert (await ended.recv()).kind == "error"
        assert loading.runtime.model.scheduler.ledger().held == 0
        await loading.release()
        assert await names.recv() == Event("return", '["embedded_model", "small"]')
        assert await tokens.recv() == Event("return", "2")


async def test_a_program_at_a_route_answers_when_all_models_are_loaded(
    loading: Loading, tmp_path: Path, answering_wasm: Path
) -> None:
    manifest = '[package]\nname = "answering"\nversion = "0.1.0"\n'
    ProgramStore(tmp_path / "home" / "programs").install(answering_wasm.read_bytes(), manifest, replace=True)
    asking = asyncio.create_task(get(loading.server, "/answers"))
    async with asyncio.timeout(100):
        while not loading.server.service.processes.num_answering:
            await asyncio.sleep(0.001)
    assert not asking.done()
    await loading.release()
    assert (await asking)[0] == 200


async def left_behind(loading: Loading, model: str) -> str:
    """The id of a task for a model that is not ready, as an earlier server has taken it."""
    ready = ServedModels.ready({model: loading.runtime.models["embedded_model"]})
    record = read_task(json.dumps(body_of(model, max_tokens=3)).encode(), ready, owner="local")
    await loading.server.tasks.submit(record, Holder("local"))
    return record.task_id


async def test_a_task_of_an_earlier_server_waits_for_its_model(loading: Loading) -> None:
    task_id, canceled = await left_behind(loading, "small"), await left_behind(loading, "small")
    await cancel(loading.server, canceled)
    assert (await ended(loading.server, canceled))["status"] == "CANCELED"
    assert (await show(loading.server, task_id)).body["status"] in ("QUEUED", "RUNNING")
    await loading.release()
    assert (await ended(loading.server, task_id))["status"] == "COMPLETED"


async def test_a_task_of_an_earlier_server_whose_model_is_not_served_any_more_fails(loading: Loading) -> None:
    task_id = await left_behind(loading, "other")
    assert (await ended(loading.server, task_id))["error"]["code"] == "model_not_served"


async def test_leaving_a_runtime_gives_up_what_is_being_loaded(tmp_path: Path, cache_dir: Path) -> None:
    small = HeldModel(write_random_model(tmp_path / "small", seed=3))
    chosen = settings(tmp_path / "home", cache_dir, ModelSettings(small.folder, kv_pages=128))
    before = our_threads()
    runtime = Runtime(chosen, in_background=True)
    async with runtime:
        await asyncio.to_thread(small.wait_for_reader)
        releasing = threading.Timer(0.2, small.release)
        releasing.start()
    releasing.join()
    assert runtime.models.loading == ("small",)
    assert our_threads() == before


def empty(folder: Path) -> ModelSettings:
    folder.mkdir()
    return ModelSettings(folder, name="other")


def damaged(folder: Path) -> ModelSettings:
    path = write_random_model(folder) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    return ModelSettings(folder, name="other")


def too_large(folder: Path) -> ModelSettings:
    return ModelSettings(write_random_model(folder), name="other", kv_pages=1 << 40)


BROKEN = {
    "model-not-found": (empty, "NOT_FOUND", True),
    "bad-weights": (damaged, "UNKNOWN", True),
    "not-enough-memory": (too_large, "OOM", False),
}


@pytest.mark.parametrize("code", BROKEN)
async def test_a_model_that_cannot_be_loaded_does_not_hold_up_the_others(
    tmp_path: Path, cache_dir: Path, code: str
) -> None:
    make, kind, permanent = BROKEN[code]
    async with serving(settings(tmp_path, cache_dir, make(tmp_path / "other")), tmp_path) as (server, runtime):
        await runtime.loaded()
        assert await get(server, "/readyz") == (200, "ready\n")
        reply = await ask(server, CHAT, chat_body("other"), SDK)
        assert reply.status == 502
        check_reply(CHAT, reply)
        assert "retry-after" not in reply.headers
        assert reply.headers["x-sie-error-code"] == "MODEL_LOAD_FAILED"
        error = reply.body["error"]
        assert error.pop("message").startswith(f"model 'other' could not be loaded: {code}: ")
        assert error == {
            "type": "server_error",
            "param": None,
            "code": "MODEL_LOAD_FAILED",
            "error_class": kind,
            "permanent": permanent,
            "attempts": 1,
        }
        assert (await get(server, "/v1/models/other"))[0] == 502
        listed = (await post(server, "/v1/models", b"", method="GET")).body["data"]
        assert [entry["id"] for entry in listed] == ["embedded_model"]
        assert (await post(server, CHAT, chat_body("embedded_model"))).status == 200
        async with Client(server.url) as client:
            await client.authenticate("me")
            await client.install_program(pack(tmp_path / "namer", NAMER), MANIFEST)
            process = await client.launch_process("namer", {"model": "other"})
            with pytest.raises(Exception, match=f"model-load-failed: .*{code}"):
                await process.result()


async def test_a_program_does_not_get_another_model_than_the_default_one(tmp_path: Path, cache_dir: Path) -> None:
    more = (ModelSettings(embedded_model(), kv_pages=64),)
    chosen = Settings(tmp_path, cache_dir, damaged(tmp_path / "first").path, more_models=more)
    async with serving(chosen, tmp_path) as (server, runtime):
        await runtime.loaded()
        async with Client(server.url) as client:
            await client.authenticate("me")
            await client.install_program(pack(tmp_path / "namer", NAMER), MANIFEST)
            process = await client.launch_process("namer")
            with pytest.raises(Exception, match="model-load-failed: model 'first'"):
                await process.result()
        assert (await post(server, "/v1/inference/chat", {"messages": []})).status == 502


async def test_a_server_without_any_model_tells_why(tmp_path: Path, cache_dir: Path) -> None:
    chosen = Settings(tmp_path, cache_dir, damaged(tmp_path / "first").path, more_models=(empty(tmp_path / "other"),))
    async with serving(chosen, tmp_path) as (server, runtime):
        with pytest.raises(ModelError) as told:
            await runtime.loaded()
        assert told.value.code == "bad-weights"
        assert (await post(server, CHAT, chat_body("first"))).status == 502
        assert await get(server, "/readyz") == (503, "not ready: no model could be loaded\n")


async def test_a_runtime_that_loads_at_once_tells_what_cannot_be_loaded(tmp_path: Path, cache_dir: Path) -> None:
    before = our_threads()
    with pytest.raises(PieError) as told:
        async with Runtime(settings(tmp_path, cache_dir, too_large(tmp_path / "other"))):
            raise AssertionError("it started")
    assert told.value.code == "not-enough-memory"
    assert our_threads() == before
