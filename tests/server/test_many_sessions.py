"""Many sessions at once, of which half are cut off in the middle of things, and come back or not."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress

import pytest
from tests.server.running import Install

from pie.server.server import Server
from pie_client import Client, ConnectionLost, Event, Process, Refused

pytestmark = pytest.mark.asyncio(loop_scope="session")
PROGRAMS_EACH = 4
WORKER = """
import asyncio

from inferlet import Context, Model, Sampler, session


async def main(input):
    with Context(Model.default()) as context:
        context.user(f"Count to {input['n']}.")
        tokens = await context.generate(Sampler.argmax(), max_tokens=4, stop=[]).collect_tokens()
    session.send(str(len(tokens)))
    await asyncio.sleep(input["n"] % 5 / 20)
    return input["n"]
"""


async def hear(process: Process) -> list[Event]:
    """Its events, up to the last one."""
    return [event async for event in process]


async def one_session(server: Server, program: str, number: int, draw: random.Random) -> int:
    """Launch programs, perhaps be cut off, perhaps come back; how many ends were heard."""
    inputs = [{"n": number * PROGRAMS_EACH + index} for index in range(PROGRAMS_EACH)]
    is_cut, comes_back = draw.random() < 0.5, draw.random() < 0.7
    processes: list[Process] = []
    try:
        async with Client(server.url) as client:
            await client.authenticate(f"user-{number}")
            processes = await client.launch_processes(program, inputs)
            if not is_cut:
                heard = await asyncio.gather(*map(hear, processes))
                assert [events[-1] for events in heard] == [Event("return", str(given["n"])) for given in inputs]
                return len(heard)
            await asyncio.sleep(draw.random() / 2)
            client._connection._websocket.transport.abort()
    except ConnectionLost:
        pass
    return await come_back(server, number, [process.process_id for process in processes]) if comes_back else 0


async def come_back(server: Server, number: int, process_ids: list[str]) -> int:
    """Attach to all of them, when the server has noticed that the first session is over."""
    ends = 0
    async with Client(server.url) as client:
        await client.authenticate(f"user-{number}")
        for process_id in process_ids:
            ends += (await hear(await attach(client, process_id)))[-1].kind == "return"
    assert ends == len(process_ids)
    return ends


async def attach(client: Client, process_id: str) -> Process:
    while True:
        with suppress(Refused):
            return await client.attach_process(process_id)
        await asyncio.sleep(0.01)


async def many(server: Server, program: str, count: int) -> None:
    num_files, num_tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    draws = [random.Random(number) for number in range(count)]
    async with asyncio.timeout(240):
        ends = await asyncio.gather(*(one_session(server, program, n, draw) for n, draw in enumerate(draws)))
        while server.service.num_sessions or server.service.processes.num_running:
            await asyncio.sleep(0.01)
    assert sum(ends) > count  # most ends were heard, from both kinds of sessions
    async with asyncio.timeout(60):  # both ends are in this process
        while len(os.listdir("/proc/self/fd")) > num_files + 2 or len(asyncio.all_tasks()) > num_tasks:
            await asyncio.sleep(0.01)


async def test_sessions_that_are_cut_off_lose_no_end_and_leak_nothing(server: Server, install: Install) -> None:
    await many(server, install("worker", WORKER), 40)


@pytest.mark.slow
async def test_five_hundred_sessions_do_so_too(server: Server, install: Install) -> None:
    await many(server, install("worker", WORKER), 500)
