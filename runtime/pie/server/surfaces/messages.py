"""The messages of a conversation as OpenAI's clients send them, and as programs take them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from pie.server.surfaces.reading import Word, bad_value, unsupported
from pie.server.surfaces.vocabulary import Given
from pie.text.template import ChatTemplate

__all__ = ["Message", "normal_messages"]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of a message; only text."""

    type: str
    text: str | None = None


class CalledFunction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was called: `arguments` is JSON; what a client made of it is taken, and not used."""

    name: Word
    arguments: str
    parsed_arguments: Any = None


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call of a tool in an earlier turn. `index` is taken, and not used."""

    id: Word
    function: CalledFunction
    type: Literal["function"] = "function"
    index: int | None = None


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message. `name` and what clients keep in answers, from `refusal` to `parsed`, say nothing to the model."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None
    parsed: Any = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None


def normal_messages(messages: Sequence[Message], template: ChatTemplate) -> list[Given]:
    """The same conversation in plain words: one text a message, calls with their arguments, results with their tool.

    A turn that calls tools also has its `tokens`, since each family of models writes calls in another way.

    Raises:
        Refusal: `bad-value`, `unsupported-field`.
    """
    if not messages:
        raise bad_value("messages", "there are no messages")
    names: dict[str, str] = {}
    normal = [_normal(message, f"messages[{index}]", names) for index, message in enumerate(messages)]
    for turn in normal:
        if "tool_calls" in turn:
            calls = [(call["name"], call["arguments"]) for call in turn["tool_calls"]]
            turn["tokens"] = template.assistant(turn["content"], tool_calls=calls)
    return normal


def _normal(message: Message, place: str, names: dict[str, str]) -> Given:
    role = "system" if message.role == "developer" else message.role
    if message.tool_calls and role != "assistant":
        raise bad_value(f"{place}.tool_calls", f"a message of the role {role} calls no tools")
    if role == "tool":
        called = names.get(message.tool_call_id or "")
        if called is None:
            raise bad_value(f"{place}.tool_call_id", "a tool's message names no call of an earlier message")
        return {"role": role, "name": called, "content": _text(message, place)}
    if not message.tool_calls:
        return {"role": role, "content": _text(message, place)}
    calls = [_call(call, f"{place}.tool_calls[{index}]") for index, call in enumerate(message.tool_calls)]
    names |= {call.id: call.function.name for call in message.tool_calls}
    text = "" if message.content is None else _text(message, place)
    return {"role": role, "content": text, "tool_calls": calls}


def _call(call: Call, place: str) -> Given:
    try:
        arguments = json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise bad_value(f"{place}.function.arguments", "the arguments of a call are no JSON object")
    return {"name": call.function.name, "arguments": arguments}


def _text(message: Message, place: str) -> str:
    if message.content is None:
        raise bad_value(f"{place}.content", "the message has no content")
    if isinstance(message.content, str):
        return message.content
    return "".join(_part(part, f"{place}.content[{index}]") for index, part in enumerate(message.content))


def _part(part: Part, place: str) -> str:
    if part.type not in ("text", "input_text"):
        raise unsupported(f"{place}.type")
    if part.text is None:
        raise bad_value(f"{place}.text", "the part has no text")
    return part.text
