"""`/v1/responses`, mostly by the `openai` package, unmodified: items in, items out, and the events of a stream."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai.types.responses import FunctionToolParam, ResponseInputParam
from tests.server.surfaces.client import CHAT, RESPONSES, address, chat_body, post
from tests.server.surfaces.test_own_programs import own

from pie.server.server import Server

__all__ = ["own"]

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION = "What is the capital of Norway?"
CITY: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather",
    "parameters": CITY,
    "strict": True,
}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TEXT_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]
CALL_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "response.completed",
]


@pytest_asyncio.fixture(loop_scope="session")
async def client(server: Server) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=address(server, "/v1"), api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def model(server: Server) -> str:
    return server.service.runtime.model.name


async def test_a_text_is_answered_as_chat_completions_do(
    client: openai.AsyncOpenAI, server: Server, model: str
) -> None:
    response = await client.responses.create(model=model, input=QUESTION, temperature=0, max_output_tokens=60)
    chat = (await post(server, CHAT, chat_body(model, QUESTION, temperature=0))).body
    assert response.output_text == chat["choices"][0]["message"]["content"]
    assert (response.status, response.error, response.incomplete_details) == ("completed", None, None)
    assert response.usage is not None
    assert response.usage.input_tokens == chat["usage"]["prompt_tokens"]
    assert response.usage.total_tokens == chat["usage"]["total_tokens"]


async def test_instructions_and_items_are_a_conversation(
    client: openai.AsyncOpenAI, server: Server, model: str
) -> None:
    first = await client.responses.create(model=model, input=QUESTION, temperature=0, instructions="Be brief.")
    history: ResponseInputParam = [{"role": "user", "content": QUESTION}]
    history += [item.model_dump(exclude_none=True) for item in first.output]  # type: ignore[misc]
    history.append({"role": "user", "content": [{"type": "input_text", "text": "And of Italy?"}]})
    second = await client.responses.create(model=model, input=history, temperature=0, instructions="Be brief.")
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "And of Italy?"},
    ]
    chat = (await post(server, CHAT, {"model": model, "messages": messages, "temperature": 0})).body
    assert second.output_text == chat["choices"][0]["message"]["content"]


async def test_an_answer_that_is_cut_is_incomplete(client: openai.AsyncOpenAI, model: str) -> None:
    response = await client.responses.create(model=model, input=QUESTION, max_output_tokens=2)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    stream = await client.responses.create(model=model, input=QUESTION, max_output_tokens=2, stream=True)
    assert [event.type async for event in stream][-1] == "response.incomplete"


async def test_a_schema_holds_the_text(client: openai.AsyncOpenAI, model: str) -> None:
    response = await client.responses.create(
        model=model,
        input="Ada is 36 years old. Who is it?",
        text={"format": {"type": "json_schema", "name": "person", "schema": PERSON, "strict": True}},
    )
    assert json.loads(response.output_text).keys() == {"name", "age"}


async def test_a_call_and_its_result_go_both_ways(client: openai.AsyncOpenAI, model: str) -> None:
    history: ResponseInputParam = [{"role": "user", "content": "What is the weather in Oslo?"}]
    response = await client.responses.create(model=model, input=history, tools=[WEATHER], tool_choice="required")
    (call,) = response.output
    assert call.type == "function_call"
    assert call.name == "get_weather"
    assert json.loads(call.arguments).keys() == {"city"}
    history.append(call.model_dump(exclude_none=True))  # type: ignore[arg-type]
    history.append({"type": "function_call_output", "call_id": call.call_id, "output": "Rain"})
    after = await client.responses.create(model=model, input=history, tools=[WEATHER], tool_choice="none")
    assert after.output_text


async def test_a_text_is_streamed_in_the_events_of_the_api(client: openai.AsyncOpenAI, model: str) -> None:
    whole = await client.responses.create(model=model, input=QUESTION, temperature=0)
    stream = await client.responses.create(model=model, input=QUESTION, temperature=0, stream=True)
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert list(dict.fromkeys(kinds)) == TEXT_EVENTS
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert last.type == "response.completed"
    assert deltas == last.response.output_text == whole.output_text
    assert last.response.usage is not None


async def test_a_call_is_streamed_in_the_events_of_the_api(client: openai.AsyncOpenAI, model: str) -> None:
    question = "What is the weather in Oslo?"
    stream = await client.responses.create(
        model=model,
        input=question,
        tools=[WEATHER],
        tool_choice={"type": "function", "name": "get_weather"},
        stream=True,
    )
    events = [event async for event in stream]
    assert list(dict.fromkeys(event.type for event in events)) == CALL_EVENTS
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    (done,) = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert json.loads(done.arguments).keys() == {"city"}
    assert "".join(deltas) == done.arguments


async def test_the_helper_of_the_package_puts_a_stream_together(client: openai.AsyncOpenAI, model: str) -> None:
    async with client.responses.stream(model=model, input=QUESTION, temperature=0) as stream:
        response = await stream.get_final_response()
    assert "Oslo" in response.output_text


async def test_a_program_that_fails_in_a_stream_fails_the_response(own: Server) -> None:
    body = {"model": own.service.runtime.model.name, "input": "fail", "stream": True}
    assert (await post(own, "/broken/responses", {**body, "stream": False})).error == (500, "program_failed", None)
    content = (await post(own, "/broken/responses", body)).content.decode().strip().split("\n\n")
    name, data = content[-1].split("\n")
    assert name == "event: response.failed"
    response = json.loads(data.removeprefix("data: "))["response"]
    assert (response["status"], response["error"]["code"]) == ("failed", "program_failed")


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"store": True}, "unsupported_field", "store"),
        ({"previous_response_id": "resp_1"}, "unsupported_field", "previous_response_id"),
        ({"background": True}, "unsupported_field", "background"),
        ({"input": []}, "bad_value", "input"),
        ({"input": [{"content": "x"}]}, "bad_value", "input[0].role"),
        ({"input": [{"role": "user"}]}, "bad_value", "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "unsupported_field", None),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "bad_value", "input[0].content[0].text"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "bad_value", "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "c"}]}, "bad_value", "input[0].name"),
        (
            {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "["}]},
            "bad_value",
            "input[0].arguments",
        ),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "bad_value", "input[0].call_id"),
        ({"tool_choice": "required"}, "bad_value", "tool_choice"),
        ({"tools": [{"type": "web_search"}]}, "bad_value", None),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "bad_value", "text.format.schema"),
        ({"max_output_tokens": 0}, "bad_value", "max_output_tokens"),
        ({"include": ["reasoning.encrypted_content"]}, "bad_value", "include[0]"),
        ({"top_logprobs": 21}, "bad_value", "top_logprobs"),
    ],
)
async def test_what_does_not_fit_is_refused(
    server: Server, model: str, fields: dict[str, Any], code: str, param: str | None
) -> None:
    launched = server.service.runtime.num_launched
    status, told, where = (await post(server, RESPONSES, {"model": model, "input": "a", **fields})).error
    assert (status, told) == (400, code)
    assert param is None or where == param
    assert server.service.runtime.num_launched == launched
