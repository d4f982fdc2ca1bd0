"""What the `openai` package builds on top of requests: parsed answers, streams put together, arguments of calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import openai
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel, Field
from tests.server.surfaces.client import address

from pie.errors import ProcessError
from pie.runtime import Runtime
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings
from pie.server.users import token_hash

pytestmark = pytest.mark.asyncio(loop_scope="session")

NORA: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "Extract JSON with the keys name, age: Nora is 29 years old."}
]
LIMA: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Lima?"}]
STORY: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Tell me a long story."}]


class Person(BaseModel):
    name: str
    age: int


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    x: Literal[0, 1]
    label: Annotated[str, Field(max_length=8)] | None


class Drawing(BaseModel):
    """Parts in parts, as schemas of pydantic have them."""

    color: Color
    first: Point
    others: Annotated[list[Point], Field(max_length=2)]


class GetWeather(BaseModel):
    """Get the weather"""

    city: Annotated[str, Field(max_length=20)]


@pytest_asyncio.fixture(loop_scope="session")
async def client(server: Server) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=address(server, "/v1"), api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def model(server: Server) -> str:
    return server.service.runtime.model.name


async def test_several_answers_are_parsed_whatever_is_drawn(client: openai.AsyncOpenAI, model: str) -> None:
    answer = await client.chat.completions.parse(
        model=model, messages=STORY, response_format=Drawing, temperature=1.5, seed=3, n=4, max_tokens=1500
    )
    assert len(answer.choices) == 4
    for choice in answer.choices:
        assert choice.message.parsed == Drawing.model_validate_json(choice.message.content or "")


async def test_a_stream_is_parsed_as_the_whole_is(client: openai.AsyncOpenAI, model: str) -> None:
    async with client.chat.completions.stream(
        model=model, messages=NORA, response_format=Person, temperature=0, max_tokens=100
    ) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= set(kinds)
    assert final.choices[0].message.parsed == Person(name="Nora", age=29)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_arguments_of_a_call_are_parsed(client: openai.AsyncOpenAI, model: str, is_stream: bool) -> None:
    tool = openai.pydantic_function_tool(GetWeather)
    if is_stream:
        async with client.chat.completions.stream(
            model=model, messages=LIMA, tools=[tool], tool_choice="required", temperature=0, max_tokens=100
        ) as stream:
            kinds = [event.type async for event in stream]
            answer = await stream.get_final_completion()
        assert {"tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= set(kinds)
    else:
        answer = await client.chat.completions.parse(
            model=model, messages=LIMA, tools=[tool], tool_choice="required", temperature=0, max_tokens=100
        )
    assert answer.choices[0].message.tool_calls is not None
    (call,) = answer.choices[0].message.tool_calls
    assert isinstance(call.function.parsed_arguments, GetWeather)
    assert answer.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("form", ["object", "dumped", "sparsely"])
async def test_a_call_that_was_streamed_goes_back_with_its_result(
    client: openai.AsyncOpenAI, model: str, form: str
) -> None:
    tool = openai.pydantic_function_tool(GetWeather, name="get_weather")
    async with client.chat.completions.stream(model=model, messages=LIMA, tools=[tool], temperature=0) as stream:
        message = (await stream.get_final_completion()).choices[0].message
    assert message.tool_calls is not None
    turns: dict[str, Any] = {
        "object": message,
        "dumped": message.model_dump(),
        "sparsely": message.model_dump(exclude_none=True),
    }
    result: ChatCompletionMessageParam = {
        "role": "tool",
        "tool_call_id": message.tool_calls[0].id,
        "content": json.dumps({"temperature": 21, "sky": "sunny"}),
    }
    async with client.chat.completions.stream(
        model=model, messages=[*LIMA, turns[form], result], tools=[tool], temperature=0
    ) as stream:
        answer = (await stream.get_final_completion()).choices[0]
    assert answer.finish_reason == "stop"
    assert "21" in (answer.message.content or "")


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # of the package itself
@pytest.mark.parametrize("is_dumped", [False, True])
async def test_an_answer_goes_back_into_the_conversation(
    client: openai.AsyncOpenAI, model: str, is_dumped: bool
) -> None:
    answer = await client.chat.completions.parse(
        model=model, messages=NORA, response_format=Person, temperature=0, max_tokens=100
    )
    message: Any = answer.choices[0].message
    again: ChatCompletionMessageParam = {"role": "user", "content": "What is the capital of Norway?"}
    second = await client.chat.completions.create(
        model=model, messages=[*NORA, message.model_dump() if is_dumped else message, again], temperature=0
    )
    assert second.choices[0].message.content


async def test_an_answer_that_is_cut_is_no_object(client: openai.AsyncOpenAI, model: str) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        await client.chat.completions.parse(model=model, messages=NORA, response_format=Person, max_tokens=2)


async def test_responses_are_parsed(client: openai.AsyncOpenAI, model: str) -> None:
    question = "Extract JSON with the keys name, age: Nora is 29 years old."
    response = await client.responses.parse(
        model=model, input=question, text_format=Person, temperature=0, max_output_tokens=100
    )
    assert response.output_parsed == Person(name="Nora", age=29)
    async with client.responses.stream(
        model=model, input=question, text_format=Person, temperature=0, max_output_tokens=100
    ) as stream:
        final = await stream.get_final_response()
    assert final.output_parsed == Person(name="Nora", age=29)


async def test_a_stream_that_is_left_ends_its_program(
    client: openai.AsyncOpenAI, runtime: Runtime, server: Server, model: str
) -> None:
    chunks = await client.chat.completions.create(model=model, messages=STORY, stream=True, temperature=2)
    await anext(aiter(chunks))
    await chunks.close()
    async with asyncio.timeout(10):
        while runtime.num_processes or server.service.processes.num_running:
            await asyncio.sleep(0.001)


async def test_an_error_in_mid_stream_is_raised(client: openai.AsyncOpenAI, server: Server, model: str) -> None:
    (token,) = server.service.runtime.model.tokenizer.encode("x")
    chunks = await client.chat.completions.create(
        model=model, messages=STORY, stream=True, logit_bias={str(token): 100}
    )
    await anext(aiter(chunks))
    server.service.processes.terminate_all(ProcessError("shutting-down", "the server stopped"))
    with pytest.raises(openai.APIError, match="the server stopped") as failed:
        async for _ in chunks:
            pass
    assert failed.value.code == "shutting_down"


async def test_logprobs_of_several_answers(client: openai.AsyncOpenAI, model: str) -> None:
    answer = await client.chat.completions.create(
        model=model, messages=STORY, n=3, logprobs=True, top_logprobs=2, max_tokens=5, seed=1
    )
    for choice in answer.choices:
        assert choice.logprobs is not None
        assert choice.logprobs.content is not None
        assert "".join(one.token for one in choice.logprobs.content) == choice.message.content
        assert [len(one.top_logprobs) for one in choice.logprobs.content] == [2] * len(choice.logprobs.content)


async def test_refusals_are_the_errors_of_the_package(client: openai.AsyncOpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await client.models.retrieve("gpt-9")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.APIStatusError) as large:
        await client.chat.completions.create(model=model, messages=[{"role": "user", "content": "x" * (9 << 20)}])
    assert (large.value.status_code, large.value.code) == (413, "body_too_large")
    with pytest.raises(openai.BadRequestError) as full:
        await client.chat.completions.create(model=model, messages=[{"role": "user", "content": "word " * 9000}])
    assert (full.value.code, full.value.type) == ("context_exceeded", "context_length_exceeded")
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}
    with pytest.raises(openai.BadRequestError) as schema:
        await client.chat.completions.create(model=model, messages=STORY, response_format=form)
    assert schema.value.code == "bad_schema"


async def test_a_key_is_the_token_of_a_user(runtime: Runtime, tmp_path: Path) -> None:
    users = tmp_path / "authorized_users.toml"
    users.write_text(f'[users.wilma.tokens]\nci = "{token_hash("secret")}"\n')
    users.chmod(0o600)
    settings = ServerSettings(port=0, grace_s=0)
    with listen(settings) as listening:
        async with serve(runtime, settings, listening, home=tmp_path) as server:
            options: Any = {"base_url": address(server, "/v1"), "max_retries": 0}
            async with openai.AsyncOpenAI(api_key="secret", **options) as known:
                assert [entry.id async for entry in known.models.list()] == [runtime.model.name]
            async with openai.AsyncOpenAI(api_key="guess", **options) as unknown:
                with pytest.raises(openai.AuthenticationError) as refused:
                    await unknown.chat.completions.create(model=runtime.model.name, messages=NORA)
            assert refused.value.code == "token_needed"


async def test_the_client_without_asyncio(server: Server, model: str) -> None:
    def ask() -> tuple[str, str]:
        with openai.OpenAI(base_url=address(server, "/v1"), api_key="none", max_retries=0) as client:
            answer = client.chat.completions.create(model=model, messages=NORA, temperature=0)
            chunks = client.chat.completions.create(model=model, messages=NORA, temperature=0, stream=True)
            streamed = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
            return answer.choices[0].message.content or "", streamed

    whole, streamed = await asyncio.to_thread(ask)
    assert whole == streamed != ""


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
async def test_items_that_were_parsed_go_back_into_the_conversation(client: openai.AsyncOpenAI, model: str) -> None:
    history: list[Any] = [{"role": "user", "content": "What is the weather in Lima?"}]
    function: Any = openai.pydantic_function_tool(GetWeather, name="get_weather")["function"]
    tools: list[Any] = [{"type": "function", **function}]
    options: Any = {"model": model, "temperature": 0}
    first: Any = await client.responses.parse(input=history, tools=tools, tool_choice="required", **options)
    (call,) = first.output
    assert call.type == "function_call"
    assert call.parsed_arguments == {"city": "Lima"}
    history += [*first.output, {"type": "function_call_output", "call_id": call.call_id, "output": '{"sky": "sunny"}'}]
    second: Any = await client.responses.parse(input=history, text_format=Person, **options)
    history += [*second.output, {"role": "user", "content": "What is the capital of Norway?"}]
    last: Any = await client.responses.create(input=history, **options)
    assert last.output_text
