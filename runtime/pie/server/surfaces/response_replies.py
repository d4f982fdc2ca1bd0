"""What `POST /v1/responses` answers, as types: for descriptions of it. `responses.py` writes it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = ["ResponseEvent", "ResponseReply"]

Status = Literal["in_progress", "completed", "incomplete", "failed"]


class LikelyToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token, and the natural logarithm of its probability; its bytes, if it is not in an event."""

    token: str
    logprob: float
    bytes: list[int] | None = None


class OutputLogprobs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token of the text, and the most likely ones at its place; its bytes, if it is not in an event."""

    token: str
    logprob: float
    top_logprobs: list[LikelyToken]
    bytes: list[int] | None = None


class OutputPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The text of a message."""

    type: Literal["output_text"]
    text: str
    annotations: list[Any]
    logprobs: list[OutputLogprobs]


class OutputItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message, with `role` and `content`, or a call of a tool, with `call_id`, `name` and `arguments`, JSON."""

    type: Literal["message", "function_call"]
    id: str
    status: Status
    role: Literal["assistant"] | None = None
    content: list[OutputPart] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class InputTokensDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens of the input that the server knew already."""

    cached_tokens: int


class OutputTokensDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens of the output with which the model thought."""

    reasoning_tokens: int


class ResponseUsage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens that went in and came out."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a response failed."""

    code: str
    message: str


class IncompleteDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a response is not complete."""

    reason: Literal["max_output_tokens"]


class ResponseReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A response; what the request asked for is told again."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Status
    error: ResponseFault | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    output: list[OutputItem]
    parallel_tool_calls: bool
    previous_response_id: None
    store: Literal[False]
    temperature: float
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float
    truncation: Literal["disabled"]
    usage: ResponseUsage | None
    user: str | None


class ResponseEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data of one event, with the fields of its `type`, which is also its name; the last one has the response."""

    type: Literal[
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
        "response.incomplete",
        "response.failed",
    ]
    sequence_number: int
    response: ResponseReply | None = None
    item: OutputItem | None = None
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    part: OutputPart | None = None
    delta: str | None = None
    text: str | None = None
    name: str | None = None
    arguments: str | None = None
    logprobs: list[OutputLogprobs] | None = None
