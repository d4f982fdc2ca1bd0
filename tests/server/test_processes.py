"""The table of processes: what is kept of those that have ended, and for how long."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from pie.process.programs import LoadedProgram
from pie.runtime import Runtime
from pie.server.listening import listen_at
from pie.server.peer import Peer
from pie.server.processes import ENDED_KEPT_S, Denied, Launch, ProcessTable

pytestmark = pytest.mark.asyncio(loop_scope="session")
SAYS = """
from inferlet import session


async def main(input):
    for _ in range(input["count"]):
        session.send_file(bytes(256 << 10))
"""


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(runtime: Runtime, clock: Clock) -> ProcessTable:
    return ProcessTable(runtime, clock=clock, max_unread_bytes=1 << 20)


@pytest_asyncio.fixture(loop_scope="session")
async def program(runtime: Runtime, tmp_path: Path) -> AsyncIterator[LoadedProgram]:
    (tmp_path / "main.py").write_text(SAYS)
    yield await runtime.load(tmp_path)


async def run(table: ProcessTable, program: LoadedProgram, count: int) -> str:
    """Launch a process of a client that leaves at once, and wait for its end."""
    peer = Peer()
    process_id = table.launch(Launch(program, "says@0.1.0", f'{{"count": {count}}}', "me", captured=True), peer)
    table.detach(peer)
    await table.idle()
    return process_id


def is_there(table: ProcessTable, process_id: str) -> bool:
    try:
        table.find(process_id, user="me")
    except Denied:
        return False
    return True


async def test_what_is_left_of_an_ended_process_goes_after_a_while(
    table: ProcessTable, program: LoadedProgram, clock: Clock
) -> None:
    old = await run(table, program, 1)
    clock.now_s = ENDED_KEPT_S - 1
    new = await run(table, program, 1)
    assert is_there(table, old)
    clock.now_s = ENDED_KEPT_S + 1
    await run(table, program, 1)
    assert (is_there(table, old), is_there(table, new)) == (False, True)


async def test_of_too_much_that_nobody_has_read_the_oldest_goes(table: ProcessTable, program: LoadedProgram) -> None:
    ended = [await run(table, program, 2) for _ in range(4)]  # half a MiB each
    assert [is_there(table, process_id) for process_id in ended] == [False, False, True, True]


async def test_an_ended_process_cannot_be_ended_again(table: ProcessTable, program: LoadedProgram) -> None:
    process_id = await run(table, program, 1)
    with pytest.raises(Denied, match="Process not found"):
        table.terminate(process_id, user="me")
    assert table.running("me") == []


async def test_accepted_connections_send_small_frames_at_once() -> None:
    with listen_at("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = await asyncio.to_thread(listening.accept)
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
