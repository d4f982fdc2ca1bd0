"""Slow and silent clients beside fast ones, counted: what the server does for the fast ones is what it does without."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from tests.server.running import Install
from websockets.asyncio.client import ClientConnection, connect

from pie.runtime import Runtime
from pie.server.server import Server
from pie.server.transcript import AHEAD_BYTES
from pie_client import Client, Event, Process
from pie_client.messages import (
    AuthIdentify,
    ClientMessage,
    LaunchProcess,
    Response,
    decode_server_message,
    encode,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

STEPS = """
from inferlet import Context, Model, Sampler, session


async def main(input):
    with Context(Model.default()) as context:
        context.user(input["prompt"])
        number = 0
        async for step in context.generate(Sampler.argmax(), max_tokens=input["count"], stop=[]):
            output = await step.execute()
            session.send(f"{number} {output.tokens[0]}".ljust(input["size"]))
            number += 1
"""
FLOOD = """
from inferlet import session


async def main(input):
    number = 0
    while True:
        session.send(str(number).ljust(input["size"]))
        number += 1
"""
SIZE = 50_000
NUM_EACH = 3
NUM_EVENTS = 40
Between = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """Between two events of a fast client."""


async def silent_client(server: Server, stack: AsyncExitStack, program: str) -> str:
    """A client that launches a program, which asks for a step of the model per message, and never reads again."""

    async def ask(message: ClientMessage) -> str:
        await websocket.send(encode(message))
        answer = decode_server_message(await websocket.recv(decode=False))
        assert isinstance(answer, Response)
        return answer.result

    websocket: ClientConnection = await connect(server.url, ping_interval=None)
    stack.callback(websocket.transport.abort)
    websocket.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    await ask(AuthIdentify(corr_id=0, username="me"))
    wanted = f'{{"prompt": "hi", "count": 800, "size": {SIZE}}}'
    process_id = await ask(LaunchProcess(corr_id=1, inferlet=program, input=wanted, capture_outputs=True))
    websocket.transport.pause_reading()
    return process_id


async def events_of(process: Process, between: Between) -> list[Event]:
    events = []
    async for event in process:
        events.append(event)
        await between()
    return events


async def served(fast: list[Client], program: str, runtime: Runtime, between: Between) -> tuple[object, ...]:
    """What fast clients get, one after another and then at the same time, and what the first took of the model."""

    async def run(number: int) -> list[Event]:
        wanted = {"prompt": f"Count to {number}.", "count": NUM_EVENTS, "size": 10}
        return await events_of(await fast[number].launch_process(program, wanted), between)

    stats = runtime.model.scheduler.stats()
    before = stats.steps, stats.batches, stats.computed_tokens, stats.reused_tokens, stats.suspensions
    apart = [await run(number) for number in range(NUM_EACH)]
    after = stats.steps, stats.batches, stats.computed_tokens, stats.reused_tokens, stats.suspensions
    together = await asyncio.gather(*map(run, range(NUM_EACH)))
    assert together == apart
    for events in apart:
        numbers = [str(event.value).split()[0] for event in events[:-1]]
        assert numbers == [str(number) for number in range(NUM_EVENTS)]
        assert events[-1] == Event("return", "null")
    return apart, tuple(late - early for early, late in zip(before, after, strict=True))


async def test_fast_clients_are_served_the_same_beside_slow_and_silent_ones(
    server: Server, runtime: Runtime, install: Install
) -> None:
    steps, flood = install("steps", STEPS), install("flood", FLOOD)
    table, stats = server.service.processes, runtime.model.scheduler.stats()
    async with AsyncExitStack() as stack:

        async def client() -> Client:
            one = await stack.enter_async_context(Client(server.url))
            await one.authenticate("me")
            return one

        fast = [await client() for _ in range(NUM_EACH)]
        await served(fast, steps, runtime, nothing)  # its prompts are found again from here on
        alone = await served(fast, steps, runtime, nothing)

        silent = [await silent_client(server, stack, steps) for _ in range(NUM_EACH)]
        slow = [await (await client()).launch_process(flood, {"size": SIZE}) for _ in range(NUM_EACH)]
        unread = [table.find(process_id, user="me").transcript for process_id in silent]
        unread += [table.find(process.process_id, user="me").transcript for process in slow]
        num_read, turn = 0, asyncio.Lock()

        async def between() -> None:
            """Each slow client reads one event, and nobody waits in more memory than may be."""
            nonlocal num_read
            async with turn:
                for process in slow:
                    assert str((await process.recv()).value).strip() == str(num_read)
                num_read += 1
            assert max(transcript.num_bytes for transcript in unread) <= AHEAD_BYTES + SIZE

        async with asyncio.timeout(60):
            num_steps = -1  # the silent ones go on until all that lies between them and their clients is full
            while num_steps != stats.steps or min(one.num_bytes for one in unread[:NUM_EACH]) <= AHEAD_BYTES:
                num_steps = stats.steps
                for _ in range(100):
                    await fast[0].ping()
        beside = await served(fast, steps, runtime, between)

        assert beside == alone
        assert num_read == 2 * NUM_EACH * (NUM_EVENTS + 1)
        waiting = {row.id for row in await fast[0].list_processes()}
        assert waiting == {*silent, *(process.process_id for process in slow)}
        for process_id in waiting:
            await fast[0].terminate_process(process_id)
