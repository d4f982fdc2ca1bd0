"""What the surfaces refuse, with which status, code and param; nothing is launched for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from tests.server.surfaces.client import CHAT, chat_body, post

from pie.errors import ProcessError
from pie.process.process import Process
from pie.process.programs import LoadedProgram
from pie.runtime import Client, Runtime
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings
from pie.server.surfaces.body import read_body
from pie.server.surfaces.refusal import Refusal
from pie.server.users import token_hash

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOOL = {"type": "function", "function": {"name": "f"}}
USER = {"role": "user", "content": "Hi"}


@pytest.fixture
def model(server: Server) -> str:
    return server.service.runtime.model.name


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"audio": {}}, "unsupported_field", "audio"),
        ({"stop": [""]}, "bad_value", "stop[0]"),
        ({"stop": ["a"] * 65}, "bad_value", "stop"),
        ({"presence_penalty": 2.5}, "bad_value", "presence_penalty"),
        ({"repetition_penalty": 0}, "bad_value", "repetition_penalty"),
        ({"logit_bias": {"1": 101}}, "bad_value", "logit_bias[...]"),
        ({"logit_bias": {"x": 1}}, "bad_value", "logit_bias"),
        ({"logit_bias": {"999999": 1}}, "bad_value", "logit_bias"),
        ({"best_of": 2, "n": 3}, "bad_value", "best_of"),
        ({"best_of": 2, "stream": True}, "bad_value", "best_of"),
        ({"stream_options": {"x": 1}, "stream": True}, "unsupported_field", "stream_options.x"),
        ({"logprobs": False, "top_logprobs": 2}, "bad_value", "top_logprobs"),
        ({"top_logprobs": 21}, "bad_value", "top_logprobs"),
        ({"stream": True, "n": 2}, "bad_value", "n"),
        ({"stream_options": {"include_usage": True}}, "bad_value", "stream_options"),
        ({"n": 0}, "bad_value", "n"),
        ({"n": 129}, "bad_value", "n"),
        ({"temperature": 2.1}, "bad_value", "temperature"),
        ({"temperature": "hot"}, "bad_value", "temperature"),
        ({"top_p": 0}, "bad_value", "top_p"),
        ({"top_k": 0}, "bad_value", "top_k"),
        ({"max_tokens": 0}, "bad_value", "max_tokens"),
        ({"max_completion_tokens": -1}, "bad_value", "max_completion_tokens"),
        ({"seed": 2**63}, "bad_value", "seed"),
        ({"frequency_penalty": -3}, "bad_value", "frequency_penalty"),
        ({"lora_adapter": ""}, "bad_value", "lora_adapter"),
        ({"messages": []}, "bad_value", "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "bad_value", "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "bad_value", "messages[0].content"),
        ({"messages": [{"role": "assistant"}]}, "bad_value", "messages[0].content"),
        ({"messages": [USER, {"role": "tool", "content": "x"}]}, "bad_value", "messages[1].tool_call_id"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "unsupported_field",
            "messages[0].content[0].image_url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "unsupported_field",
            "messages[0].content[0].type",
        ),
        ({"tool_choice": "required"}, "bad_value", "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "bad_value", "tool_choice"),
        ({"tools": [TOOL, TOOL]}, "bad_value", "tools"),
        ({"response_format": {"type": "json_schema"}}, "bad_value", "response_format.json_schema"),
        ({"response_format": {"type": "xml"}}, "bad_value", "response_format.type"),
    ],
)
async def test_a_field_that_does_not_fit_is_named(
    server: Server, model: str, fields: dict[str, Any], code: str, param: str
) -> None:
    launched = server.service.runtime.num_launched
    reply = await post(server, CHAT, {**chat_body(model), **fields})
    assert reply.error == (400, code, param)
    assert server.service.runtime.num_launched == launched


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"model": "\xff"}', b'{"model": NaN}', b"nothing"])
async def test_what_is_no_json_is_refused(server: Server, body: bytes) -> None:
    status, code, _ = (await post(server, CHAT, body)).error
    assert (status, code) in [(400, "bad_json"), (400, "bad_value")]


async def test_a_body_that_is_no_object_or_lacks_a_field_is_refused(server: Server, model: str) -> None:
    assert (await post(server, CHAT, b"[]")).error == (400, "bad_value", "body")
    assert (await post(server, CHAT, {"model": model})).error == (400, "bad_value", "messages")


async def test_a_model_that_is_not_served_is_404(server: Server) -> None:
    assert (await post(server, CHAT, chat_body("gpt-9"))).error == (404, "model_not_found", "model")


async def test_only_posts_are_answered(server: Server) -> None:
    assert (await post(server, CHAT, b"", method="GET")).error == (405, "method_not_allowed", None)


async def test_what_the_program_finds_wrong_is_the_callers_to_mend(server: Server, model: str) -> None:
    bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nothing"}}}
    assert (await post(server, CHAT, chat_body(model, response_format=bad))).error == (400, "bad_schema", None)
    reply = await post(server, CHAT, chat_body(model, response_format=bad, stream=True))
    assert reply.error == (400, "bad_schema", None)
    assert (await post(server, CHAT, chat_body(model, lora_adapter="none"))).error == (400, "unknown_lora", None)
    reply = await post(server, CHAT, chat_body(model, "word " * 9000))
    assert reply.error == (400, "context_exceeded", None)
    assert reply.body["error"]["type"] == "context_length_exceeded"


async def test_a_body_that_is_too_large_is_413(server: Server, model: str) -> None:
    assert (await post(server, CHAT, b" " * (9 << 20))).error == (413, "body_too_large", None)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 104857600\r\n\r\n"
    assert (await raw(server, head.encode())).startswith(b"HTTP/1.1 413 ")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    assert (await raw(server, head.encode() + chunk * 200)).startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_never_ends_is_given_up() -> None:
    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"", "more_body": True}

    with pytest.raises(Refusal, match="body-too-slow"):
        await read_body({"type": "http", "headers": []}, receive, max_bytes=10, within_s=0.01)


async def test_a_server_that_is_full_or_stops_says_when_to_come_again(
    server: Server, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.service, "is_draining", True)
    assert (await post(server, CHAT, chat_body(model))).error == (503, "shutting_down", None)
    monkeypatch.setattr(server.service, "is_draining", False)
    monkeypatch.setattr(server.service, "settings", ServerSettings(max_processes=0))
    reply = await post(server, CHAT, chat_body(model))
    assert reply.error == (503, "RESOURCE_EXHAUSTED", None)
    assert (reply.headers["retry-after"], reply.headers["x-sie-error-code"]) == ("5", "RESOURCE_EXHAUSTED")


async def test_models_are_listed(server: Server, model: str) -> None:
    body = (await post(server, "/v1/models", b"", method="GET")).body
    assert body["object"] == "list"
    assert [entry["id"] for entry in body["data"]] == [model]
    assert (await post(server, f"/v1/models/{model}", b"", method="GET")).body == body["data"][0]
    assert (await post(server, "/v1/models/a/b", b"", method="GET")).error == (404, "model_not_found", "model")


@pytest_asyncio.fixture(loop_scope="session")
async def closed(runtime: Runtime, tmp_path: Path) -> AsyncIterator[Server]:
    """A server where users show tokens."""
    users = tmp_path / "authorized_users.toml"
    users.write_text(f'[users.wilma.tokens]\nci = "{token_hash("secret")}"\n')
    users.chmod(0o600)
    settings = ServerSettings(port=0, grace_s=0)
    with listen(settings) as listening:
        async with serve(runtime, settings, listening, home=tmp_path) as server:
            yield server


async def test_who_shows_no_token_is_401(closed: Server) -> None:
    body = chat_body(closed.service.runtime.model.name, max_tokens=1)
    for token in (None, "wrong"):
        reply = await post(closed, CHAT, body, token=token)
        assert reply.error == (401, "token_needed", None)
        assert reply.headers["www-authenticate"] == "Bearer"
        assert (await post(closed, "/v1/models", b"", method="GET", token=token)).status == 401
    assert (await post(closed, CHAT, body, token="secret")).status == 200
    assert (await post(closed, "/v1/models", b"", method="GET", token="secret")).status == 200


async def test_the_process_belongs_to_the_user_of_the_token(closed: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    owners = []
    runtime = closed.service.runtime
    launch_for = runtime.launch_for

    def watched(client: Client, program: LoadedProgram, input_json: str, **options: Any) -> Process:
        owners.append(client.username)
        with pytest.raises(ProcessError, match="too-many-processes"):
            closed.service.processes.check_room(
                "wilma", 2, settings=ServerSettings(max_processes=9, max_processes_per_user=1)
            )
        return launch_for(client, program, input_json, **options)

    monkeypatch.setattr(runtime, "launch_for", watched)
    assert (await post(closed, CHAT, chat_body(runtime.model.name, max_tokens=1), token="secret")).status == 200
    assert owners == ["wilma"]
    assert closed.service.processes.num_running == 0


async def raw(server: Server, data: bytes) -> bytes:
    """What a server answers to bytes, as far as it takes them."""
    where = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(data)
        return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


async def test_errors_are_json(server: Server, model: str) -> None:
    reply = await post(server, CHAT, chat_body(model, n=0))
    assert json.loads(reply.content)["error"]["type"] == "invalid_request_error"
