"""Calls of our own client that once waited for ever: wrong arguments, and processes that ended unheard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest
import pytest_asyncio
from tests.server.running import TALKER, Install

from pie.server.server import Server
from pie_client import Client, ClientError, Event

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(server.url) as client:
        await client.authenticate("me")
        yield client


async def test_a_process_that_ended_unheard_is_attached_to_by_the_session_that_launched_it(
    client: Client, install: Install
) -> None:
    (unheard,) = await client.launch_processes(install("talker", TALKER), [{"value": 7}], capture=False)
    async with asyncio.timeout(10):
        while await client.list_processes():
            await asyncio.sleep(0.01)
        for _ in range(3):
            attached = await client.attach_process(unheard.process_id)
            assert await attached.result() == 7
    assert client._connection.inboxes.num_kept == 0


async def test_what_the_server_could_not_read_is_refused_before_it_is_sent(client: Client, install: Install) -> None:
    program, wrong = install("talker", TALKER), cast(Any, None)
    process = await client.launch_process(program, {"hear": 1})
    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: client.launch_process(program, token_budget=-1),
        lambda: client.launch_process(program, token_budget=1 << 64),
        lambda: client.launch_process(program, token_budget=cast(int, 1.5)),
        lambda: client.launch_process(program, token_budget=True),
        lambda: client.launch_process(program, detached=cast(bool, 1)),
        lambda: client.launch_process(program, object()),
        lambda: client.launch_process(program, float("nan")),
        lambda: client.launch_process("x" * (4 << 20)),
        lambda: client.launch_process(wrong),
        lambda: client.launch_daemon(program, 1 << 32),
        lambda: client.check_program("half \ud800@1.0.0"),
        lambda: client.check_program(program, wasm=cast(bytes, "text")),
        lambda: client.install_program(b"x", cast(str, b"bytes")),
        lambda: client.attach_process(wrong),
        lambda: client.terminate_process(cast(str, 7)),
        lambda: client.send_text(process.process_id, wrong),
        lambda: client.send_file(process.process_id, cast(bytes, "text")),
        lambda: client.register_mcp_server("shop", []),
        lambda: client.register_mcp_server("shop", "text"),
        lambda: client.query(cast(str, 7)),
        lambda: process.signal(cast(str, 7)),
        lambda: process.send_file(cast(bytes, "text")),
    ]
    for number, attempt in enumerate(attempts):
        with pytest.raises(ClientError) as refused:
            await attempt()
        assert refused.value.code == "bad-argument", (number, str(refused.value))
    with pytest.raises(ClientError, match="token_budget of launch_process must be a whole number from 0 to"):
        await attempts[0]()
    await process.signal("still there")
    assert await process.recv() == Event("message", "heard still there")
    await process.result()
