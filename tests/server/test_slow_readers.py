"""Clients that read slowly or not at all, beside others: each holds up its own process and little memory."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.server.running import TALKER, pack
from tests.server.server_process import LONG_S, started

from pie_client import Client, Event, Process

MIB = 1 << 20
FLOOD = """
from inferlet import session


async def main(input):
    for number in range(input["count"]):
        session.send(str(number).rjust(10_000))
    return "done"
"""
ENDLESS = 1_000_000
SLOW = 200
MAX_EACH = 4 * MIB
"""Of the server's memory for one such client, with its program; it is offered 10 GB."""


async def read_slowly(process: Process) -> None:
    for number in range(SLOW):
        event = await process.recv()
        assert int(event.value) == number
        await asyncio.sleep(0.01)
    assert await process.recv() == Event("return", '"done"')


@pytest.mark.parametrize("count", [4, pytest.param(32, marks=pytest.mark.slow)])
async def test_slow_and_silent_clients_hold_little_and_disturb_nobody(
    count: int, tmp_path: Path, cache_dir: Path, runner_wasm: Path
) -> None:
    async with asyncio.timeout(2 * LONG_S), AsyncExitStack() as stack:
        # Few pages: the server takes the memory of all of them while it has nothing else to do.
        server = stack.enter_context(started(tmp_path / "home", cache_dir, PIE_MODEL_KV_PAGES="16"))

        async def client() -> Client:
            one = await stack.enter_async_context(Client(server.url))
            await one.authenticate("me")
            return one

        fast = await client()
        for name, text in (("flood", FLOOD), ("talker", TALKER)):
            manifest = f'[package]\nname = "{name}"\nversion = "0.1.0"\n'
            await fast.install_program(pack(tmp_path / name, text), manifest)
            await fast.run_processes(name, [{"count": 1}])
        before = server.private_bytes()
        for _ in range(count):
            silent = await client()
            await silent.launch_process("flood", {"count": ENDLESS})
            transport = silent._connection._websocket.transport
            transport.pause_reading()
            stack.callback(transport.abort)
        slow = [await (await client()).launch_process("flood", {"count": SLOW}) for _ in range(count)]
        async with asyncio.TaskGroup() as tasks:
            for process in slow:
                tasks.create_task(read_slowly(process))
            for number in range(20):
                assert await fast.run_processes("talker", [{"value": number}]) == [number]
        for number in range(20):
            assert await fast.run_processes("talker", [{"value": number}]) == [number]
        assert len(await fast.list_processes()) == count  # they wait, and have not been ended
        assert server.private_bytes() - before < 2 * count * MAX_EACH
