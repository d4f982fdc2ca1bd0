"""Limits of users and tokens at the surfaces: who is over them is told when to come again, and nobody else notices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletionMessageParam
from tests.server.server_process import started
from tests.server.surfaces.client import CHAT, COMPLETIONS, RESPONSES, Reply, address, chat_body, joined, opened, post
from tests.server.tasks.client import CHAT as TASKS
from tests.server.tasks.client import Remote, ended, serving

from pie.runtime import Runtime
from pie.server.limits import Limiter, Limits, RateLimited
from pie.server.server import Server
from pie.server.users import Holder, token_hash

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
MESSAGES = [{"role": "user", "content": "Tell me a story."}]
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "M", "messages": MESSAGES, "max_tokens": 70, "n": 2},
    COMPLETIONS: {"model": "M", "prompt": ["Once", "One day"], "max_tokens": 40, "n": 2},
    RESPONSES: {"model": "M", "input": "Tell me a story.", "max_output_tokens": 70},
    "/v1/embeddings": {"model": "M", "input": ["one two three " * 10, "four"]},
    "/v1/generate/M": {"prompt": "Once upon a time", "max_new_tokens": 70},
    "/v1/inference/chat": {"messages": MESSAGES, "maxTokens": 70, "stream": False},
    TASKS: {"model_id": "M", "messages": MESSAGES, "parameters": {"max_tokens": 70}},
}


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture(loop_scope="session")
async def limited(runtime: Runtime, tmp_path: Path, clock: Clock) -> AsyncIterator[Server]:
    """A server without authentication, with some limits and a clock that stands."""
    limits = Limits(requests_per_minute=2, tokens_per_minute=60)
    async with serving(runtime, tmp_path, limits=limits) as server:
        server.service.limiter = Limiter(clock=clock)
        yield server


async def ask(server: Server, path: str, token: str | None = None, **fields: Any) -> Reply:
    """What is answered at a path, with the name of the model in the place of M."""
    model = server.service.runtime.model.name
    body = {**BODIES[path], **fields}
    named = {name: model if value == "M" else value for name, value in body.items()}
    return await post(server, path.removesuffix("M") + model if path.endswith("M") else path, named, token=token)


def used_up(server: Server, num_tokens: int) -> None:
    """Take tokens from the one user there is."""
    service = server.service
    service.limiter.spend(service.accounts_of(Holder("local")), num_tokens)


def is_used_up(server: Server) -> bool:
    service = server.service
    try:
        with service.limiter.admitted(service.accounts_of(Holder("local"))):
            return False
    except RateLimited:
        return True


@pytest.mark.parametrize("path", BODIES)
async def test_requests_over_the_limit_are_429_and_launch_nothing(
    limited: Server, runtime: Runtime, clock: Clock, path: str
) -> None:
    limits = Limits(requests_per_minute=1)
    limited.service.settings = replace(limited.service.settings, limits=limits)
    reply = await ask(limited, path)
    assert reply.status == 200
    if path == TASKS:
        await ended(limited, reply.body["task_id"])
    launched = runtime.num_launched
    for _ in range(3):
        refused = await ask(limited, path)
        assert refused.error == (429, "rate_limit_exceeded", None)
        assert refused.body["error"]["type"] == "rate_limit_error"
        assert refused.headers["retry-after"] == "60"
        assert refused.headers["x-sie-error-code"] == "rate_limit_exceeded"
    assert runtime.num_launched == launched
    assert (await post(limited, "/v1/models", b"", method="GET")).status == 200
    clock.now_s += 60
    assert (await ask(limited, path)).status == 200
    assert (await ask(limited, path)).status == 429


@pytest.mark.parametrize("path", BODIES)
async def test_tokens_count_as_they_are_told(limited: Server, runtime: Runtime, path: str) -> None:
    reply = await ask(limited, path)
    assert reply.status == 200
    if path == TASKS:
        told = await ended(limited, reply.body["task_id"])
        total = 13 + len(runtime.model.tokenizer.encode(told["result"]["content"]))
    else:
        total = reply.body["usage"]["total_tokens"]
    used_up(limited, 60)
    refused = await ask(limited, path)
    assert refused.error == (429, "rate_limit_exceeded", None)
    spent = int(refused.headers["retry-after"]) - 1
    assert abs(spent - total) <= 8  # each choice has a cue of its own, and its last token is never read
    assert refused.body["error"]["message"].startswith("tokens per minute of user 'local' are limited to 60,")


async def test_a_request_is_not_charged_for_what_it_was_refused_for(limited: Server) -> None:
    assert (await ask(limited, CHAT, max_tokens=0)).status == 400
    assert (await ask(limited, CHAT, model="gpt-9")).status == 404
    assert (await ask(limited, CHAT)).headers["retry-after"] == "30"  # they were requests all the same


async def test_a_client_that_leaves_pays_for_what_was_generated(limited: Server, runtime: Runtime) -> None:
    limited.service.settings = replace(limited.service.settings, limits=Limits(tokens_per_minute=60))
    (token,) = runtime.model.tokenizer.encode("x")
    body = chat_body(runtime.model.name, max_tokens=2000, logit_bias={str(token): 100})
    async with opened(limited, CHAT, body) as stream:
        num_said = 0
        while num_said < 70:
            num_said += len(joined([json.loads(await anext(stream))]))
    async with asyncio.timeout(30):
        while not is_used_up(limited):
            await asyncio.sleep(0.001)
    refused = await ask(limited, CHAT)
    assert refused.error == (429, "rate_limit_exceeded", None)
    assert 70 - 59 < int(refused.headers["retry-after"]) < 2000


async def test_so_many_requests_are_answered_at_a_time(limited: Server, runtime: Runtime) -> None:
    limited.service.settings = replace(limited.service.settings, limits=Limits(concurrent_requests=1))
    where = urlsplit(limited.url)
    _reader, writer = await asyncio.open_connection(where.hostname, where.port)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n"
    writer.write(head.encode() + b"{")  # the rest of the body never comes
    await writer.drain()
    async with asyncio.timeout(30):
        while (reply := await ask(limited, CHAT, max_tokens=1)).status == 200:
            await asyncio.sleep(0)
    assert reply.error == (429, "rate_limit_exceeded", None)
    assert reply.headers["retry-after"] == "1"
    assert (await ask(limited, TASKS)).status == 429
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(30):
        while (await ask(limited, CHAT, max_tokens=1)).status == 429:
            await asyncio.sleep(0)
    assert runtime.num_processes == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_who_asks_one_after_another_never_asks_two_at_a_time(limited: Server, stream: bool) -> None:
    limited.service.settings = replace(limited.service.settings, limits=Limits(concurrent_requests=1))
    for _ in range(20):
        assert (await ask(limited, CHAT, max_tokens=1, n=1, stream=stream)).status == 200


@pytest_asyncio.fixture(loop_scope="session")
async def closed(runtime: Runtime, tmp_path: Path, clock: Clock) -> AsyncIterator[Server]:
    """A server where users show tokens, with a default limit and some of users and tokens."""
    users = tmp_path / "authorized_users.toml"
    users.write_text(
        f"""
[users.fred.tokens]
one = "{token_hash("fred-1")}"
two = {{ hash = "{token_hash("fred-2")}", requests_per_minute = 1 }}

[users.wilma]
tokens = {{ ci = "{token_hash("wilma")}" }}
limits = {{ requests_per_minute = 4 }}
"""
    )
    users.chmod(0o600)
    limits = Limits(requests_per_minute=2)
    async with serving(runtime, tmp_path, authentication=True, limits=limits) as server:
        server.service.limiter = Limiter(clock=clock)
        yield server


async def statuses(server: Server, token: str, number: int) -> list[int]:
    return [(await ask(server, CHAT, token, max_tokens=1)).status for _ in range(number)]


async def test_a_user_has_own_limits_or_those_of_the_server(closed: Server) -> None:
    assert await statuses(closed, "fred-1", 3) == [200, 200, 429]
    assert await statuses(closed, "wilma", 5) == [200, 200, 200, 200, 429]
    assert (await ask(closed, CHAT, "nobody")).status == 401


async def test_a_token_has_limits_within_those_of_its_user(closed: Server) -> None:
    assert await statuses(closed, "fred-2", 2) == [200, 429]
    told = (await ask(closed, CHAT, "fred-2")).body["error"]["message"]
    assert told.startswith("requests per minute of token 'two' of 'fred' are limited to 1,")
    assert await statuses(closed, "fred-1", 2) == [200, 429]


async def test_limits_hold_from_when_the_file_has_changed(closed: Server, tmp_path: Path) -> None:
    assert await statuses(closed, "wilma", 2) == [200, 200]
    file = tmp_path / "authorized_users.toml"
    file.write_text(file.read_text().replace("requests_per_minute = 4", "requests_per_minute = 2 "))
    assert await statuses(closed, "wilma", 1) == [429]
    file.write_text(file.read_text().replace("requests_per_minute = 2 ", "requests_per_minute = 400"))
    assert await statuses(closed, "wilma", 2) == [200, 200]


async def test_the_openai_client_comes_again_as_it_is_told(closed: Server, clock: Clock) -> None:
    service, told_s = closed.service, list[str]()
    service.settings = replace(service.settings, limits=Limits(requests_per_minute=60))
    for _ in range(60):
        with service.limiter.admitted(service.accounts_of(Holder("fred", "one"))):
            pass

    async def hear(response: Any) -> None:
        if response.status_code == 429:
            told_s.append(response.headers["retry-after"])
            clock.now_s += len(told_s) - 1  # after the first one time stands still

    async def ask_once(max_retries: int) -> None:
        asking = client.with_options(max_retries=max_retries)
        await asking.chat.completions.create(model=service.runtime.model.name, messages=QUESTION, max_tokens=1)

    http = openai.DefaultAsyncHttpxClient(event_hooks={"response": [hear]})
    async with openai.AsyncOpenAI(base_url=address(closed, "/v1"), api_key="fred-1", http_client=http) as client:
        with pytest.raises(openai.RateLimitError) as refused:
            await ask_once(0)
        assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "rate_limit_error")
        await ask_once(2)
    assert told_s == ["1", "1"]


async def test_the_configuration_has_limits_for_each_user(tmp_path: Path, cache_dir: Path) -> None:
    limits = {
        "PIE_LIMITS_REQUESTS_PER_MINUTE": "2",
        "PIE_LIMITS_TOKENS_PER_MINUTE": "1",
        "PIE_LIMITS_CONCURRENT_REQUESTS": "3",
    }
    with started(tmp_path / "home", cache_dir, **limits) as process:
        remote: Any = Remote(process.url)
        body = chat_body("embedded_model", max_tokens=60)
        replies = [await post(remote, CHAT, body) for _ in range(2)]
    assert replies[0].status == 200
    assert replies[1].error == (429, "rate_limit_exceeded", None)
    assert replies[1].body["error"]["message"].startswith("tokens per minute of user 'local' are limited to 1,")
