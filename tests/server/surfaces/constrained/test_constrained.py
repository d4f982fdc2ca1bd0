"""A thousand answers that are held to something, two hundred of each kind, and each is that.

What checks them knows nothing of what holds them. `--log-cli-level=INFO` shows how many were cut by their limit.
"""

from __future__ import annotations

import asyncio
import json
import logging
from random import Random
from typing import Any

import pytest
from tests.server.surfaces.client import RESPONSES, joined, post
from tests.server.surfaces.constrained.cases import KINDS, Case

from pie.server.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

NUM_AT_A_TIME = 12
log = logging.getLogger(__name__)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_cases", [40, pytest.param(200, marks=pytest.mark.slow)])
async def test_each_answer_is_what_it_is_held_to(server: Server, kind: str, num_cases: int) -> None:
    model = server.service.runtime.model.name
    cases = [KINDS[kind](model, Random(f"{kind} {number}")) for number in range(num_cases)]
    room = asyncio.Semaphore(NUM_AT_A_TIME)

    async def ask(case: Case, *, stream: bool) -> str | None:
        async with room:
            return await answer(server, case, stream=stream)

    answers = await asyncio.gather(*(ask(case, stream=number % 4 == 3) for number, case in enumerate(cases)))
    wrong = [
        (case.body, text)
        for case, text in zip(cases, answers, strict=True)
        if text is not None and not case.is_valid(text)
    ]
    assert wrong == []
    num_cut = answers.count(None)
    log.info("%d of %d answers about %s are valid, %d were cut", num_cases - num_cut, num_cases, kind, num_cut)
    assert num_cut <= num_cases // 8  # those who go on with something for ever, as `a+` lets them


async def answer(server: Server, case: Case, *, stream: bool) -> str | None:
    """The text of an answer, or its calls as JSON; None if it was cut by the limit."""
    reply = await post(server, case.path, {**case.body, "stream": stream})
    assert reply.status == 200, (case.body, reply.content)
    if case.path == RESPONSES:
        return of_response(last_event(reply.content)["response"] if stream else reply.body)
    if not stream:
        (choice,) = reply.body["choices"]
        message, reason = choice["message"], choice["finish_reason"]
        calls, text = message.get("tool_calls", []), message["content"]
    else:
        *told, done, _ = reply.content.decode().split("\n\n")
        assert done == "data: [DONE]"
        chunks = [json.loads(event.removeprefix("data: ")) for event in told if event.startswith("data: ")]
        reason, calls, text = chunks[-1]["choices"][0]["finish_reason"], calls_of(chunks), joined(chunks)
    if reason == "length":
        return None
    if "tools" not in case.body:
        assert (reason, calls) == ("stop", [])
        return str(text)
    assert reason == "tool_calls", (case.body, text)
    return json.dumps([call["function"] for call in calls])


def of_response(response: Any) -> str | None:
    if response["status"] == "incomplete":
        assert response["incomplete_details"] == {"reason": "max_output_tokens"}
        return None
    assert response["status"] == "completed"
    (item,) = response["output"]
    return "".join(part["text"] for part in item["content"])


def last_event(content: bytes) -> Any:
    return json.loads(content.decode().rstrip("\n").rpartition("data: ")[2])


def calls_of(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The calls that deltas come to."""
    calls: list[dict[str, Any]] = []
    for delta in [one for chunk in chunks for one in chunk["choices"][0]["delta"].get("tool_calls", [])]:
        if "id" in delta:
            calls.append({"function": {"name": delta["function"]["name"], "arguments": ""}})
        calls[delta["index"]]["function"]["arguments"] += delta["function"]["arguments"]
    return calls
