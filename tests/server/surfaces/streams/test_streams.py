"""What is streamed is what is not, on every surface, whatever is asked for; and so are the tokens of a task."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from tests.server.surfaces.client import CHAT, post
from tests.server.surfaces.streams.drawn import SURFACES, Surface, Told, data_of
from tests.server.tasks.client import ended, send, stream, text_of

from pie.server.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

NUM_AT_A_TIME = 6


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("num_requests", [16, pytest.param(150, marks=pytest.mark.slow)])
async def test_what_is_streamed_is_what_is_not(server: Server, name: str, num_requests: int) -> None:
    model, surface = server.service.runtime.model.name, SURFACES[name]
    room = asyncio.Semaphore(NUM_AT_A_TIME)

    async def compare(number: int) -> tuple[dict[str, Any], Told, Told] | None:
        async with room:
            random = Random(f"{name} {number}")
            body = surface.draw(model, random)
            told = await both(server, surface, body)
            if told is None and surface.stop and (text := (await whole(server, surface, body)).text):
                start = random.randrange(len(text))
                body = {**body, surface.stop: ["never there", text[start : start + random.randint(1, 4)]]}
                told = await both(server, surface, body)
            return None if told is None else (body, *told)

    different = [each for each in await asyncio.gather(*map(compare, range(num_requests))) if each is not None]
    assert different == []


async def both(server: Server, surface: Surface, body: dict[str, Any]) -> tuple[Told, Told] | None:
    """What is told in one piece and in a stream; None if they are the same."""
    path = surface.path(server.service.runtime.model.name)
    one = await whole(server, surface, body)
    options = {"stream_options": {"include_usage": True}} if path == CHAT else {}
    reply = await post(server, path, {**body, **options, "stream": True})
    assert reply.headers["content-type"].startswith("text/event-stream"), reply.content
    other = surface.joined(data_of(reply))
    return None if other in (one, replace(one, usage=None)) else (one, other)


async def whole(server: Server, surface: Surface, body: dict[str, Any]) -> Told:
    reply = await post(server, surface.path(server.service.runtime.model.name), {**body, "stream": False})
    assert reply.status == 200, (body, reply.content)
    return surface.whole(reply.body)


@pytest.mark.parametrize("number", range(4))
async def test_the_tokens_of_a_task_are_its_result_and_the_answer_of_a_chat(server: Server, number: int) -> None:
    random, model = Random(f"task {number}"), server.service.runtime.model.name
    fields = {"seed": number, "temperature": random.choice([0, 1.5]), "top_k": 40, "top_p": 0.9, "max_tokens": 60}
    text = random.choice(["What is 47 + 38?", "Tell me a long story."])
    chat = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    (choice,) = (await post(server, CHAT, chat)).body["choices"]
    said = choice["message"]["content"]
    for stop, result in ([], said), ([said[9:12]], said[: said.index(said[9:12])]):
        task_id = await send(server, text, stop=stop, **fields)
        reading = [asyncio.create_task(stream(server, task_id)) for _ in range(2)]
        assert (await ended(server, task_id))["result"]["content"] == result
        for events, _ in [*await asyncio.gather(*reading), await stream(server, task_id)]:
            assert text_of(events) == result == events[-1]["data"]["result"]["content"]
