"""What every response of a surface says beside its body."""

from __future__ import annotations

import asyncio
import json

import httpcore2
import pytest
from tests.server.surfaces.client import CHAT, COMPLETIONS, Reply, address, chat_body, post

from pie import __version__
from pie.errors import ProcessError
from pie.runtime import Runtime
from pie.server.server import Server
from pie.server.settings import ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def model(server: Server) -> str:
    return server.service.runtime.model.name


def told(headers: dict[str, str]) -> tuple[str, str]:
    """Request and worker, beside versions."""
    assert headers["x-sie-version"] == headers["x-sie-server-version"] == __version__
    return headers["x-sie-request-id"], headers["x-sie-worker"]


async def test_every_response_says_who_answers(server: Server, model: str) -> None:
    replies = [
        await post(server, CHAT, chat_body(model, max_tokens=1)),
        await post(server, CHAT, chat_body(model, max_tokens=1, stream=True)),
        await post(server, COMPLETIONS, {"model": model, "prompt": "a", "max_tokens": 1}),
        await post(server, f"/v1/generate/{model}", {"prompt": "a", "max_new_tokens": 1}),
        await post(server, "/v1/models", b"", method="GET"),
        await post(server, f"/v1/models/{model}", b"", method="GET"),
        await post(server, "/v1/models/none", b"", method="GET"),
        await post(server, CHAT, b"{"),
        await post(server, "/inference/chat", b"{"),
        await post(server, "/inference/nothing", b"", method="GET"),
    ]
    said = [told(reply.headers) for reply in replies]
    assert len({request for request, _ in said}) == len(replies)
    assert {worker for _, worker in said} == {server.service.server_id}


async def test_the_events_of_a_generation_name_the_request_of_the_header(server: Server, model: str) -> None:
    content = json.dumps({"prompt": "a", "max_new_tokens": 2, "stream": True}).encode()
    async with httpcore2.AsyncConnectionPool() as pool:
        response = await pool.request("POST", address(server, f"/v1/generate/{model}"), content=content)
    first = json.loads(response.content.partition(b"\n")[0].removeprefix(b"data: "))
    assert first["request_id"].encode() == dict(response.headers)[b"x-sie-request-id"]


async def test_a_refusal_has_its_code_in_a_header(server: Server, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def code(reply: Reply) -> str:
        assert reply.headers["x-sie-error-code"] == reply.error[1]
        return reply.error[1]

    path = f"/v1/generate/{model}"
    refused = await post(server, path, {"prompt": "a"})
    assert code(refused) == "bad_value"
    assert "retry-after" not in refused.headers
    assert code(await post(server, "/v1/models/none", b"", method="GET")) == "model_not_found"
    assert code(await post(server, path, b"", method="PUT")) == "method_not_allowed"
    monkeypatch.setattr(server.service, "settings", ServerSettings(max_processes=0))
    full = await post(server, path, {"prompt": "a", "max_new_tokens": 1})
    assert (full.status, code(full), full.headers["retry-after"]) == (503, "RESOURCE_EXHAUSTED", "5")


async def test_a_process_that_is_ended_before_it_answers_is_504(server: Server, runtime: Runtime, model: str) -> None:
    body = {"prompt": "a", "max_new_tokens": 4000, "temperature": 2.0}
    answering = asyncio.ensure_future(post(server, f"/v1/generate/{model}", body))
    async with asyncio.timeout(10):
        while not runtime.num_processes:
            await asyncio.sleep(0.001)
    server.service.processes.terminate_all(ProcessError("terminated", "it was stopped"))
    reply = await answering
    assert reply.error == (504, "cancelled", None)
    assert "retry-after" not in reply.headers
