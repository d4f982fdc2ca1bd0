"""The body of `POST /v1/responses`, and the chat request that it comes to: the same program answers both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from pie.server.surfaces.chat_request import (
    ChatRequest,
    Function,
    FunctionName,
    NamedSchema,
    ResponseFormat,
    Tool,
    ToolChoice,
)
from pie.server.surfaces.messages import Call, CalledFunction, Message
from pie.server.surfaces.options import TopLogprobs
from pie.server.surfaces.reading import Count, Fraction, Temperature, Word, bad_value, unsupported

__all__ = ["ResponsesRequest"]


class ContentPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of an item; only text. `annotations` and `logprobs` of earlier answers are taken, and not used."""

    type: str
    text: str | None = None
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


class InputItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message, a call of a tool in an earlier turn, or its result; without a type it is a message."""

    type: Literal["message", "function_call", "function_call_output"] | None = None
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: str | list[ContentPart] | None = None
    call_id: Word | None = None
    name: Word | None = None
    arguments: str | None = None
    output: str | list[ContentPart] | None = None
    id: str | None = None
    status: str | None = None


class ResponsesTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool, which is always a function."""

    type: Literal["function"]
    name: Word
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ResponsesToolChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one function that must be called."""

    type: Literal["function"]
    name: Word


class TextFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"definition": "schema"}):
    """What the answer must be; a grammar holds it, `strict` or not."""

    type: Literal["text", "json_object", "json_schema"]
    name: Word | None = None
    definition: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class TextOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the text is written."""

    format: TextFormat | None = None


class ResponsesRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body. Nothing is stored, so the whole conversation is in `input`."""

    model: Word
    input: str | list[InputItem]
    instructions: str | None = None
    max_output_tokens: Count | None = None
    temperature: Temperature | None = None
    top_p: Fraction | None = None
    tools: list[ResponsesTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ResponsesToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    include: list[Literal["message.output_text.logprobs"]] | None = None
    top_logprobs: TopLogprobs | None = None
    stream: bool | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    def as_chat(self) -> ChatRequest:
        """The same question to the chat surface.

        Raises:
            Refusal: an item is not whole, or something is asked for that there is not.
        """
        if self.store:
            raise unsupported("store")
        if self.previous_response_id is not None:
            raise unsupported("previous_response_id")
        return ChatRequest(
            model=self.model,
            messages=self._messages(),
            max_completion_tokens=self.max_output_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            tools=None if self.tools is None else [_tool(tool) for tool in self.tools],
            tool_choice=_choice(self.tool_choice),
            parallel_tool_calls=self.parallel_tool_calls,
            response_format=self._format(),
            logprobs=True if self.include else None,
            top_logprobs=self.top_logprobs,
            stream=self.stream,
        )

    def _messages(self) -> list[Message]:
        opening = [] if self.instructions is None else [Message(role="system", content=self.instructions)]
        if isinstance(self.input, str):
            return [*opening, Message(role="user", content=self.input)]
        if not self.input:
            raise bad_value("input", "there are no items")
        return [*opening, *_messages(self.input)]

    def _format(self) -> ResponseFormat | None:
        form = self.text.format if self.text is not None else None
        if form is None or form.type != "json_schema":
            return None if form is None else ResponseFormat(type=form.type)
        if form.definition is None:
            raise bad_value("text.format.schema", "a format of json_schema needs a schema")
        return ResponseFormat(type=form.type, json_schema=NamedSchema(form.name or "answer", form.definition))


def _messages(items: Sequence[InputItem]) -> list[Message]:
    """One message for each item, but calls that follow each other are one turn."""
    messages: list[Message] = []
    calls: list[Call] = []
    known: set[str] = set()
    for index, item in enumerate(items):
        place = f"input[{index}]"
        if item.type == "function_call":
            calls.append(_call(item, place))
            known.add(calls[-1].id)
            continue
        if calls:
            messages.append(Message(role="assistant", tool_calls=calls))
            calls = []
        if item.type == "function_call_output":
            if item.call_id not in known:
                raise bad_value(f"{place}.call_id", "a result names no call of an earlier item")
            messages.append(Message("tool", _text(item.output, f"{place}.output"), tool_call_id=item.call_id))
        elif item.role is None:
            raise bad_value(f"{place}.role", "a message has no role")
        else:
            messages.append(Message(item.role, _text(item.content, f"{place}.content")))
    return [*messages, Message(role="assistant", tool_calls=calls)] if calls else messages


def _call(item: InputItem, place: str) -> Call:
    if item.call_id is None or item.name is None:
        raise bad_value(f"{place}.{'name' if item.call_id else 'call_id'}", "a call has no name or no id")
    try:
        arguments = json.loads(item.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise bad_value(f"{place}.arguments", "the arguments of a call are no JSON object")
    return Call(item.call_id, CalledFunction(item.name, item.arguments or "{}"))


def _text(content: str | list[ContentPart] | None, place: str) -> str:
    if content is None:
        raise bad_value(place, "the item has no text")
    if isinstance(content, str):
        return content
    for index, part in enumerate(content):
        if part.type not in ("input_text", "output_text"):
            raise unsupported(f"{place}[{index}].type")
        if part.text is None:
            raise bad_value(f"{place}[{index}].text", "the part has no text")
    return "".join(part.text or "" for part in content)


def _tool(tool: ResponsesTool) -> Tool:
    return Tool("function", Function(tool.name, tool.description, tool.parameters, tool.strict))


def _choice(
    choice: Literal["none", "auto", "required"] | ResponsesToolChoice | None,
) -> Literal["none", "auto", "required"] | ToolChoice | None:
    if isinstance(choice, ResponsesToolChoice):
        return ToolChoice("function", FunctionName(choice.name))
    return choice
