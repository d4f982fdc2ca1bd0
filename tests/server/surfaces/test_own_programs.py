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

TELLING = """
from inferlet import session

async def main(input):
    case = input["messages"][0]["content"]
    told = [{"token": 40, "logprob": -0.5, "top": [[40, -0.5], [41, -2.0]]}, {"token": 41, "logprob": -2.0}]
    if input["stream"]:
        session.send(case if case.startswith("{") else {"logprobs": told[:1]})
        print("one ", end="", flush=True)
    unknown = [{"token": 2**31, "logprob": -1.0}] if case == "unknown" else []
    choice = {"text": "one two", "finish_reason": "stop", "logprobs": [*told, *unknown]}
    return {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
"""

CALLING = """
import json

from inferlet import session

async def main(input):
    case = json.loads(input["messages"][0]["content"])
    calls = [{"name": "f", "arguments": '{"a": 1}'}, {"name": "g", "arguments": "{}"}]
    text = "Now"
    for one in case:
        text += one if isinstance(one, str) else one.get("untold", "") if isinstance(one, dict) else ""
    if input["stream"]:
        print("Now", end="", flush=True)
        for one in case:
            if isinstance(one, str):
                print(one, end="", flush=True)
            elif "untold" not in one:
                session.send({"tool_calls": one} if isinstance(one, list) else one)
    choice = {"text": text, "finish_reason": "tool_calls", "tool_calls": calls}
    return {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
"""


@pytest_asyncio.fixture(loop_scope="session")
async def own(runtime: Runtime, tmp_path: Path) -> AsyncIterator[Server]:
    store = ProgramStore(tmp_path / "programs")
    for name, text in {"shouting": SHOUTING, "broken": BROKEN, "telling": TELLING, "calling": CALLING}.items():
        manifest = f'[package]\nname = "{name}"\nversion = "0.1.0"\n'
        store.install(pack(tmp_path / name, text), manifest, replace=True)
    names = ("shouting", "broken", "telling", "calling", "absent")
    routes = tuple(Route(f"/{name}/chat", name, "chat-completions") for name in names)
    routes += tuple(Route(f"/{name}/responses", name, "responses") for name in ("broken", "calling"))
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


async def test_what_a_program_tells_of_its_tokens_is_sent_before_or_after_their_text(own: Server) -> None:
    body = chat_body(own.service.runtime.model.name, "go", logprobs=True, top_logprobs=1)
    (choice,) = (await post(own, "/telling/chat", body)).body["choices"]
    content = choice["logprobs"]["content"]
    assert [one["logprob"] for one in content] == [-0.5, -2.0]
    assert [len(one["top_logprobs"]) for one in content] == [1, 0]
    first, *others = [
        choice["logprobs"]["content"]
        for chunk in await events(own, "/telling/chat", body)
        for choice in chunk["choices"]
        if choice["logprobs"]
    ]
    assert [first, *others] == [content[:1], content[1:]]
    del body["logprobs"], body["top_logprobs"]
    assert (await post(own, "/telling/chat", body)).body["choices"][0]["logprobs"] is None
    assert all(chunk["choices"][0]["logprobs"] is None for chunk in await events(own, "/telling/chat", body))


async def test_a_message_that_tells_something_else_ends_the_stream(own: Server) -> None:
    body = chat_body(own.service.runtime.model.name, '{"logprobs": [{"token": -1, "logprob": 0}]}', logprobs=True)
    reply = await post(own, "/telling/chat", {**body, "stream": True})
    assert b"bad_answer" in reply.content
    body["messages"][0]["content"] = "unknown"
    (choice,) = (await post(own, "/telling/chat", body)).body["choices"]
    assert choice["logprobs"]["content"][2] == {"token": "\ufffd", "bytes": None, "logprob": -1.0, "top_logprobs": []}
