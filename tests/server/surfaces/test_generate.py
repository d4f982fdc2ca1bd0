"""`/v1/generate/{model}`: a text in one piece and in chunks, and how each ends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.server.surfaces.client import events, opened, post

from pie.errors import ProcessError
from pie.host.served_models import ServedModels
from pie.runtime import Runtime
from pie.server.server import Server
from pie.server.surfaces.generate import GenerateExchange
from pie.server.surfaces.incoming import Incoming
from pie.server.surfaces.vocabulary import Took

pytestmark = pytest.mark.asyncio(loop_scope="session")

STORY = "Once upon a time"


@pytest.fixture
def model(server: Server) -> str:
    return server.service.runtime.model.name


@pytest.fixture
def path(model: str) -> str:
    return f"/v1/generate/{model}"


def body(**fields: Any) -> dict[str, Any]:
    return {"prompt": STORY, "max_new_tokens": 24, "seed": 7, **fields}


async def test_a_text_comes_with_its_usage_and_times(server: Server, model: str, path: str) -> None:
    answer = (await post(server, path, body(temperature=0, max_new_tokens=3))).body
    assert answer.keys() == {
        "model", "text", "finish_reason", "usage", "attempt_id", "ttft_ms", "tpot_ms",
    }  # fmt: skip
    assert (answer["model"], answer["finish_reason"]) == (model, "length")
    assert answer["usage"]["completion_tokens"] == 3
    assert answer["ttft_ms"] > 0
    assert answer["tpot_ms"] > 0
    assert answer["attempt_id"]


async def test_the_chunks_have_the_text_of_the_whole(server: Server, path: str) -> None:
    whole = (await post(server, path, body())).body
    chunks = await events(server, path, body())
    assert [chunk["seq"] for chunk in chunks] == list(range(len(chunks)))
    assert len({chunk["request_id"] for chunk in chunks}) == 1
    assert [chunk["done"] for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[0]["text_delta"]
    assert "".join(chunk["text_delta"] for chunk in chunks) == whole["text"]
    last = chunks[-1]
    assert (last["finish_reason"], last["usage"]["completion_tokens"]) == ("length", 24)
    assert last["ttft_ms"] > 0
    assert last["tpot_ms"] > 0
    assert last["attempt_id"] != whole["attempt_id"]
    assert "finish_reason" not in chunks[0]


async def test_a_stop_text_ends_the_text_before_it(server: Server, path: str) -> None:
    text = (await post(server, path, body())).body["text"]
    stop = text[8:12]
    answer = (await post(server, path, body(stop=[stop]))).body
    assert (answer["text"], answer["finish_reason"]) == (text[: text.index(stop)], "stop")


async def test_two_underscores_stand_for_a_slash(server: Server, model: str) -> None:
    models = ServedModels.ready({"org/name": server.service.runtime.models[model]})
    for name in ("org/name", "org__name"):
        exchange = GenerateExchange(Incoming(json.dumps(body()).encode(), "id", name), models)
        assert exchange.given["model"] == "org/name"


async def test_a_model_that_is_not_served_is_404(server: Server) -> None:
    for name in ("org/name", "org__name"):
        assert (await post(server, f"/v1/generate/{name}", body())).error == (404, "model_not_found", "model")


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"max_new_tokens": None}, "bad_value", "max_new_tokens"),
        ({"max_new_tokens": 0}, "bad_value", "max_new_tokens"),
        ({"prompt": ""}, "bad_value", "prompt"),
        ({"prompt": ["a"]}, "bad_value", "prompt"),
        ({"temperature": 3}, "bad_value", "temperature"),
        ({"top_p": 0}, "bad_value", "top_p"),
        ({"stop": [""]}, "bad_value", "stop[0]"),
        ({"stream": 1}, "bad_value", "stream"),
        ({"model": "x"}, "unsupported_field", "model"),
        ({"n": 2}, "unsupported_field", "n"),
        ({"lora_adapter": "none"}, "unknown_lora", None),
        ({"prompt": "word " * 9000}, "context_exceeded", None),
    ],
)
async def test_what_does_not_fit_is_refused(
    server: Server, path: str, fields: dict[str, Any], code: str, param: str | None
) -> None:
    for is_stream in (False, True):
        reply = await post(server, path, {**body(stream=is_stream), **fields})
        assert reply.error == (400, code, param)


async def test_a_client_that_leaves_ends_the_program(server: Server, runtime: Runtime, path: str) -> None:
    async with opened(server, path, body(max_new_tokens=4000, temperature=2.0)) as stream:
        await anext(stream)
    async with asyncio.timeout(10):
        while runtime.num_processes:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("ended", "reason", "code"), [("shutting-down", "error", "shutting_down"), ("terminated", "cancelled", "cancelled")]
)
async def test_a_stream_that_cannot_go_on_says_so_in_its_last_chunk(
    server: Server, path: str, ended: str, reason: str, code: str
) -> None:
    async with opened(server, path, body(max_new_tokens=4000, temperature=2.0)) as stream:
        told = [await anext(stream)]
        server.service.processes.terminate_all(ProcessError(ended, "it was stopped"))
        told += [data async for data in stream]
    chunks = [json.loads(data) for data in told]
    last = chunks[-1]
    assert (last["done"], last["text_delta"], last["finish_reason"]) == (True, "", reason)
    assert last["error"] == {"code": code, "message": "it was stopped"}
    assert last["seq"] == len(chunks) - 1


async def test_one_token_has_no_time_between_tokens() -> None:
    assert Took("id", 10.0, 4.0).tpot_ms(1) is None
    assert Took("id", 10.0).tpot_ms(9) is None
    assert Took("id", 10.0, 4.0).tpot_ms(4) == 2.0
