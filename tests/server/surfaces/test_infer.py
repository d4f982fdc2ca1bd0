"""`/v1/inference/chat`: its fields, what answers are held to, and what it sends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.folders import write_peft
from tests.running import RunProgram
from tests.server.surfaces.client import events, joined, post

from pie.server.server import Server
from pie.text.markers import Markers

pytestmark = pytest.mark.asyncio(loop_scope="session")

INFER = "/v1/inference/chat?orgSlug=acme&projectSlug=demo"
USER = {"role": "user", "content": "What is the capital of Norway?"}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Oslo", "Bergen"]}}, "required": ["city"]},
    },
}


def infer_body(**fields: Any) -> dict[str, Any]:
    return {"messages": [USER], "maxTokens": 60, "temperature": 0, "stream": False, **fields}


async def content(server: Server, **fields: Any) -> str:
    (choice,) = (await post(server, INFER, infer_body(**fields))).body["choices"]
    text = choice["message"]["content"]
    assert isinstance(text, str)
    return text


async def test_it_streams_unless_it_is_told_not_to(server: Server) -> None:
    whole = await content(server)
    assert "Oslo" in whole
    body = infer_body()
    del body["stream"]
    reply = await post(server, INFER, body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    *told, last, rest = reply.content.decode().split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    chunks = [json.loads(each.removeprefix("data: ")) for each in told]
    assert joined(chunks) == whole
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_the_model_is_the_default_one_or_named(server: Server) -> None:
    name = server.service.runtime.model.name
    for fields in ({}, {"baseModel": name}):
        assert (await post(server, INFER, infer_body(**fields))).body["model"] == name
    assert (await post(server, INFER, infer_body(baseModel="no"))).error == (404, "model_not_found", "baseModel")


async def test_an_adapter_of_a_job_and_one_of_its_steps(
    server: Server, run_program: RunProgram, peft_folder: Path
) -> None:
    write_peft(peft_folder, "job-1", 1)
    text = (
        "from inferlet import Adapter, Model\nasync def main(input):\n    for name in ('job-1', 'job-1@50'):\n        "
    )
    await run_program(text + "Adapter.create(Model.default(), name).load('job-1')")
    plain = await content(server, maxTokens=8)
    final = await content(server, maxTokens=8, adapter={"kind": "final", "jobId": "job-1"})
    checkpoint = {"kind": "checkpoint", "jobId": "job-1", "step": 50}
    assert plain != final == await content(server, maxTokens=8, adapter=checkpoint)
    reply = await post(server, INFER, infer_body(adapter={**checkpoint, "step": 51}))
    assert reply.error == (400, "unknown_lora", None)
    assert "'job-1@51'" in reply.body["error"]["message"]
    await run_program(text + "Adapter.open(Model.default(), name).destroy()")


@pytest.mark.parametrize(
    ("outputs", "pattern"),
    [
        ({"choice": ["low", 'a "b" | \\ c', "ünder"]}, r'low|a "b" \| \\ c|ünder'),
        ({"regex": "^[A-Z]{3}-\\d{4}$"}, r"[A-Z]{3}-\d{4}"),
        ({"grammar": 'root ::= "zero" | "one" | "two"'}, "zero|one|two"),
    ],
)
async def test_an_answer_is_what_it_is_held_to(server: Server, outputs: dict[str, Any], pattern: str) -> None:
    for _ in range(3):
        assert re.fullmatch(pattern, await content(server, structuredOutputs=outputs, temperature=1.5))


async def test_json_is_held_to_its_schema_and_to_what_is_said_beside_it(server: Server) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 9, "minimum": 0}}, "required": ["n"]}
    beside = {"disable_any_whitespace": True, "disable_additional_properties": True}
    for _ in range(3):
        text = await content(server, structuredOutputs={"json": schema, **beside}, temperature=1.5)
        assert re.fullmatch(r'\{"n":\d\}', text)
    for outputs in ({"structuredOutputs": {"json": {"enum": ["a"]}}}, strict({"enum": ["a"]})):
        assert await content(server, **outputs) == '"a"'


@pytest.mark.parametrize("pattern", ["", " ", "[ ]?", r"\n {2}"])
async def test_white_space_of_json_is_as_a_pattern_says(server: Server, pattern: str) -> None:
    digit = {"type": "integer", "maximum": 9, "minimum": 0}
    schema = {"type": "object", "properties": {"a": digit, "b": {"type": "array", "items": digit, "maxItems": 2}}}
    schema |= {"required": ["a", "b"]}
    array = rf"\[{pattern}(\d{pattern}(,{pattern}\d{pattern})?)?\]"
    expected = rf'\{{{pattern}"a"{pattern}:{pattern}\d{pattern},{pattern}"b"{pattern}:{pattern}{array}{pattern}\}}'
    outputs = {"json": schema, "whitespace_pattern": pattern}
    text = await content(server, structuredOutputs=outputs, temperature=1.5)
    assert re.fullmatch(expected, text)
    assert json.loads(text).keys() == {"a", "b"}


async def test_a_json_object_and_the_format_text_are_no_contradiction(server: Server) -> None:
    fields = {"structuredOutputs": {"json_object": True}, "responseFormat": {"type": "text"}, "maxTokens": 2}
    assert (await content(server, **fields)).startswith("{")


async def test_calls_of_tools_round_trip(server: Server) -> None:
    body = infer_body(tools=[TOOL], toolChoice="required")
    (choice,) = (await post(server, INFER, body)).body["choices"]
    assert choice["finish_reason"] == "tool_calls"
    message = choice["message"]
    assert message["content"] is None
    (call,) = message["tool_calls"]
    assert json.loads(call["function"]["arguments"])["city"] in ("Oslo", "Bergen")
    del message["refusal"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}
    second = await post(server, INFER, infer_body(messages=[USER, message, result], tools=[TOOL], toolChoice="none"))
    assert second.status == 200
    chunks = await events(server, INFER, body)
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_tools_need_a_model_that_has_a_form_for_them(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    template = server.service.runtime.model.template
    monkeypatch.setattr(template, "markers", Markers(reasoning=None, tools=None))
    refused = (400, "tool_calling_not_configured", "tools")
    assert (await post(server, INFER, infer_body(tools=[TOOL]))).error == refused
    assert (await post(server, INFER, infer_body(tools=[TOOL], toolChoice="auto"))).error == refused
    assert (await post(server, INFER, infer_body(tools=[TOOL], toolChoice="none"))).status == 200


async def test_equal_requests_are_answered_each_by_a_process(server: Server) -> None:
    launched = server.service.runtime.num_launched
    assert await content(server, maxTokens=2) == await content(server, maxTokens=2)
    assert server.service.runtime.num_launched == launched + 2


def strict(schema: Any) -> dict[str, Any]:
    return {"responseFormat": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}}


CLOSED = {"type": "object", "additionalProperties": False}
FORMAT = "responseFormat.json_schema.schema"


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"top_p": 1}, "unsupported_field", "top_p"),
        ({"seed": 1}, "unsupported_field", "seed"),
        ({"messages": []}, "bad_value", "messages"),
        ({"messages": [{"role": "assistant"}]}, "bad_value", "messages[0].content"),
        ({"messages": [{"role": "assistant", "tool_calls": []}]}, "bad_value", "messages[0].content"),
        ({"messages": [USER, {"role": "tool", "content": "x"}]}, "bad_value", "messages[1].tool_call_id"),
        ({"topP": 0}, "bad_value", "topP"),
        ({"maxTokens": 0}, "bad_value", "maxTokens"),
        ({"stream": None}, "bad_value", "stream"),
        ({"adapter": {"kind": "best", "jobId": "a"}}, "bad_value", "adapter.kind"),
        ({"adapter": {"kind": "final"}}, "bad_value", "adapter.jobId"),
        ({"adapter": {"kind": "final", "jobId": "a", "step": 1}}, "bad_value", "adapter.step"),
        ({"adapter": {"kind": "checkpoint", "jobId": "a"}}, "bad_value", "adapter.step"),
        ({"adapter": {"kind": "checkpoint", "jobId": "a", "step": -1}}, "bad_value", "adapter.step"),
        ({"toolChoice": "required"}, "bad_value", "toolChoice"),
        (
            {"tools": [TOOL], "toolChoice": {"type": "function", "function": {"name": "g"}}},
            "bad_value",
            "toolChoice",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "thing"}}}]},
            "invalid_schema",
            "tools[0].function.parameters",
        ),
        ({"responseFormat": {"type": "json_schema"}}, "bad_value", "responseFormat.json_schema"),
        ({"structuredOutputs": {}}, "bad_value", "structuredOutputs"),
        ({"structuredOutputs": {"regex": "a", "choice": ["a"]}}, "bad_value", "structuredOutputs"),
        ({"structuredOutputs": {"json_object": False}}, "bad_value", "structuredOutputs.json_object"),
        ({"structuredOutputs": {"choice": []}}, "bad_value", "structuredOutputs.choice"),
        ({"structuredOutputs": {"grammar": " \n"}}, "bad_value", "structuredOutputs.grammar"),
        ({"structuredOutputs": {"json": {"type": 3}}}, "invalid_schema", "structuredOutputs.json"),
        ({"structuredOutputs": {"structural_tag": {}}}, "unsupported_field", "structuredOutputs.structural_tag"),
        (
            {"structuredOutputs": {"json": {}, "whitespace_pattern": "-"}},
            "bad_value",
            "structuredOutputs.whitespace_pattern",
        ),
        (
            {"structuredOutputs": {"json": {}, "whitespace_pattern": " ", "disable_any_whitespace": True}},
            "bad_value",
            "structuredOutputs.whitespace_pattern",
        ),
        (
            {"structuredOutputs": {"choice": ["a"], "whitespace_pattern": " "}},
            "bad_value",
            "structuredOutputs.whitespace_pattern",
        ),
        (
            {"structuredOutputs": {"regex": "a", "disable_any_whitespace": True}},
            "bad_value",
            "structuredOutputs.disable_any_whitespace",
        ),
        (
            {"structuredOutputs": {"json_object": True, "disable_additional_properties": True}},
            "bad_value",
            "structuredOutputs.disable_additional_properties",
        ),
        (
            {"structuredOutputs": {"regex": "a"}, "responseFormat": {"type": "json_object"}},
            "bad_value",
            "structuredOutputs",
        ),
        (
            {"structuredOutputs": {"regex": "a"}, "tools": [TOOL], "toolChoice": "required"},
            "bad_value",
            "structuredOutputs",
        ),
        (strict({"type": "object"}), "invalid_schema", FORMAT),
        (strict({"type": "nothing"}), "invalid_schema", FORMAT),
        ({"structuredOutputs": {"regex": "("}}, "bad_regex", None),
        ({"structuredOutputs": {"grammar": "nothing"}}, "bad_ebnf", None),
    ],
)
async def test_what_does_not_fit_is_refused(
    server: Server, fields: dict[str, Any], code: str, param: str | None
) -> None:
    assert (await post(server, INFER, infer_body(**fields))).error == (400, code, param)


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        ({"type": "object"}, "#"),
        ({**CLOSED, "properties": {"a": {}}}, "#"),
        ({**CLOSED, "properties": {"a/b": {"type": "object"}}, "required": ["a/b"]}, "#/properties/a~1b"),
        ({"type": "array", "items": {"type": ["object", "null"]}}, "#/items"),
        ({"anyOf": [CLOSED, {"$defs": {"x": {"properties": {}}}}]}, "#/anyOf/1/$defs/x"),
        ({"enum": []}, "#/enum"),
        ({**CLOSED, "properties": {"a": 3}, "required": ["a"]}, "#/properties/a"),
        ({**CLOSED, "required": "a"}, "#/required"),
        ({"type": "string", "minLength": -1}, "#/minLength"),
        ({"maximum": "1"}, "#/maximum"),
        ({"pattern": 1}, "#/pattern"),
        ({"properties": []}, "#/properties"),
    ],
)
async def test_a_schema_that_is_not_strict_or_none_at_all_is_told_with_its_place(
    server: Server, schema: dict[str, Any], pointer: str
) -> None:
    reply = await post(server, INFER, infer_body(**strict(schema)))
    assert reply.error == (400, "invalid_schema", FORMAT)
    assert reply.body["error"]["message"].startswith(f"{pointer}: ")


async def test_a_strict_schema_is_kept(server: Server) -> None:
    schema = {**CLOSED, "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    assert (await content(server, **strict(schema), maxTokens=2)).startswith("{")
