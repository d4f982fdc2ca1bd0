"""Log probabilities of answers, streamed and not: of the tokens that make the text, in OpenAI's form."""

from __future__ import annotations

import math
from typing import Any

import openai
import pytest
from tests.server.surfaces.client import CHAT, COMPLETIONS, RESPONSES, address, chat_body, events, joined, post

from pie.server.server import Server
from pie.server.surfaces.logprobs import TextLogprobs, chat_form, completion_form
from pie.server.surfaces.vocabulary import TokenLogprobs

pytestmark = pytest.mark.asyncio(loop_scope="session")

STORY = "Once upon a time"


@pytest.fixture
def model(server: Server) -> str:
    return server.service.runtime.model.name


def spelled(content: list[dict[str, Any]]) -> str:
    return b"".join(bytes(one["bytes"]) for one in content).decode()


def check(content: list[dict[str, Any]], num_top: int) -> None:
    for one in content:
        assert one["token"].encode() == bytes(one["bytes"])
        assert one["logprob"] <= 0
        assert len(one["top_logprobs"]) == num_top
        values = [each["logprob"] for each in one["top_logprobs"]]
        assert values == sorted(values, reverse=True)
        if num_top:
            assert values[0] >= one["logprob"]
            assert math.fsum(math.exp(value) for value in values) <= 1.0001


@pytest.mark.parametrize("fields", [{"logprobs": True}, {"logprobs": True, "top_logprobs": 20}, {"top_logprobs": 3}])
async def test_the_tokens_of_a_chat_answer(server: Server, model: str, fields: dict[str, Any]) -> None:
    body = chat_body(model, seed=3, temperature=1.5, n=2, **fields)
    answer = (await post(server, CHAT, body)).body
    plain = (await post(server, CHAT, chat_body(model, seed=3, temperature=1.5, n=2))).body
    assert [choice["message"] for choice in answer["choices"]] == [choice["message"] for choice in plain["choices"]]
    assert [choice["logprobs"] for choice in plain["choices"]] == [None, None]
    for choice in answer["choices"]:
        content = choice["logprobs"]["content"]
        assert spelled(content) == choice["message"]["content"]
        check(content, fields.get("top_logprobs", 0))


async def test_none_are_told_where_none_are_asked_for(server: Server, model: str) -> None:
    for fields in ({"logprobs": False}, {"top_logprobs": 0}, {"logprobs": False, "top_logprobs": 0}):
        (choice,) = (await post(server, CHAT, chat_body(model, temperature=0, **fields))).body["choices"]
        assert choice["logprobs"] is None


@pytest.mark.parametrize("stop", [[], ["Oslo", "is"]])
async def test_a_stream_tells_them_with_their_text(server: Server, model: str, stop: list[str]) -> None:
    body = chat_body(model, temperature=0, logprobs=True, top_logprobs=2, stop=stop)
    (whole,) = (await post(server, CHAT, body)).body["choices"]
    chunks = await events(server, CHAT, body)
    told = [choice for chunk in chunks for choice in chunk["choices"] if choice["logprobs"]]
    content = [one for choice in told for one in choice["logprobs"]["content"]]
    assert [one["token"] for one in content] == [one["token"] for one in whole["logprobs"]["content"]]
    for one, other in zip(content, whole["logprobs"]["content"], strict=True):
        assert one["logprob"] == pytest.approx(other["logprob"], abs=1e-4)
    assert joined(chunks) == whole["message"]["content"]
    assert spelled(content).startswith(joined(chunks))
    assert len(told) > 1
    check(content, 2)


async def test_of_formats_tools_and_the_best_of_several(server: Server, model: str) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": parameters}}
    cases: list[dict[str, Any]] = [
        {"response_format": {"type": "json_object"}},
        {"tools": [tool]},
        {"best_of": 2, "n": 1, "seed": 1},
        {"frequency_penalty": 2, "logit_bias": {"300": 20}},
    ]
    for fields in cases:
        body = chat_body(model, logprobs=True, top_logprobs=1, max_tokens=20, **{"temperature": 0, **fields})
        (choice,) = (await post(server, CHAT, body)).body["choices"]
        assert spelled(choice["logprobs"]["content"]) == choice["message"]["content"]
    body = chat_body(
        model, "What is the weather in Lima?", logprobs=True, temperature=0, tools=[tool], tool_choice="required"
    )
    (choice,) = (await post(server, CHAT, body)).body["choices"]
    assert choice["message"]["tool_calls"]
    assert choice["logprobs"] is None
    chunks = await events(server, CHAT, body)
    assert all(each["logprobs"] is None for chunk in chunks for each in chunk["choices"])


@pytest.mark.parametrize("fields", [{"include": ["message.output_text.logprobs"]}, {"top_logprobs": 2}])
async def test_the_tokens_of_a_response(server: Server, model: str, fields: dict[str, Any]) -> None:
    body = {"model": model, "input": "What is 47 + 38?", "temperature": 0, "max_output_tokens": 90, **fields}
    num_top = fields.get("top_logprobs", 0)
    (item,) = (await post(server, RESPONSES, body)).body["output"]
    (part,) = item["content"]
    assert spelled(part["logprobs"]).startswith(part["text"])
    check(part["logprobs"], num_top)
    async with openai.AsyncOpenAI(base_url=address(server, "/v1"), api_key="none", max_retries=0) as client:
        told = [event async for event in await client.responses.create(**body, stream=True)]
    deltas = [event for event in told if event.type == "response.output_text.delta"]
    tokens = [one.token for event in deltas for one in event.logprobs]
    assert tokens == [one["token"] for one in part["logprobs"]]
    assert len([event for event in deltas if event.logprobs]) > 1
    (done,) = [event for event in told if event.type == "response.output_text.done"]
    assert [one.token for one in done.logprobs] == tokens
    last = told[-1].response.output[0].content[0].model_dump()
    assert [one["token"] for one in last["logprobs"]] == tokens
    assert [one["bytes"] for one in last["logprobs"]] == [one["bytes"] for one in part["logprobs"]]
    plain = (await post(server, RESPONSES, {**body, "include": None, "top_logprobs": None})).body
    assert plain["output"][0]["content"][0] == {**part, "logprobs": []}


@pytest.mark.parametrize("num_top", [0, 5])
async def test_the_tokens_of_completions(server: Server, model: str, num_top: int) -> None:
    body = {"model": model, "prompt": STORY, "seed": 4, "temperature": 1.2, "max_tokens": 12, "logprobs": num_top}
    (choice,) = (await post(server, COMPLETIONS, body)).body["choices"]
    told = choice["logprobs"]
    assert "".join(told["tokens"]) == choice["text"]
    for token, value, top, offset in zip(
        told["tokens"], told["token_logprobs"], told["top_logprobs"], told["text_offset"], strict=True
    ):
        assert choice["text"][offset:].startswith(token)
        assert top[token] == value <= 0
        assert max(num_top, 1) <= len(top) <= num_top + 1
    chunks = [chunk["choices"][0] for chunk in await events(server, COMPLETIONS, body)]
    assert [token for each in chunks for token in each["logprobs"]["tokens"]] == told["tokens"]
    assert [offset for each in chunks for offset in each["logprobs"]["text_offset"]] == told["text_offset"]
    several = {**body, "prompt": [STORY, "One day"], "n": 2}
    for choice in (await post(server, COMPLETIONS, several)).body["choices"]:
        assert "".join(choice["logprobs"]["tokens"]) == choice["text"]


async def test_the_openai_client_reads_them(server: Server, model: str) -> None:
    async with openai.AsyncOpenAI(base_url=address(server, "/v1"), api_key="none", max_retries=0) as client:
        answer = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hello"}], temperature=0, logprobs=True, top_logprobs=2
        )
        assert answer.choices[0].logprobs is not None
        content = answer.choices[0].logprobs.content
        assert content is not None
        assert "".join(one.token for one in content) == answer.choices[0].message.content
        assert all(one.top_logprobs[0].token == one.token for one in content)
        text = ""
        async for chunk in await client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "hello"}],
            temperature=0,
            logprobs=True,
            stream=True,
        ):
            logprobs = chunk.choices[0].logprobs
            text += "".join(one.token for one in (logprobs.content if logprobs else None) or [])
        assert text == answer.choices[0].message.content
        completion = await client.completions.create(model=model, prompt=STORY, logprobs=1, max_tokens=5)
        assert completion.choices[0].logprobs is not None
        assert "".join(completion.choices[0].logprobs.tokens or []) == completion.choices[0].text


def told_of(server: Server, text: str, *, with_reasoning: bool) -> tuple[str, str]:
    """The text that a chat decoder shows of tokens, and the tokens that are told."""
    served = server.service.runtime.model
    tokens = served.tokenizer.encode(text)
    logprobs = TextLogprobs(served, with_reasoning=with_reasoning)
    logprobs.feed(TokenLogprobs(token, -1.0, [(token, -1.0)]) for token in tokens)
    shown = "".join(
        getattr(event, "text", "") for event in served.chat_decoder(with_reasoning=with_reasoning).feed(tokens)
    )
    content = chat_form(logprobs.until(len(shown)), served.tokenizer, 1)["content"]
    return shown, spelled(content)


@pytest.mark.parametrize("text", ["Hi there", "é€😀 ok", "a <b> c < d", "<think>Why?</think>\n\nBecause. é"])
async def test_thoughts_are_left_out_and_parts_of_characters_are_not(server: Server, text: str) -> None:
    for with_reasoning in (False, True):
        shown, told = told_of(server, text, with_reasoning=with_reasoning)
        assert told == shown


async def test_what_is_no_character_is_spelled_by_its_bytes(server: Server) -> None:
    served = server.service.runtime.model
    number = next(each for each in range(served.vocab_size) if served.tokenizer.token_bytes(each) == b"\xe2")
    logprobs = TextLogprobs(served, with_reasoning=True)
    logprobs.feed([TokenLogprobs(number, -0.5, [(number, -0.5), (2**20, -9.0)])])
    (one,) = given = logprobs.until(1)
    assert one.start == 0
    (entry,) = chat_form(given, served.tokenizer, 2)["content"]
    assert (entry["token"], entry["bytes"]) == ("\\xe2", [0xE2])
    assert entry["top_logprobs"][1] == {"token": "\ufffd", "bytes": None, "logprob": -9.0}
    assert completion_form(given, served.tokenizer, 0)["top_logprobs"] == [{"\\xe2": -0.5}]
