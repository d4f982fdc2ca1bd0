"""The body of `POST /v1/chat/completions`, and the input of a program that it comes to."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from pie.host.served_models import ServedModels
from pie.server.surfaces.messages import Message, normal_messages
from pie.server.surfaces.options import Options, TopLogprobs
from pie.server.surfaces.reading import Count, Word, bad_value
from pie.server.surfaces.vocabulary import Given

__all__ = ["ChatRequest"]

NO_PARAMETERS: Given = {"type": "object", "properties": {}, "additionalProperties": False}


class Function(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A function that the model may call; forced calls fit the parameters whether it is `strict` or not."""

    name: Word
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool, which is always a function."""

    type: Literal["function"]
    function: Function

    def normal(self) -> Given:
        """As programs take it."""
        parameters = self.function.parameters or NO_PARAMETERS
        return {"name": self.function.name, "description": self.function.description or "", "parameters": parameters}


class FunctionName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names a function."""

    name: Word


class ToolChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one function that must be called."""

    type: Literal["function"]
    function: FunctionName


class NamedSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"definition": "schema"}):
    """A JSON Schema that the answer satisfies, whether it is `strict` or not."""

    name: Word
    definition: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the answer must be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


class ChatRequest(Options, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body; what other surfaces have too is in `Options`."""

    messages: list[Message]
    max_completion_tokens: Count | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs | None = None

    def normal(self, models: ServedModels) -> Given:
        """The input of the program.

        Raises:
            Refusal: fields contradict each other, or ask for what there is not.
        """
        given = self.normal_options(models)
        if self.max_completion_tokens is not None:
            given["max_tokens"] = self.max_completion_tokens
        if self.num_logprobs is not None:
            given["logprobs"] = self.num_logprobs
        given["messages"] = normal_messages(self.messages, models[self.model].template)
        return {**given, **self._normal_tools(), **self._normal_format()}

    @property
    def num_logprobs(self) -> int | None:
        """How many of the most likely tokens are told with each; None tells neither.

        Raises:
            Refusal: the two fields contradict each other.
        """
        if self.top_logprobs and self.logprobs is False:
            raise bad_value("top_logprobs", "top_logprobs is more than 0 and logprobs is false")
        return self.top_logprobs or 0 if self.logprobs or self.top_logprobs else None

    def _normal_tools(self) -> Given:
        tools = self.tools or []
        choice = self.tool_choice
        if not tools:
            if choice not in (None, "none", "auto"):
                raise bad_value("tool_choice", "a tool must be called, and there are no tools")
            return {}
        names = [tool.function.name for tool in tools]
        if isinstance(choice, ToolChoice) and choice.function.name not in names:
            raise bad_value("tool_choice", f"tool_choice names {choice.function.name!r}, which is no tool")
        if len(set(names)) < len(names):
            raise bad_value("tools", "two tools have the same name")
        return {
            "tools": [tool.normal() for tool in tools],
            "tool_choice": {"name": choice.function.name} if isinstance(choice, ToolChoice) else choice or "auto",
            "parallel_tool_calls": self.parallel_tool_calls is not False,
        }

    def _normal_format(self) -> Given:
        form = self.response_format
        if form is None or form.type == "text":
            return {}
        if form.type == "json_object":
            return {"json_schema": {"type": "object"}}
        if form.json_schema is None or form.json_schema.definition is None:
            raise bad_value("response_format.json_schema", "a response_format of json_schema needs a schema")
        return {"json_schema": form.json_schema.definition}
