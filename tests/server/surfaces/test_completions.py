"""`/v1/completions`: prompts and how they go on."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server.surfaces.client import COMPLETIONS, events, post

from pie.server.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

STORY = "Once upon a time"
NORWAY = "The capital of Norway is"


@pytest.fixture
def model(server: Server) -> str:
    return server.service.runtime.model.name


def texts(body: dict[str, Any]) -> list[str]:
    assert [choice["index"] for choice in body["choices"]] == list(range(len(body["choices"])))
    return [choice["text"] for choice in body["choices"]]


async def test_a_prompt_goes_on(server: Server, model: str) -> None:
    body = {"model": model, "prompt": STORY, "temperature": 0, "max_tokens": 3}
    answer = (await post(server, COMPLETIONS, body)).body
    assert answer["object"] == "text_completion"
    (text,) = texts(answer)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3
    (echoed,) = texts((await post(server, COMPLETIONS, {**body, "echo": True})).body)
    assert echoed == STORY + text


async def test_several_prompts_and_choices_keep_their_order(server: Server, model: str) -> None:
    body = {"model": model, "prompt": [NORWAY, STORY], "seed": 3, "max_tokens": 6, "n": 2, "echo": True}
    four = texts((await post(server, COMPLETIONS, body)).body)
    assert [text.startswith(NORWAY) for text in four] == [True, True, False, False]
    assert texts((await post(server, COMPLETIONS, body)).body) == four
    assert len(set(four)) > 2


async def test_the_best_of_several_is_kept(server: Server, model: str) -> None:
    body = {"model": model, "prompt": STORY, "seed": 4, "max_tokens": 8, "temperature": 1.5}
    answer = (await post(server, COMPLETIONS, {**body, "best_of": 5, "n": 2})).body
    all_five = texts((await post(server, COMPLETIONS, {**body, "n": 5})).body)
    best = texts(answer)
    assert len(best) == 2
    assert set(best) <= set(all_five)
    assert 8 <= answer["usage"]["completion_tokens"] <= 40


@pytest.mark.parametrize("echo", [False, True])
async def test_what_is_streamed_is_the_text_that_is_not(server: Server, model: str, echo: bool) -> None:
    body = {"model": model, "prompt": STORY, "seed": 7, "max_tokens": 40, "echo": echo}
    whole = (await post(server, COMPLETIONS, body)).body
    chunks = await events(server, COMPLETIONS, {**body, "stream_options": {"include_usage": True}})
    assert "".join(choice["text"] for chunk in chunks for choice in chunk["choices"]) == texts(whole)[0]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert chunks[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


async def test_a_stop_text_ends_the_text_before_it(server: Server, model: str) -> None:
    body = {"model": model, "prompt": STORY, "temperature": 0, "max_tokens": 60}
    (text,) = texts((await post(server, COMPLETIONS, body)).body)
    stop = text[12:16]
    answer = (await post(server, COMPLETIONS, {**body, "stop": ["never there", stop]})).body
    assert texts(answer) == [text[: text.index(stop)]]
    assert answer["choices"][0]["finish_reason"] == "stop"
    chunks = await events(server, COMPLETIONS, {**body, "stop": stop})
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == text[: text.index(stop)]


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"suffix": "x"}, "unsupported_field", "suffix"),
        ({"logprobs": 21}, "bad_value", "logprobs"),
        ({"logprobs": -1}, "bad_value", "logprobs"),
        ({"logprobs": 0, "echo": True}, "bad_value", "logprobs"),
        ({"messages": []}, "unsupported_field", "messages"),
        ({"prompt": ""}, "bad_value", "prompt"),
        ({"prompt": []}, "bad_value", "prompt"),
        ({"prompt": [1, 2]}, "bad_value", "prompt[0]"),
        ({"prompt": ["a"] * 129}, "bad_value", "prompt"),
        ({"prompt": ["a"] * 100, "n": 2}, "bad_value", "prompt"),
        ({"prompt": ["a", "b"], "stream": True}, "bad_value", "prompt"),
        ({"best_of": 2, "stream": True}, "bad_value", "best_of"),
        ({"best_of": 2, "n": 3}, "bad_value", "best_of"),
    ],
)
async def test_a_field_that_does_not_fit_is_named(
    server: Server, model: str, fields: dict[str, Any], code: str, param: str
) -> None:
    reply = await post(server, COMPLETIONS, {"model": model, "prompt": "a", **fields})
    assert reply.error == (400, code, param)
