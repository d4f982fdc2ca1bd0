"""Requests that hold an answer to something, drawn from a seed, and what says of an answer whether it is that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from jsonschema import Draft202012Validator
from tests.server.surfaces.client import CHAT, RESPONSES, chat_body
from tests.server.surfaces.constrained.forms import as_ebnf, as_regex, draw_form, draw_rules, fits
from tests.server.surfaces.constrained.schemas import object_schema, root_schema

__all__ = ["INFER", "KINDS", "Case"]

INFER = "/v1/inference/chat"
MAX_TOKENS = 800
CHOICES = (
    "yes", "no", "low", "lower", "lowest", 'a "b"', "\\", "ünder", "日本", "😀", " space", "new\nline",
    "<think>", "|", "true", "1",
)  # fmt: skip
QUESTIONS = ("What is the capital of Norway?", "Tell me a short story.", "Nora is 29 years old.", "List some numbers.")
Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A request and what its answer must be.

    Attributes:
        path: the surface.
        body: of the request; it does not say whether it streams.
        is_valid: of the text of an answer, or of the JSON of its one call, `{"name", "arguments"}`.
    """

    path: str
    body: Body
    is_valid: Callable[[str], bool]


def of_schemas(model: str, random: Random) -> Case:
    """JSON of a schema, on each surface that takes one."""
    schema = root_schema(random)
    match random.choice(["chat", "responses", "infer", "outputs"]):
        case "chat":
            body = _chat(model, random, response_format=_format(schema))
            return Case(CHAT, body, lambda text: _satisfies(json.loads(text), schema))
        case "responses":
            form = {"type": "json_schema", "name": "x", "schema": schema}
            body = {"model": model, "input": random.choice(QUESTIONS), "text": {"format": form}}
            return Case(
                RESPONSES, {**body, "max_output_tokens": MAX_TOKENS}, lambda text: _satisfies(json.loads(text), schema)
            )
        case "infer":
            body = _infer(random, responseFormat=_format(schema))
            return Case(INFER, body, lambda text: _satisfies(json.loads(text), schema))
    beside = {"disable_any_whitespace": True} if random.random() < 0.5 else {}
    return Case(
        INFER,
        _infer(random, structuredOutputs={"json": schema, **beside}),
        lambda text: _satisfies(json.loads(text), schema) and (not beside or _is_compact(text)),
    )


def of_regexes(_model: str, random: Random) -> Case:
    """Text of a regular expression."""
    form = draw_form(random)
    pattern = as_regex(form)
    source = random.choice([pattern, f"^{pattern}$"])
    return Case(
        INFER,
        _infer(random, structuredOutputs={"regex": source}),
        lambda text: re.fullmatch(pattern, text) is not None and fits(form, text),
    )


def of_choices(_model: str, random: Random) -> Case:
    """One of some texts."""
    texts = random.sample(CHOICES, random.randint(1, 6))
    return Case(INFER, _infer(random, structuredOutputs={"choice": texts}), lambda text: text in texts)


def of_grammars(_model: str, random: Random) -> Case:
    """Text of a context-free grammar."""
    rules = draw_rules(random)
    return Case(
        INFER,
        _infer(random, structuredOutputs={"grammar": as_ebnf(rules)}),
        lambda text: fits(rules["root"], text, rules),
    )


def of_tools(model: str, random: Random) -> Case:
    """Calls: one or several of any tools, or one of a tool that is named."""
    names = random.sample(["get_weather", "get_time", "a-b", "x_1", "F"], random.randint(1, 3))
    schemas = {name: object_schema(random) for name in names}
    tools = [{"type": "function", "function": {"name": name, "parameters": schemas[name]}} for name in names]
    wanted = random.choice(names)
    named = {"type": "function", "function": {"name": wanted}}
    choice, allowed = random.choice([("required", names), (named, [wanted])])
    is_chat, is_parallel = random.random() < 0.5, random.random() < 0.5
    is_one = choice == named or (is_chat and not is_parallel)

    def is_valid(text: str) -> bool:
        calls = json.loads(text)
        return (len(calls) == 1 if is_one else len(calls) >= 1) and all(
            call["name"] in allowed and _satisfies(json.loads(call["arguments"]), schemas[call["name"]])
            for call in calls
        )

    if is_chat:
        fields = {"tools": tools, "tool_choice": choice, "parallel_tool_calls": is_parallel}
        return Case(CHAT, _chat(model, random, **fields), is_valid)
    return Case(INFER, _infer(random, tools=tools, toolChoice=choice), is_valid)


KINDS = {
    "schemas": of_schemas,
    "regexes": of_regexes,
    "choices": of_choices,
    "grammars": of_grammars,
    "tools": of_tools,
}
"""What draws a request of each kind, of a model."""


def _chat(model: str, random: Random, **fields: Any) -> Body:
    asked = {"temperature": 1, "seed": random.getrandbits(32), "max_tokens": MAX_TOKENS}
    return chat_body(model, random.choice(QUESTIONS), **{**asked, **fields})


def _infer(random: Random, **fields: Any) -> Body:
    messages = [{"role": "user", "content": random.choice(QUESTIONS)}]
    return {"messages": messages, "temperature": 1, "maxTokens": MAX_TOKENS, **fields}


def _format(schema: Body) -> Body:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def _satisfies(value: Any, schema: Body) -> bool:
    return bool(Draft202012Validator(schema).is_valid(value))


def _is_compact(text: str) -> bool:
    """Whether JSON has no whitespace but in its texts."""
    return re.search(r"\s", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)) is None
