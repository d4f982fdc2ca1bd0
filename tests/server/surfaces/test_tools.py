"""Tools of chat completions and responses: called or not, forced, and told while they are written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.server.surfaces.client import CHAT, RESPONSES, chat_body, events, joined, post
from tests.server.surfaces.test_own_programs import own

from pie.server.server import Server

__all__ = ["own"]

pytestmark = pytest.mark.asyncio(loop_scope="session")

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Get the weather", "parameters": CITY},
}
CLOCK = {"type": "function", "function": {"name": "get_time"}}
CALLS = [{"name": "f", "arguments": '{"a": 1}'}, {"name": "g", "arguments": "{}"}]


@pytest.fixture
def model(server: Server) -> str:
    return server.service.runtime.model.name


def put_together(chunks: list[dict[str, Any]]) -> tuple[str | None, list[tuple[str, str]], str]:
    """Content, calls by name and arguments, and why it ended, of chunks as clients join them."""
    calls: list[tuple[str, str]] = []
    for delta in [choice["delta"] for chunk in chunks for choice in chunk["choices"]]:
        for one in delta.get("tool_calls", []):
            if "id" in one:
                assert one["index"] == len(calls)
                calls.append((one["function"]["name"], one["function"]["arguments"]))
            else:
                name, arguments = calls[one["index"]]
                calls[one["index"]] = (name, arguments + one["function"]["arguments"])
    return joined(chunks) or None, calls, chunks[-1]["choices"][0]["finish_reason"]


def of_choice(choice: dict[str, Any]) -> tuple[str | None, list[tuple[str, str]], str]:
    """The same of an answer in one piece."""
    message = choice["message"]
    calls = [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls", [])]
    return message["content"] or None, calls, choice["finish_reason"]


async def test_a_tool_is_called_and_its_result_is_answered(server: Server, model: str) -> None:
    question = {"role": "user", "content": "What is the weather in Lima?"}
    body = {"model": model, "messages": [question], "tools": [WEATHER], "temperature": 0, "max_tokens": 80}
    reply = await post(server, CHAT, body)
    (choice,) = reply.body["choices"]
    assert choice["finish_reason"] == "tool_calls"
    message = choice["message"]
    (call,) = message["tool_calls"]
    assert message["content"] is None
    assert (call["type"], call["function"]["name"]) == ("function", "get_weather")
    assert json.loads(call["function"]["arguments"]) == {"city": "Lima"}
    result = {"role": "tool", "tool_call_id": call["id"], "content": '{"temperature": 21, "sky": "sunny"}'}
    reply = await post(server, CHAT, {**body, "messages": [question, message, result]})
    (choice,) = reply.body["choices"]
    assert choice["finish_reason"] == "stop"
    assert "21" in choice["message"]["content"]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
async def test_a_call_can_be_forced(server: Server, model: str, choice: Any) -> None:
    body = chat_body(model, "Tell me a short story.", tools=[CLOCK, WEATHER], tool_choice=choice, temperature=0)
    (answer,) = (await post(server, CHAT, body)).body["choices"]
    assert answer["finish_reason"] == "tool_calls"
    (call,) = answer["message"]["tool_calls"]
    assert isinstance(json.loads(call["function"]["arguments"]), dict)
    assert call["function"]["name"] == "get_weather"
    chunks = await events(server, CHAT, body)
    deltas = [one for chunk in chunks for one in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert [one["index"] for one in deltas] == [0] * len(deltas)
    assert [one["function"].get("name") for one in deltas] == [call["function"]["name"]] + [None] * (len(deltas) - 1)
    assert ["id" in one for one in deltas] == [True] + [False] * (len(deltas) - 1)
    assert "".join(one["function"]["arguments"] for one in deltas) == call["function"]["arguments"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_what_is_required_is_one_call_or_more_and_one_of_a_named_function(server: Server, model: str) -> None:
    stops = server.service.runtime.model.template.stop_tokens()
    unwilling = {str(token): -100 for token in stops}  # the model ends its turn only where nothing else is allowed

    async def calls(choice: Any, **fields: Any) -> tuple[list[tuple[str, str]], str]:
        body = chat_body(model, tools=[CLOCK, WEATHER], tool_choice=choice, temperature=1.2, **fields)
        (answer,) = (await post(server, CHAT, body)).body["choices"]
        assert put_together(await events(server, CHAT, body)) == of_choice(answer)
        return of_choice(answer)[1:]

    named = {"type": "function", "function": {"name": "get_time"}}
    for seed in range(3):
        made, _ = await calls("required", seed=seed, logit_bias=unwilling, max_tokens=200)
        assert len(made) > 1
        for name, arguments in made[:-1]:
            assert json.loads(arguments).keys() == ({"city"} if name == "get_weather" else set())
        for fields in ({"parallel_tool_calls": False}, {"parallel_tool_calls": False, "logit_bias": unwilling}):
            ((name, arguments),), reason = await calls("required", seed=seed, max_tokens=200, **fields)
            assert reason == "tool_calls"
        ((name, _),), reason = await calls(named, seed=seed, logit_bias=unwilling)
        assert (name, reason) == ("get_time", "tool_calls")


async def test_tools_that_must_not_be_called_are_not(server: Server, model: str) -> None:
    body = chat_body(model, "What is the weather in Lima?", tools=[WEATHER], tool_choice="none", temperature=0)
    (answer,) = (await post(server, CHAT, body)).body["choices"]
    assert "tool_calls" not in answer["message"]
    body |= {"tool_choice": "auto", "messages": [{"role": "user", "content": "What is the capital of Norway?"}]}
    assert (
        joined(await events(server, CHAT, body))
        == ((await post(server, CHAT, body)).body["choices"][0]["message"]["content"])
    )


async def test_text_is_streamed_as_it_comes_beside_tools(server: Server, model: str) -> None:
    body = chat_body(model, "Tell me a short story.", tools=[WEATHER], temperature=0)
    pieces = [chunk for chunk in await events(server, CHAT, body) if chunk["choices"][0]["delta"].get("content")]
    assert len(pieces) > 2


@pytest.mark.parametrize("text", ["Tell me a short story.", "What is the weather in Lima?"])
@pytest.mark.parametrize("fields", [{}, {"max_tokens": 9}, {"stop": ["a", "e"]}, {"logprobs": True}])
async def test_the_pieces_of_a_stream_are_the_whole_answer(
    server: Server, model: str, text: str, fields: dict[str, Any]
) -> None:
    for seed in range(12):
        body = chat_body(model, text, tools=[CLOCK, WEATHER], temperature=1.4, seed=seed, **fields)
        (choice,) = (await post(server, CHAT, body)).body["choices"]
        chunks = await events(server, CHAT, body)
        assert put_together(chunks) == of_choice(choice)
        told = [one["logprobs"]["content"] for chunk in chunks for one in chunk["choices"] if one["logprobs"]]
        assert [one["token"] for content in told for one in content] == [
            one["token"] for one in (choice["logprobs"] or {"content": []})["content"]
        ]


async def test_a_call_that_is_cut_is_told_as_far_as_it_came(server: Server, model: str) -> None:
    body = chat_body(model, tools=[WEATHER], tool_choice="required", temperature=0)
    _, ((name, whole),), _ = of_choice((await post(server, CHAT, body)).body["choices"][0])
    reasons = set()
    for limit in range(10, 40):
        cut = {**body, "max_tokens": limit}
        content, calls, reason = of_choice((await post(server, CHAT, cut)).body["choices"][0])
        assert put_together(await events(server, CHAT, cut)) == (content, calls, reason)
        assert all(one == name and whole.startswith(arguments) for one, arguments in calls)
        assert (reason == "tool_calls") == (calls == [(name, whole)])
        reasons.add((reason, bool(calls), bool(content)))
    assert reasons == {("length", False, True), ("length", True, False), ("tool_calls", True, False)}


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [[{"name": "f"}]],
        [[{"name": "f"}, {"arguments": '{"a'}]],
        [{"untold": " and then"}],
        [[{"name": "f", "arguments": '{"a": 1'}], [{"arguments": "}"}, {"name": "g"}]],
        [[{"name": "f", "arguments": '{"a": 1}'}, {"name": "g", "arguments": "{}"}]],
        [" And then", [{"name": "f"}]],
    ],
)
async def test_what_a_program_did_not_tell_of_its_calls_follows(own: Server, pieces: list[Any]) -> None:
    body = chat_body(own.service.runtime.model.name, json.dumps(pieces), tools=[CLOCK])
    (choice,) = (await post(own, "/calling/chat", body)).body["choices"]
    assert choice["message"]["content"].startswith("Now")
    assert [call["function"] for call in choice["message"]["tool_calls"]] == CALLS
    assert put_together(await events(own, "/calling/chat", body)) == of_choice(choice)


@pytest.mark.parametrize(
    "pieces",
    [
        [[{"arguments": "{"}]],
        [[{"name": "f"}], {"untold": "more"}],
        [[{"name": "f"}], [{"name": "g"}]],
        [[{"name": 3}]],
        [{"text": "f"}],
    ],
)
async def test_calls_that_are_told_without_order_end_the_stream(own: Server, pieces: list[Any]) -> None:
    body = chat_body(own.service.runtime.model.name, json.dumps(pieces), tools=[CLOCK])
    reply = await post(own, "/calling/chat", {**body, "stream": True})
    assert b"bad_answer" in reply.content


@pytest.mark.parametrize("max_output_tokens", [30, 200])
async def test_the_items_of_a_stream_are_those_of_the_whole_response(
    server: Server, model: str, max_output_tokens: int
) -> None:
    tools = [{"type": "function", "name": "get_weather", "parameters": CITY}]
    for place in ("Lima", "Oslo", "Rome"):
        body = {"model": model, "input": f"What is the weather in {place}?", "tools": tools, "temperature": 0}
        body |= {"max_output_tokens": max_output_tokens}
        whole = (await post(server, RESPONSES, body)).body
        content = (await post(server, RESPONSES, {**body, "stream": True})).content.decode()
        told = [json.loads(one.partition("data: ")[2]) for one in content.strip().split("\n\n")]
        assert [without_ids(one) for one in told[-1]["response"]["output"]] == [
            without_ids(one) for one in whole["output"]
        ]
        assert told[-1]["response"]["status"] == whole["status"]
        deltas = [one["delta"] for one in told if one["type"] == "response.function_call_arguments.delta"]
        assert "".join(deltas) == "".join(one["arguments"] for one in whole["output"] if "arguments" in one)
        done = [one["item"] for one in told if one["type"] == "response.output_item.done"]
        assert done == told[-1]["response"]["output"]


async def test_a_message_and_calls_are_items_of_their_own(own: Server) -> None:
    pieces = [[{"name": "f"}, {"arguments": '{"a": 1}'}]]
    tools = [{"type": "function", "name": "f"}]
    body = {"model": own.service.runtime.model.name, "input": json.dumps(pieces), "tools": tools}
    whole = (await post(own, "/calling/responses", body)).body
    assert [item["type"] for item in whole["output"]] == ["message", "function_call", "function_call"]
    content = (await post(own, "/calling/responses", {**body, "stream": True})).content.decode()
    told = [json.loads(one.partition("data: ")[2]) for one in content.strip().split("\n\n")]
    assert [without_ids(one) for one in told[-1]["response"]["output"]] == [without_ids(one) for one in whole["output"]]
    done = [one for one in told if one["type"] == "response.output_item.done"]
    assert [one["output_index"] for one in done] == [0, 1, 2]
    assert [one["sequence_number"] for one in told] == list(range(len(told)))


def without_ids(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in ("id", "call_id")}
