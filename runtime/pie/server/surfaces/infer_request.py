"""The body of `POST /v1/inference/chat`, and the chat completion that it stands for."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pie.host.served_model import ServedModel
from pie.host.served_models import ServedModels
from pie.server.surfaces.chat_request import ChatRequest, ResponseFormat, Tool, ToolChoice
from pie.server.surfaces.messages import Message
from pie.server.surfaces.reading import Count, Fraction, Temperature, Word, bad_value
from pie.server.surfaces.refusal import Refusal
from pie.server.surfaces.schemas import check_schema, check_strict
from pie.server.surfaces.structured import StructuredOutputs
from pie.server.surfaces.vocabulary import Given

__all__ = ["InferRequest"]

CAMEL = {"tool_choice": "toolChoice", "response_format": "responseFormat", "model": "baseModel"}
SCHEMA = "responseFormat.json_schema.schema"


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which adapter of the user: what a job ended with, or had at a step."""

    kind: Literal["final", "checkpoint"]
    job_id: Word
    step: Annotated[int, Meta(ge=0)] | None = None

    @property
    def name(self) -> str:
        """The adapter's name.

        Raises:
            Refusal: `bad-value`.
        """
        if (self.step is None) != (self.kind == "final"):
            raise bad_value("adapter.step", "a checkpoint has a step, and a final adapter has none")
        return self.job_id if self.step is None else f"{self.job_id}@{self.step}"


class InferRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """The body; what is in messages, tools and formats is as in chat completions."""

    messages: list[Message]
    adapter: Address | None = None
    base_model: Word | None = None
    temperature: Temperature | None = None
    top_p: Fraction | None = None
    max_tokens: Count | None = None
    stream: bool = True
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None

    def chat(self, default_model: str) -> ChatRequest:
        """The same as a chat completion, but for `structuredOutputs`."""
        return ChatRequest(
            model=self.base_model or default_model,
            messages=self.messages,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            stream=self.stream,
            tools=self.tools,
            tool_choice=self.tool_choice,
            response_format=self.response_format,
            lora_adapter=None if self.adapter is None else self.adapter.name,
        )

    def normal(self, chat: ChatRequest, models: ServedModels) -> Given:
        """The input of the program.

        Raises:
            Refusal: fields contradict each other, or ask for what there is not.
        """
        try:
            given = chat.normal(models)
        except Refusal as refusal:
            raise refusal.at(_camel(refusal.param)) from None
        self._check_schemas()
        self._check_tools(models[chat.model])
        return {**given, **self._constraint()}

    def _check_schemas(self) -> None:
        for index, tool in enumerate(self.tools or []):
            if tool.function.parameters is not None:
                check_schema(tool.function.parameters, f"tools[{index}].function.parameters")
        form = self.response_format and self.response_format.json_schema
        if form and form.definition is not None:
            check_schema(form.definition, SCHEMA)
            if form.strict:
                check_strict(form.definition, SCHEMA)

    def _check_tools(self, model: ServedModel) -> None:
        if self.tools and self.tool_choice != "none" and model.template.markers.tools is None:
            raise Refusal(
                "no-tool-format",
                "the model's chat template has no form for calls of tools",
                remedy="Leave the tools out, or take a model whose template has one.",
            ).at("tools")

    def _constraint(self) -> Given:
        if self.structured_outputs is None:
            return {}
        if self.response_format is not None and self.response_format.type != "text":
            raise bad_value("structuredOutputs", "responseFormat says already what the answer is held to")
        if self.tools and self.tool_choice not in (None, "auto", "none"):
            raise bad_value("structuredOutputs", "toolChoice says already what the answer is held to")
        return self.structured_outputs.normal()


def _camel(param: str | None) -> str:
    """A field of a chat completion as this surface calls it."""
    name, dot, rest = (param or "body").partition(".")
    return f"{CAMEL.get(name, name)}{dot}{rest}"
