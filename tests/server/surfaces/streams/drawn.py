"""Requests drawn from a seed, over all fields that change an answer, and what was told in answer to one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.server.surfaces.client import CHAT, COMPLETIONS, RESPONSES, Reply

__all__ = ["SURFACES", "Surface", "Told", "data_of"]

INFER = "/v1/inference/chat"
QUESTIONS = (
    "What is the capital of Norway?", "Tell me a short story.", "What is 47 + 38?", "What is the weather in Lima?",
    "Repeat this word: ünder", "Extract JSON with the keys name, age: Nora is 29 years old.",
)  # fmt: skip
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 9}}, "required": ["city"]}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 9}, "age": {"type": "integer", "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer tells, whole or in events.

    Attributes:
        text: all of it.
        calls: the name and the arguments of each.
        reason: why it ended.
        usage: tokens of the prompt and of the answer; None where they are not told.
        logprobs: the tokens of which they are told.
    """

    text: str
    calls: tuple[tuple[str, str], ...]
    reason: str
    usage: tuple[int, int] | None
    logprobs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Surface:
    """One surface.

    Attributes:
        path: of a model.
        draw: a request.
        stop: the field of stop texts; empty where there is none.
        whole, joined: what a reply tells, in one piece or as a stream.
    """

    path: Callable[[str], str]
    draw: Callable[[str, Random], Body]
    stop: str
    whole: Callable[[Any], Told]
    joined: Callable[[list[Any]], Told]


def draw_chat(model: str, random: Random) -> Body:
    """A chat completion."""
    body: Body = {
        "model": model,
        "messages": [{"role": "user", "content": random.choice(QUESTIONS)}],
        "max_tokens": random.choice([1, 7, 30, 60]),
        **_sampling(random),
        **_penalties(random),
        **random.choice([{}, {}, {"logprobs": True}, {"top_logprobs": 2}]),
    }
    match random.choice(["text", "text", "tools", "call", "schema", "object"]):
        case "tools":
            body |= {"tools": [_tool()], "parallel_tool_calls": random.random() < 0.5}
        case "call":
            body |= {"tools": [_tool()], "tool_choice": "required", "max_tokens": 100}
        case "schema":
            body["response_format"] = _format()
        case "object":
            body["response_format"] = {"type": "json_object"}
    return body


def draw_infer(_model: str, random: Random) -> Body:
    """A request to `/v1/inference/chat`, which knows no seed: the most likely tokens, or the one text that there is."""
    body: Body = {
        "messages": [{"role": "user", "content": random.choice(QUESTIONS)}],
        "temperature": 0,
        "maxTokens": random.choice([1, 7, 30, 60]),
    }
    fields: list[Body] = [
        {},
        {"tools": [_tool()]},
        {"tools": [_tool()], "toolChoice": "required", "maxTokens": 100},
        {"responseFormat": _format()},
        {"structuredOutputs": {"regex": "(a|é|日){1,20}"}},
        {"structuredOutputs": {"choice": ["under the sky", "ünder", "日本"]}},
        {"structuredOutputs": {"json": PERSON, "disable_any_whitespace": True}},
    ]
    return {**body, **random.choice(fields)}


def draw_completion(model: str, random: Random) -> Body:
    """A completion."""
    body: Body = {
        "model": model,
        "prompt": random.choice(["Once upon a time", "The capital of Norway is", "日本", "{"]),
        "max_tokens": random.choice([1, 7, 30, 60]),
        **_sampling(random),
        **_penalties(random),
    }
    return {**body, **random.choice([{}, {"echo": True}, {"logprobs": 0}, {"logprobs": 3}])}


def draw_generation(_model: str, random: Random) -> Body:
    """A request to `/v1/generate`."""
    prompt = random.choice(["Once upon a time", "The capital of Norway is", "日本", "{"])
    return {"prompt": prompt, "max_new_tokens": random.choice([1, 7, 30, 60]), **_sampling(random)}


def draw_response(model: str, random: Random) -> Body:
    """A request to `/v1/responses`, which knows no seed."""
    body: Body = {
        "model": model,
        "input": random.choice(QUESTIONS),
        "temperature": 0,
        "max_output_tokens": random.choice([1, 7, 30, 60]),
    }
    tool = {"type": "function", **_tool()["function"]}
    fields: list[Body] = [
        {},
        {"instructions": "Answer in one sentence."},
        {"tools": [tool]},
        {"tools": [tool], "tool_choice": "required", "max_output_tokens": 100},
        {"text": {"format": {"type": "json_schema", "name": "person", "schema": PERSON}}},
        {"text": {"format": {"type": "json_object"}}},
    ]
    return {**body, **random.choice(fields)}


def _sampling(random: Random) -> Body:
    return {
        "seed": random.getrandbits(40),
        "temperature": random.choice([0, 0.7, 1, 1.6, 2]),
        **random.choice([{}, {"top_p": 0.8}, {"top_k": 40}]),
    }


def _penalties(random: Random) -> Body:
    return random.choice([{}, {}, {"repetition_penalty": 1.3}, {"frequency_penalty": 1}, {"logit_bias": {"300": 5}}])


def _tool() -> Body:
    function = {"name": "get_weather", "description": "Get the weather", "parameters": CITY}
    return {"type": "function", "function": function}


def _format() -> Body:
    return {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}


def _usage(body: Any) -> tuple[int, int]:
    return body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]


def _chat_whole(body: Any) -> Told:
    (choice,) = body["choices"]
    message = choice["message"]
    calls = [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls", [])]
    return Told(
        message["content"] or "", tuple(calls), choice["finish_reason"], _usage(body), _tokens([choice["logprobs"]])
    )


def _chat_joined(chunks: list[Any]) -> Told:
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    calls: list[list[str]] = []
    for delta in [one for choice in choices for one in choice["delta"].get("tool_calls", [])]:
        if "id" in delta:
            calls.append([delta["function"]["name"], ""])
        calls[delta["index"]][1] += delta["function"]["arguments"]
    usage = next((_usage(chunk) for chunk in chunks if chunk.get("usage")), None)
    return Told(
        "".join(choice["delta"].get("content") or "" for choice in choices),
        tuple((name, arguments) for name, arguments in calls),
        choices[-1]["finish_reason"],
        usage,
        _tokens([choice["logprobs"] for choice in choices]),
    )


def _tokens(told: list[Any]) -> tuple[str, ...]:
    return tuple(one["token"] for each in told if each for one in each["content"])


def _completion_whole(body: Any) -> Told:
    return _completion([body], _usage(body))


def _completion_joined(chunks: list[Any]) -> Told:
    return _completion(chunks, next((_usage(chunk) for chunk in chunks if chunk.get("usage")), None))


def _completion(told: list[Any], usage: tuple[int, int] | None) -> Told:
    choices = [choice for each in told for choice in each["choices"]]
    tokens = [token for choice in choices if choice["logprobs"] for token in choice["logprobs"]["tokens"]]
    return Told("".join(choice["text"] for choice in choices), (), choices[-1]["finish_reason"], usage, tuple(tokens))


def _generation_whole(body: Any) -> Told:
    return Told(body["text"], (), body["finish_reason"], _usage(body))


def _generation_joined(chunks: list[Any]) -> Told:
    text = "".join(chunk["text_delta"] for chunk in chunks)
    return Told(text, (), chunks[-1]["finish_reason"], _usage(chunks[-1]))


def _response_whole(body: Any) -> Told:
    parts = [part["text"] for item in body["output"] if item["type"] == "message" for part in item["content"]]
    calls = [(item["name"], item["arguments"]) for item in body["output"] if item["type"] == "function_call"]
    usage = body["usage"]["input_tokens"], body["usage"]["output_tokens"]
    return Told("".join(parts), tuple(calls), body["status"], usage)


def _response_joined(events: list[Any]) -> Told:
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    last = _response_whole(events[-1]["response"])
    arguments: dict[int, str] = {}
    for event in events:
        if event["type"] == "response.function_call_arguments.delta":
            place = event["output_index"]
            arguments[place] = arguments.get(place, "") + event["delta"]
    if text != last.text or [*arguments.values()] != [each for _, each in last.calls]:
        raise AssertionError(f"the last event does not tell what came before it: {last}")
    return last


SURFACES = {
    "chat": Surface(lambda _model: CHAT, draw_chat, "stop", _chat_whole, _chat_joined),
    "infer": Surface(lambda _model: INFER, draw_infer, "", _chat_whole, _chat_joined),
    "completions": Surface(lambda _model: COMPLETIONS, draw_completion, "stop", _completion_whole, _completion_joined),
    "generate": Surface(
        lambda model: f"/v1/generate/{model}", draw_generation, "stop", _generation_whole, _generation_joined
    ),
    "responses": Surface(lambda _model: RESPONSES, draw_response, "", _response_whole, _response_joined),
}


def data_of(reply: Reply) -> list[Any]:
    """The JSON of the events of a stream, pings apart."""
    events = [event.rpartition("data: ")[2] for event in reply.content.decode().split("\n\n")]
    return [json.loads(data) for data in events if data not in ("", "{}", "[DONE]")]
