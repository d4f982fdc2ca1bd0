"""`/v1/chat/completions`: texts, streams, several choices, formats, tools."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.folders import write_peft
from tests.running import RunProgram
from tests.server.surfaces.client import CHAT, RESPONSES, chat_body, events, joined, post

from pie.server.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

CLOCK = {"type": "function", "function": {"name": "get_time"}}
PAGE = 16
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture
def model(server: Server) -> str:
    return server.service.runtime.model.name


async def test_a_question_is_answered(server: Server, model: str) -> None:
    reply = await post(server, CHAT, chat_body(model, temperature=0))
    assert reply.status == 200
    body = reply.body
    assert (body["object"], body["model"]) == ("chat.completion", model)
    assert body["id"].startswith("chatcmpl-")
    (choice,) = body["choices"]
    assert choice["message"]["role"] == "assistant"
    assert "Oslo" in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["completion_tokens"] < 60


async def test_what_is_streamed_is_the_text_that_is_not(server: Server, model: str) -> None:
    body = chat_body(model, "Tell me a short story.", seed=7, temperature=1.2)
    whole = (await post(server, CHAT, body)).body
    chunks = await events(server, CHAT, {**body, "stream_options": {"include_usage": True}})
    assert joined(chunks) == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["choices"] == []
    for usage in (chunks[-1]["usage"], whole["usage"]):
        assert usage.pop("prompt_tokens_details")["cached_tokens"] >= 0
    assert chunks[-1]["usage"] == whole["usage"]
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    roles = [chunk["choices"][0]["delta"].get("role") for chunk in chunks[:-1]]
    assert roles == ["assistant"] + [None] * (len(roles) - 1)
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]]
    assert reasons == [None] * (len(reasons) - 1) + [whole["choices"][0]["finish_reason"]]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert len(chunks) > 5


async def test_the_same_seed_gives_the_same_text_and_others_do_not(server: Server, model: str) -> None:
    async def texts(seed: int, n: int = 1) -> list[str]:
        reply = await post(server, CHAT, chat_body(model, "Tell me a short story.", seed=seed, n=n))
        return [choice["message"]["content"] for choice in reply.body["choices"]]

    three = await texts(5, 3)
    assert await texts(5, 3) == three
    assert (await texts(5))[0] == three[0]
    assert len({*three, *await texts(6)}) == 4


async def test_the_best_of_several_is_kept(server: Server, model: str) -> None:
    body = chat_body(model, "Tell me a short story.", seed=4, temperature=1.5, max_tokens=12)
    four = (await post(server, CHAT, {**body, "n": 4})).body["choices"]
    best = (await post(server, CHAT, {**body, "best_of": 4, "n": 2})).body["choices"]
    assert [choice["index"] for choice in best] == [0, 1]
    assert {choice["message"]["content"] for choice in best} <= {choice["message"]["content"] for choice in four}


async def test_an_adapter_of_the_user_is_applied(
    server: Server, model: str, run_program: RunProgram, peft_folder: Path
) -> None:
    write_peft(peft_folder, "dialect", 1)
    adapter = "Adapter.{}(Model.default(), 'dialect').{}"
    text = "from inferlet import Adapter, Model\nasync def main(input):\n    "
    await run_program(text + adapter.format("create", "load('dialect')"))
    body = chat_body(model, temperature=0, max_tokens=8)
    plain, adapted = [
        (await post(server, CHAT, one)).body["choices"] for one in (body, {**body, "lora_adapter": "dialect"})
    ]
    assert plain != adapted
    await run_program(text + adapter.format("open", "destroy()"))
    assert (await post(server, CHAT, {**body, "lora_adapter": "dialect"})).error == (400, "unknown_lora", None)


async def test_many_clients_are_answered_at_once(server: Server, model: str) -> None:
    names = ["Lima", "Oslo", "Cairo", "Quito"]
    bodies = [chat_body(model, f"Repeat this word: {name}", seed=3, max_tokens=12) for name in names]
    alone = [(await post(server, CHAT, body)).body["choices"] for body in bodies]
    streams, replies = await asyncio.gather(
        asyncio.gather(*(events(server, CHAT, body) for body in bodies * 6)),
        asyncio.gather(*(post(server, CHAT, body) for body in bodies * 6)),
    )
    assert [reply.body["choices"] for reply in replies] == alone * 6
    assert [joined(chunks) for chunks in streams] == [choices[0]["message"]["content"] for choices in alone] * 6


@pytest.mark.parametrize("stream", [False, True])
async def test_penalties_and_biases_change_the_answer(server: Server, model: str, stream: bool) -> None:
    async def text(**fields: Any) -> str:
        body = chat_body(model, "Tell me a short story.", temperature=0, max_tokens=40, **fields)
        if stream:
            return joined(await events(server, CHAT, body))
        return str((await post(server, CHAT, body)).body["choices"][0]["message"]["content"])

    plain = await text()
    (token,) = server.service.runtime.model.tokenizer.encode(plain)[:1]
    for fields in (
        {"presence_penalty": 2},
        {"frequency_penalty": 2},
        {"repetition_penalty": 2},
        {"logit_bias": {str(token): -100}},
    ):
        assert await text(**fields) != plain, fields


async def test_an_answer_that_is_cut_says_so(server: Server, model: str) -> None:
    body = chat_body(model, "Tell me a short story.", temperature=0)
    reply = await post(server, CHAT, {**body, "max_completion_tokens": 3})  # which wins over max_tokens
    assert reply.body["choices"][0]["finish_reason"] == "length"
    assert reply.body["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("tools", [[], [CLOCK]])
async def test_a_stop_text_ends_the_answer_before_it(server: Server, model: str, tools: list[Any]) -> None:
    body = chat_body(model, "What is the capital of Norway?", temperature=0, tools=tools)
    text = (await post(server, CHAT, body)).body["choices"][0]["message"]["content"]
    stop = text[8:12]
    (choice,) = (await post(server, CHAT, {**body, "stop": [stop, "never there"]})).body["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text[: text.index(stop)], "stop")
    assert joined(await events(server, CHAT, {**body, "stop": stop})) == choice["message"]["content"]


async def test_a_stop_text_is_looked_for_in_the_answer_alone(server: Server, model: str) -> None:
    body = chat_body(model, "What is 47 + 38?", temperature=0, max_tokens=80, stop=["carry"])
    (choice,) = (await post(server, CHAT, body)).body["choices"]
    assert choice["message"]["content"].strip() == "47 + 38 = 85"
    usage = (await post(server, CHAT, {**body, "stop": [], "logprobs": True})).body
    tokens = usage["choices"][0]["logprobs"]["content"]
    thought = usage["usage"]["completion_tokens_details"]["reasoning_tokens"]
    assert 5 < thought <= usage["usage"]["completion_tokens"] - len(tokens)
    response = (await post(server, RESPONSES, {"model": model, "input": "What is 47 + 38?", "temperature": 0})).body
    assert response["usage"]["output_tokens_details"]["reasoning_tokens"] == thought
    assert joined(await events(server, CHAT, body)) == choice["message"]["content"]


async def test_a_conversation_that_comes_again_is_not_computed_again(server: Server, model: str) -> None:
    body = chat_body(model, "Tell me of " + "one bear and " * 30, max_tokens=1)
    await post(server, CHAT, body)
    usage = (await post(server, CHAT, {**body, "n": 2})).body["usage"]
    assert 0 < usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"]


async def test_each_turn_of_a_conversation_computes_little_more_than_what_is_new(server: Server, model: str) -> None:
    messages: list[dict[str, str]] = []
    known = 0
    for name in ("Wilma", "Nora", "Sian", "Omar", "Lena", "Hugo"):
        messages.append({"role": "user", "content": f"Hi, my name is {name}. What is the capital of Norway?"})
        body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": 40}
        answer = (await post(server, CHAT, body)).body
        messages.append(answer["choices"][0]["message"])
        usage = answer["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] >= known - 2 * PAGE
        known = usage["prompt_tokens"] + usage["completion_tokens"]
    assert known > 5 * PAGE


async def test_roles_parts_and_labels_are_understood(server: Server, model: str) -> None:
    messages = [
        {"role": "developer", "content": "Answer in one sentence."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "My name is "}, {"type": "input_text", "text": "Wilma."}],
        },
        {"role": "assistant", "content": "Hello, Wilma!", "refusal": None},
        {"role": "user", "content": "What is my name?", "name": "wilma"},
    ]
    body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": 40, "top_k": 5, "top_p": 0.5}
    labels = {"user": "u", "safety_identifier": "s", "routing_key": "r", "prompt_cache_key": "p"}
    neutral = {"frequency_penalty": 0, "presence_penalty": 0.0, "repetition_penalty": 1, "logit_bias": {}, "n": 1}
    reply = await post(server, CHAT, {**body, **labels, **neutral, "logprobs": False, "stop": None, "best_of": 1})
    assert reply.status == 200, reply.content
    plain = [
        {"role": "system", "content": "Answer in one sentence."},
        {"role": "user", "content": "My name is Wilma."},
        {"role": "assistant", "content": "Hello, Wilma!"},
        {"role": "user", "content": "What is my name?"},
    ]
    other = await post(server, CHAT, {**body, "messages": plain})
    assert reply.body["choices"] == other.body["choices"]
    assert reply.body["usage"]["prompt_tokens"] == other.body["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    "form", [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}]
)
async def test_a_format_holds(server: Server, model: str, form: dict[str, Any]) -> None:
    text = "Extract JSON with the keys name, age: Nora is 29 years old."
    reply = await post(server, CHAT, chat_body(model, text, response_format=form, temperature=0))
    value = json.loads(reply.body["choices"][0]["message"]["content"])
    assert isinstance(value, dict)
    if "json_schema" in form:
        assert value == {"name": "Nora", "age": 29}
