"""Installed programs served in OpenAI's form at paths of the operator."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.conftest import INFERLETS
from tests.server.running import pack
from tests.server.surfaces.client import chat_body, events, joined, opened, post

from pie.config import Route
from pie.process.store import ProgramStore
from pie.runtime import Runtime
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHOUTING = (
    (INFERLETS / "chat-completions/python/main.py")
    .read_text()
    .replace('choice = {"text": text,', 'choice = {"text": text.upper(),')
    .replace('echo=input.get("stream", False)', "echo=False")
)
BROKEN = """
async def main(input):
    print("Once upon", flush=True)
    if input["messages"][0]["content"] == "fail":
        raise ValueError("no more")
    return {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
"""


@pytest_asyncio.fixture(loop_scope="session")
async def own(runtime: Runtime, tmp_path: Path) -> AsyncIterator[Server]:
    store = ProgramStore(tmp_path / "programs")
    for name, text in {"shouting": SHOUTING, "broken": BROKEN}.items():
        manifest = f'[package]\nname = "{name}"\nversion = "0.1.0"\n'
        store.install(pack(tmp_path / name, text), manifest, replace=True)
    names = ("shouting", "broken", "absent")
    routes = tuple(Route(f"/{name}/chat", name, "chat-completions") for name in names)
    settings = ServerSettings(port=0, authentication=False, routes=routes, grace_s=0)
    with listen(settings) as listening:
        async with serve(runtime, settings, listening, home=tmp_path) as server:
            yield server


async def test_a_changed_copy_answers_at_a_path_of_its_own(own: Server) -> None:
    body = chat_body(own.service.runtime.model.name, temperature=0)
    (choice,) = (await post(own, "/shouting/chat", body)).body["choices"]
    assert "OSLO" in choice["message"]["content"]
    assert joined(await events(own, "/shouting/chat", body)) == choice["message"]["content"]
    assert "Oslo" in (await post(own, "/v1/chat/completions", body)).body["choices"][0]["message"]["content"]


async def test_a_program_that_fails_or_answers_something_else_is_told(own: Server) -> None:
    body = chat_body(own.service.runtime.model.name)
    assert (await post(own, "/absent/chat", body)).error == (503, "program_not_found", None)
    assert (await post(own, "/broken/chat", body)).error == (500, "bad_answer", None)
    body["messages"][0]["content"] = "fail"
    assert (await post(own, "/broken/chat", body)).error == (500, "program_failed", None)


@pytest.mark.parametrize("text", ["fail", "go on"])
async def test_a_stream_that_has_begun_ends_with_the_error(own: Server, text: str) -> None:
    async with opened(own, "/broken/chat", chat_body(own.service.runtime.model.name, text)) as stream:
        told = [json.loads(data) async for data in stream]
    assert joined(told[:-1]) == "Once upon\n"
    assert told[-1]["error"]["code"] == ("program_failed" if text == "fail" else "bad_answer")
    assert told[-1]["error"]["type"] == "server_error"
