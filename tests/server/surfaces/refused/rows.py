"""What the surfaces must refuse: a request that is answered, what is changed in it, and what must be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["CHAT", "COMPLETIONS", "EMBEDDINGS", "GENERATE", "GOOD", "INFER", "RESPONSES", "ROWS", "TASK", "Row"]

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
GENERATE, EMBEDDINGS, INFER, TASK = "/v1/generate/MODEL", "/v1/embeddings", "/v1/inference/chat", "/inference/chat"
Body = dict[str, Any]

USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f"}}
OTHER = {"type": "function", "function": {"name": "g"}}
ITEM_TOOL = {"type": "function", "name": "f"}
GOOD: dict[str, Body] = {
    CHAT: {"model": "MODEL", "messages": [USER], "max_tokens": 2},
    COMPLETIONS: {"model": "MODEL", "prompt": "Hi", "max_tokens": 2},
    RESPONSES: {"model": "MODEL", "input": "Hi", "max_output_tokens": 2},
    GENERATE: {"prompt": "Hi", "max_new_tokens": 2},
    EMBEDDINGS: {"model": "MODEL", "input": "Hi"},
    INFER: {"messages": [USER], "maxTokens": 2, "stream": False},
    TASK: {"model_id": "MODEL", "messages": [USER], "parameters": {"max_tokens": 2}},
}
"""A request to each surface that is answered; MODEL stands for the served model."""


@dataclass(frozen=True, slots=True)
class Row:
    """One refusal.

    Attributes:
        path: of the surface.
        fields: put into the request; None of a field that must be there is as good as its absence.
        code, param, status: what must be told.
    """

    path: str
    fields: Body
    code: str
    param: str | None
    status: int = 400


def bad(path: str, param: str, value: Any, **others: Any) -> Row:
    """A field with a value that it cannot have; `others` are beside it."""
    return Row(path, {param: value, **others}, "bad_value", param)


def unsupported(path: str, param: str, value: Any = "x") -> Row:
    """A field that there is not."""
    return Row(path, {param: value}, "unsupported_field", param)


def message(path: str, wrong: Body, code: str, place: str) -> Row:
    """A conversation whose second message is wrong at a place."""
    return Row(path, {"messages": [USER, wrong]}, code, f"messages[1].{place}")


def outputs(wrong: Body, place: str = "", code: str = "bad_value") -> Row:
    """`structuredOutputs` that are wrong at a place."""
    return Row(INFER, {"structuredOutputs": wrong}, code, f"structuredOutputs{place}")


def strict(schema: Any) -> Row:
    """A schema of `responseFormat` that is not strict, or none at all."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    return Row(INFER, {"responseFormat": form}, "invalid_schema", "responseFormat.json_schema.schema")


def parameter(name: str, value: Any, code: str = "bad_value") -> Row:
    """A parameter of a task."""
    return Row(TASK, {"parameters": {name: value}}, code, f"parameters.{name}")


CLOSED = {"type": "object", "additionalProperties": False}
SAMPLING = [
    *(bad(path, "temperature", value) for path in (CHAT, COMPLETIONS, GENERATE, RESPONSES, INFER)
      for value in (-1, 2.1)),
    *(bad(path, "top_p", value) for path in (CHAT, COMPLETIONS, GENERATE, RESPONSES) for value in (0, 1.1)),
    *(bad(path, "top_k", value) for path in (CHAT, COMPLETIONS, GENERATE) for value in (0, 1.5)),
    *(bad(path, "max_tokens", value) for path in (CHAT, COMPLETIONS) for value in (0, -1, 2.5)),
    bad(CHAT, "max_completion_tokens", 0),
    bad(GENERATE, "max_new_tokens", 0),
    bad(RESPONSES, "max_output_tokens", 0),
    bad(INFER, "maxTokens", 0),
    bad(INFER, "topP", 0),
    *(bad(path, "seed", 2**63) for path in (CHAT, COMPLETIONS, GENERATE)),
    *(bad(path, name, value) for path in (CHAT, COMPLETIONS) for name in ("frequency_penalty", "presence_penalty")
      for value in (-2.1, 2.1)),
    *(bad(path, "repetition_penalty", value) for path in (CHAT, COMPLETIONS) for value in (0, -1, 2.1)),
    *(bad(path, name, value) for path in (CHAT, COMPLETIONS) for name in ("n", "best_of") for value in (0, 129)),
    *(bad(path, "best_of", 2, **beside) for path in (CHAT, COMPLETIONS) for beside in ({"n": 3}, {"stream": True})),
    *(Row(path, {"logit_bias": {"1": value}}, "bad_value", "logit_bias[...]") for path in (CHAT, COMPLETIONS)
      for value in (-100.5, 101)),
    *(bad(path, "logit_bias", {token: 1}) for path in (CHAT, COMPLETIONS)
      for token in ("x", "-1", "999999", "1.0", "")),
    bad(CHAT, "logit_bias", {str(token): 1 for token in range(1025)}),
    *(Row(path, {"stop": [""]}, "bad_value", "stop[0]") for path in (CHAT, COMPLETIONS, GENERATE)),
    *(bad(path, "stop", value) for path in (CHAT, COMPLETIONS, GENERATE) for value in ("", ["a"] * 65, "a" * 1025)),
    *(bad(path, "lora_adapter", "") for path in (CHAT, COMPLETIONS, GENERATE)),
    *(Row(path, {"lora_adapter": "none"}, "unknown_lora", None) for path in (CHAT, COMPLETIONS, GENERATE)),
]  # fmt: skip
"""S2, S4 and S7: how tokens are drawn."""

ROWS: dict[str, list[Row]] = {
    "S2: tokens": SAMPLING,
    "S2: logprobs": [bad(CHAT, "top_logprobs", -1), bad(CHAT, "top_logprobs", 21), bad(COMPLETIONS, "logprobs", 21)],
    "S2: stream_options": [
        bad(CHAT, "stream_options", {"include_usage": True}),
        Row(CHAT, {"stream": True, "stream_options": {"x": 1}}, "unsupported_field", "stream_options.x"),
    ],
    "S2: tools": [
        bad(CHAT, "tool_choice", "required"),
        bad(CHAT, "tool_choice", "all", tools=[TOOL]),
        bad(CHAT, "tool_choice", OTHER, tools=[TOOL]),
        bad(CHAT, "tools", [TOOL, TOOL]),
        Row(CHAT, {"tools": [{"type": "code"}]}, "bad_value", "tools[0].type"),
        Row(CHAT, {"tools": [{"type": "function"}]}, "bad_value", "tools[0].function"),
        bad(CHAT, "parallel_tool_calls", "yes"),
    ],
    "S2: formats": [
        Row(CHAT, {"response_format": {"type": "xml"}}, "bad_value", "response_format.type"),
        Row(CHAT, {"response_format": {"type": "json_schema"}}, "bad_value", "response_format.json_schema"),
    ],
    "S3: other fields": [
        *(unsupported(path, "audio") for path in GOOD),
        *(unsupported(path, "model") for path in (GENERATE, INFER, TASK)),
        *(unsupported(COMPLETIONS, name) for name in ("messages", "suffix")),
        *(unsupported(INFER, name) for name in ("top_p", "max_tokens", "tool_choice", "seed", "response_format")),
        *(unsupported(GENERATE, name, 1) for name in ("n", "max_tokens", "logprobs")),
        *(unsupported(RESPONSES, name) for name in ("messages", "max_tokens", "previous_response_id")),
        unsupported(RESPONSES, "store", value=True),
        unsupported(EMBEDDINGS, "dimensions", 3),
    ],
    "S3: parts": [
        message(path, {"role": "user", "content": [part]}, "unsupported_field", f"content[0].{place}")
        for path in (CHAT, INFER)
        for part, place in (
            ({"type": "image_url", "image_url": {"url": "x"}}, "image_url"),
            ({"type": "input_image"}, "type"),
            ({"type": "image_url"}, "type"),
        )
    ],
    "S3: roles": [
        message(CHAT, {"role": "tool", "content": "x"}, "bad_value", "tool_call_id"),
        message(CHAT, {"role": "tool", "content": "x", "tool_call_id": "unknown"}, "bad_value", "tool_call_id"),
        message(CHAT, {"role": "robot", "content": "x"}, "bad_value", "role"),
        message(CHAT, {"content": "x"}, "bad_value", "role"),
        message(CHAT, {"role": "user"}, "bad_value", "content"),
        message(CHAT, {"role": "assistant"}, "bad_value", "content"),
        message(CHAT, {**USER, "tool_calls": [{"id": "a", **TOOL}]}, "bad_value", "tool_calls[0].function.arguments"),
    ],
    "S4: choices": [
        bad(CHAT, "n", 2, stream=True),
        bad(COMPLETIONS, "n", 2, stream=True),
        bad(COMPLETIONS, "prompt", ["a", "b"], stream=True),
        bad(COMPLETIONS, "prompt", ["a"] * 129),
        bad(COMPLETIONS, "prompt", ["a"] * 65, n=2),
        bad(CHAT, "top_logprobs", 1, logprobs=False),
        bad(COMPLETIONS, "logprobs", 1, echo=True),
    ],
    "S7: what must be there": [
        *(bad(path, "prompt", value) for path in (COMPLETIONS, GENERATE) for value in (None, "")),
        bad(GENERATE, "prompt", ["a"]),
        bad(GENERATE, "max_new_tokens", None),
        bad(CHAT, "messages", None),
        bad(CHAT, "messages", []),
        bad(RESPONSES, "input", None),
        bad(RESPONSES, "input", []),
        bad(EMBEDDINGS, "input", None),
        bad(EMBEDDINGS, "input", ""),
        bad(EMBEDDINGS, "input", []),
        bad(EMBEDDINGS, "input", ["a", 1]),
        *(bad(path, "model", None) for path in (CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS)),
    ],
    "S9: a context that is full": [
        Row(CHAT, {"messages": [{"role": "user", "content": "word " * 9000}]}, "context_exceeded", None),
        Row(GENERATE, {"prompt": "word " * 9000}, "context_exceeded", None),
        Row(COMPLETIONS, {"prompt": "word " * 9000}, "context_exceeded", None),
        Row(RESPONSES, {"input": "word " * 9000}, "context_exceeded", None),
    ],
    "S10: models": [
        *(
            Row(path, {"model": "gpt-9"}, "model_not_found", "model", 404)
            for path in (CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS)
        ),
        Row(INFER, {"baseModel": "gpt-9"}, "model_not_found", "baseModel", 404),
    ],
    "Responses: items": [
        Row(RESPONSES, {"input": [{"role": "user"}]}, "bad_value", "input[0].content"),
        Row(RESPONSES, {"input": [{"content": "x"}]}, "bad_value", "input[0].role"),
        Row(RESPONSES, {"input": [{"type": "function_call_output", "output": "x"}]}, "bad_value", "input[0].call_id"),
        Row(RESPONSES, {"input": [{"type": "function_call", "call_id": "c"}]}, "bad_value", "input[0].name"),
        bad(RESPONSES, "tool_choice", "required"),
        bad(RESPONSES, "tool_choice", {"type": "function", "name": "g"}, tools=[ITEM_TOOL]),
        Row(RESPONSES, {"text": {"format": {"type": "json_schema", "name": "x"}}}, "bad_value", "text.format.schema"),
    ],
    "A1: fields": [
        bad(INFER, "stream", None),
        bad(INFER, "messages", None),
        bad(INFER, "messages", []),
        bad(INFER, "baseModel", ""),
    ],
    "A2: turns": [
        message(INFER, {"role": "assistant"}, "bad_value", "content"),
        message(INFER, {"role": "assistant", "tool_calls": []}, "bad_value", "content"),
        message(INFER, {"role": "tool", "content": "x"}, "bad_value", "tool_call_id"),
        message(INFER, {"role": "function", "content": "x"}, "bad_value", "role"),
    ],
    "A5: tools": [
        bad(INFER, "toolChoice", "required"),
        bad(INFER, "toolChoice", OTHER, tools=[TOOL]),
        bad(INFER, "tools", [TOOL, TOOL]),
    ],
    "A6: schemas": [
        strict({"type": "object"}),
        strict({**CLOSED, "properties": {"a": {}}}),
        strict({**CLOSED, "properties": {"a": {"type": "object"}}, "required": ["a"]}),
        strict({"type": "thing"}),
        Row(INFER, {"responseFormat": {"type": "json_schema"}}, "bad_value", "responseFormat.json_schema"),
        Row(INFER, {"responseFormat": {"type": "yaml"}}, "bad_value", "responseFormat.type"),
        Row(
            INFER,
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "thing"}}}]},
            "invalid_schema",
            "tools[0].function.parameters",
        ),
    ],
    "A7: structuredOutputs": [
        outputs({}),
        outputs({"regex": "a", "choice": ["a"]}),
        outputs({"json": {}, "json_object": True}),
        outputs({"json_object": False}, ".json_object"),
        outputs({"choice": []}, ".choice"),
        outputs({"choice": [""]}, ".choice[0]"),
        outputs({"choice": ["a"] * 1025}, ".choice"),
        outputs({"grammar": ""}, ".grammar"),
        outputs({"grammar": " \n"}, ".grammar"),
        outputs({"regex": ""}, ".regex"),
        outputs({"json": {"type": 3}}, ".json", "invalid_schema"),
        outputs({"structural_tag": {}}, ".structural_tag", "unsupported_field"),
        outputs({"json": {}, "whitespace_pattern": "x"}, ".whitespace_pattern", "bad_value"),
        outputs({"regex": "a", "disable_any_whitespace": True}, ".disable_any_whitespace"),
        outputs({"json_object": True, "disable_additional_properties": True}, ".disable_additional_properties"),
        bad(INFER, "structuredOutputs", {"regex": "a"}, responseFormat={"type": "json_object"}),
        bad(INFER, "structuredOutputs", {"regex": "a"}, tools=[TOOL], toolChoice="required"),
        Row(INFER, {"structuredOutputs": {"regex": "("}}, "bad_regex", None),
        Row(INFER, {"structuredOutputs": {"grammar": "nothing"}}, "bad_ebnf", None),
        Row(INFER, {"structuredOutputs": {"json": {"not": {}}}}, "bad_schema", None),
    ],
    "A10: adapters": [
        Row(INFER, {"adapter": {"kind": "best", "jobId": "a"}}, "bad_value", "adapter.kind"),
        Row(INFER, {"adapter": {"kind": "final"}}, "bad_value", "adapter.jobId"),
        Row(INFER, {"adapter": {"kind": "final", "jobId": "a", "step": 1}}, "bad_value", "adapter.step"),
        Row(INFER, {"adapter": {"kind": "checkpoint", "jobId": "a"}}, "bad_value", "adapter.step"),
        Row(INFER, {"adapter": {"kind": "checkpoint", "jobId": "a", "step": 1}}, "unknown_lora", None),
        Row(INFER, {"adapter": {"kind": "final", "jobId": "a"}}, "unknown_lora", None),
    ],
    "K1: what must be there": [
        bad(TASK, "model_id", None),
        bad(TASK, "messages", None),
        bad(TASK, "messages", []),
        message(TASK, {"role": "tool", "content": "x"}, "bad_value", "role"),
        message(TASK, {"role": "user"}, "bad_value", "content"),
        message(TASK, {"role": "user", "content": [{"type": "text", "text": "x"}]}, "bad_value", "content"),
        Row(TASK, {"model_id": "gpt-9"}, "model_not_found", "model_id", 404),
    ],
    "K2: parameters": [
        parameter("temperature", -0.1),
        parameter("temperature", 2.1),
        parameter("max_tokens", 0),
        parameter("top_p", 0),
        parameter("top_p", 1.1),
        parameter("top_k", 0),
        parameter("seed", 2**63),
        parameter("frequency_penalty", 2.1),
        parameter("presence_penalty", -2.1),
        parameter("repetition_penalty", 0),
        parameter("logit_bias", {"x": 1}),
        *(parameter(name, 1, "unsupported_field") for name in ("beam_width", "stream", "n", "tools", "logprobs")),
    ],
}
"""By the lines of the lists that they are of."""
