"""The `openai` package, unmodified, as a client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolUnionParam
from pydantic import BaseModel
from tests.server.surfaces.client import address

from pie.errors import ProcessError
from pie.server.server import Server
from pie.server.settings import ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="session")

WEATHER: ChatCompletionToolUnionParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the capital of Norway?"}]


class Person(BaseModel):
    name: str
    age: int


@pytest_asyncio.fixture(loop_scope="session")
async def client(server: Server) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=address(server, "/v1"), api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def model(server: Server) -> str:
    return server.service.runtime.model.name


async def test_chat(client: openai.AsyncOpenAI, model: str) -> None:
    answer = await client.chat.completions.create(model=model, messages=QUESTION, temperature=0, n=2)
    assert len(answer.choices) == 2
    assert all("Oslo" in (choice.message.content or "") for choice in answer.choices)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None


async def test_a_stream(client: openai.AsyncOpenAI, model: str) -> None:
    text, usage = "", None
    async for chunk in await client.chat.completions.create(
        model=model, messages=QUESTION, temperature=0, stream=True, stream_options={"include_usage": True}
    ):
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage
    assert "Oslo" in text
    assert usage is not None
    assert usage.completion_tokens > 0


async def test_a_round_trip_with_a_tool(client: openai.AsyncOpenAI, model: str) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Lima?"}]
    answer = await client.chat.completions.create(model=model, messages=messages, tools=[WEATHER], temperature=0)
    message = answer.choices[0].message
    assert message.tool_calls is not None
    call = message.tool_calls[0]
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "Lima"}
    result: ChatCompletionMessageParam = {"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 21}'}
    told = message.model_dump(exclude_none=True)
    answer = await client.chat.completions.create(
        model=model,
        messages=[*messages, told, result],  # type: ignore[list-item]
        tools=[WEATHER],
        temperature=0,
    )
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content


async def test_structured_outputs_are_parsed(client: openai.AsyncOpenAI, model: str) -> None:
    answer = await client.chat.completions.parse(
        model=model,
        messages=[{"role": "user", "content": "Extract JSON with the keys name, age: Nora is 29 years old."}],
        response_format=Person,
        temperature=0,
        max_tokens=100,
    )
    assert answer.choices[0].message.parsed == Person(name="Nora", age=29)


async def test_completions(client: openai.AsyncOpenAI, model: str) -> None:
    answer = await client.completions.create(model=model, prompt=["Once upon", "One day"], max_tokens=4, best_of=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all(choice.text for choice in answer.choices)


async def test_models(client: openai.AsyncOpenAI, model: str) -> None:
    assert [entry.id async for entry in client.models.list()] == [model]
    assert (await client.models.retrieve(model)).owned_by == "pie"


@pytest.mark.slow  # the client waits as long as Retry-After says
async def test_a_server_that_was_full_is_asked_again(
    client: openai.AsyncOpenAI, server: Server, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def check_room(user: str, num_launches: int, settings: ServerSettings) -> None:
        asked.append(user)
        if len(asked) == 1:
            raise ProcessError("too-many-processes", f"{num_launches} is too many", remedy="Wait.")

    monkeypatch.setattr(server.service.processes, "check_room", check_room)
    answer = await client.with_options(max_retries=2).chat.completions.create(
        model=model, messages=QUESTION, max_tokens=2
    )
    assert answer.choices
    assert len(asked) == 2


async def test_errors(client: openai.AsyncOpenAI, server: Server, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(model="gpt-9", messages=QUESTION)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as bad:
        await client.chat.completions.create(model=model, messages=QUESTION, temperature=3)
    assert (bad.value.code, bad.value.param) == ("bad_value", "temperature")
    with pytest.raises(openai.BadRequestError) as unknown:
        await client.chat.completions.create(model=model, messages=QUESTION, extra_body={"foo": 1})
    assert (unknown.value.code, unknown.value.param) == ("unsupported_field", "foo")
    monkeypatch.setattr(server.service, "settings", ServerSettings(max_processes=0))
    with pytest.raises(openai.InternalServerError) as full:
        await client.chat.completions.create(model=model, messages=QUESTION)
    assert (full.value.status_code, full.value.code) == (503, "RESOURCE_EXHAUSTED")
