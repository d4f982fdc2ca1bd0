"""Clients that leave at every stage of every surface, counted: the model makes no more than a step for nobody."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from tests.server.surfaces.client import CHAT, COMPLETIONS, RESPONSES
from tests.server.surfaces.test_leaving import INFER, started, until

from pie.errors import PieError
from pie.process.process import Process
from pie.runtime import Runtime
from pie.server.server import Server
from pie.server.surfaces.routes import surface_routes

__all__ = ["all_is_back", "ended", "started"]

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = "Tell me of " + "one bear and " * 400
FORMAT = {"name": "n", "schema": {"type": "string", "minLength": 400}}
USER = [{"role": "user", "content": LONG}]
GENERATE = "/v1/generate/MODEL"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {
        "model": "MODEL",
        "messages": USER,
        "max_tokens": 60,
        "response_format": {"type": "json_schema", "json_schema": FORMAT},
    },
    RESPONSES: {
        "model": "MODEL",
        "input": LONG,
        "max_output_tokens": 60,
        "text": {"format": {"type": "json_schema", **FORMAT}},
    },
    COMPLETIONS: {"model": "MODEL", "prompt": LONG, "max_tokens": 60, "logit_bias": {"300": 100}},
    GENERATE: {"prompt": LONG, "max_new_tokens": 60, "seed": 1, "temperature": 2},
    INFER: {"messages": USER, "maxTokens": 60, "structuredOutputs": {"regex": "a{400}"}},
}
"""Requests whose answers take a while."""


@dataclass
class Wire:
    """The server's side of a connection, from which the client leaves: what it sent, and what was sent to it.

    Attributes:
        parts: of the body that were not read yet.
        is_whole: whether these are all of it.
        runtime: what answers.
        sent: all bodies.
        left: whether the client has left, which is noticed after the parts.
    """

    parts: list[bytes]
    is_whole: bool
    runtime: Runtime
    sent: list[bytes] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> dict[str, Any]:
        if self.parts:
            part = self.parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self.parts) or not self.is_whole}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message.get("body", b""))


@dataclass(frozen=True, slots=True)
class Answering:
    """A request that is being answered."""

    wire: Wire
    task: asyncio.Future[None]

    def leave(self) -> int:
        """Leave; how many steps had been made by then."""
        self.wire.left.set()
        return self.wire.runtime.model.scheduler.stats().batches


def ask(
    server: Server, path: str, *, stream: bool, is_whole: bool = True, num_tokens: int = 60, is_late: bool = False
) -> Answering:
    """Send a request, or the first half of it, over a wire from which its client may leave."""
    runtime = server.service.runtime
    text = json.dumps({**BODIES[path], "stream": stream}).replace("MODEL", runtime.model.name)
    text = text.replace("Tell me", f"{uuid.uuid4()} Tell me")  # nothing of it is known already
    body = text.replace(": 60", f": {num_tokens}").encode()
    half = len(body) // 2
    wire = (LateWire if is_late else Wire)([body[:half], *([body[half:]] if is_whole else [])], is_whole, runtime)
    where = path.replace("MODEL", runtime.model.name)
    scope = {
        "type": "http",
        "method": "POST",
        "path": where,
        "raw_path": where.encode(),
        "root_path": "",
        "headers": [],
    }
    app = Starlette(routes=surface_routes(server.service))
    return Answering(wire, asyncio.ensure_future(app(scope, wire.receive, wire.send)))


Stage = Callable[[Answering], bool]


def stage_of(name: str, server: Server) -> Stage:
    """Whether a request has come so far."""
    runtime = server.service.runtime
    stats = runtime.model.scheduler.stats()
    launched, computed, steps = runtime.num_launched, stats.computed_tokens, stats.steps
    stages: dict[str, Stage] = {
        "launched": lambda _: runtime.num_launched > launched,
        "prefill": lambda _: stats.computed_tokens > computed,
        "tokens": lambda _: stats.steps > steps + 5,
        "text": lambda one: len(one.wire.sent) > 2,
    }
    return stages[name]


@pytest.fixture
def ended(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps had been made when each process was ended."""
    ended: list[int] = []
    terminate = Process.terminate

    def watched(process: Process, reason: PieError | None = None) -> None:
        ended.append(runtime.model.scheduler.stats().batches)
        terminate(process, reason)

    monkeypatch.setattr(Process, "terminate", watched)
    return ended


async def all_is_back(server: Server, runtime: Runtime) -> int:
    """Wait until no process and no page is held; how many steps had been made by then."""
    scheduler = runtime.model.scheduler
    await until(lambda: runtime.num_processes == server.service.processes.num_running == 0)
    await until(lambda: not scheduler.ledger().held)
    return scheduler.stats().batches


@pytest.mark.parametrize(
    ("stage", "stream"),
    [*((stage, stream) for stage in ("launched", "prefill", "tokens") for stream in (False, True)), ("text", True)],
)
@pytest.mark.parametrize("path", [CHAT, RESPONSES, COMPLETIONS, GENERATE])
async def test_a_step_later_all_is_back(
    server: Server, runtime: Runtime, ended: list[int], path: str, stage: str, stream: bool
) -> None:
    is_there = stage_of(stage, server)
    one = ask(server, path, stream=stream, num_tokens=800)
    await until(lambda: is_there(one))
    before = one.leave()
    await one.task
    assert ended[0] <= before + 1  # which may begin before the server has heard of it
    assert await all_is_back(server, runtime) <= ended[0] + 1
    assert not any(b"data: [DONE]" in sent for sent in one.wire.sent)


async def test_those_who_wait_to_be_read_leave_together(server: Server, runtime: Runtime, ended: list[int]) -> None:
    launched, stats = runtime.num_launched, runtime.model.scheduler.stats()
    batches = stats.batches
    asked = [ask(server, path, stream=True, num_tokens=800) for path in (CHAT, RESPONSES, COMPLETIONS, GENERATE) * 4]
    await until(lambda: runtime.num_launched == launched + 16 and stats.batches > batches)
    before = stats.batches
    for one in asked:
        one.leave()
    await asyncio.gather(*(one.task for one in asked))
    assert max(ended) <= before + 1
    assert await all_is_back(server, runtime) <= max(ended) + 1


@pytest.mark.parametrize("path", BODIES)
async def test_who_leaves_while_the_body_is_read_was_never_there(server: Server, runtime: Runtime, path: str) -> None:
    launched = runtime.num_launched
    one = ask(server, path, stream=True, is_whole=False)
    await until(lambda: not one.wire.parts)
    one.leave()
    await one.task
    assert one.wire.sent == []
    assert runtime.num_launched == launched


class LateWire(Wire):
    """A connection from which the client leaves once the program has ended, before the end of the stream is sent."""

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await super().send(message)
        if len(self.sent) > 2 and self.runtime.num_processes == 0:
            self.left.set()
            for _ in range(10):  # as a connection that is slow
                await asyncio.sleep(0)


@pytest.mark.parametrize("path", [CHAT, RESPONSES, COMPLETIONS, GENERATE])
async def test_who_leaves_between_the_last_text_and_the_end_leaves_nothing(
    server: Server, runtime: Runtime, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    one = ask(server, path, stream=True, num_tokens=4, is_late=True)
    await one.task
    assert one.wire.left.is_set()
    assert one.wire.sent[-1] != b""  # the end was not sent
    await all_is_back(server, runtime)
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize("stage", ["launched", "prefill", "tokens", "text"])
async def test_an_inference_goes_on_whenever_its_client_leaves(
    server: Server, runtime: Runtime, started: list[Process], stage: str
) -> None:
    is_there = stage_of(stage, server)
    one = ask(server, INFER, stream=True)
    await until(lambda: is_there(one))
    one.leave()
    await one.task
    (process,) = started
    assert json.loads(await process.outcome())["usage"]["completion_tokens"] == 60
    assert not any(b"data: [DONE]" in sent for sent in one.wire.sent)
    await all_is_back(server, runtime)
