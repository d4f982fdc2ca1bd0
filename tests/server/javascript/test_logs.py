"""The JavaScript client reads what a process has said, and talks to it, without listening to it."""

from __future__ import annotations

import pytest
from tests.server.javascript.conftest import Node
from tests.server.running import TALKER, Install

from pie.server.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_logs_are_read_while_another_session_listens(server: Server, javascript: Node, install: Install) -> None:
    body = """
        const [client, other] = [await connected(), await connected()];
        const process = await client.launchProcess(given.program, { say: ['é'.repeat(300000)], hear: 1, files: 1 });
        const id = process.processId;
        await process.recv();
        const now = [];
        for await (const event of other.logs(id)) now.push(event.value.length);
        await other.sendText(id, 'x');
        await other.sendFile(id, new Uint8Array(300000));
        const rest = [];
        for await (const event of other.logs(id, { follow: true })) rest.push([event.kind, event.value.slice(0, 9)]);
        await process.result();
        const late = await told(other.sendText(id, 'x'));
        const ended = (await other.listProcesses({ ended: true })).find((row) => row.id === id).ended;
        const stranger = await connected('stranger');
        const denied = [
          await told(stranger.logs(id).next()),
          await told(stranger.sendFile(id, new Uint8Array(1))),
        ].map(([name, , cause]) => [name, cause]);
        for (const one of [client, other, stranger]) await one.close();
        return { now, rest, late: late.slice(0, 2), ended, denied };
    """
    assert await javascript.run(server.url, body, program=install("jslogged", TALKER)) == {
        "now": [300_000],
        "rest": [["message", "é" * 9], ["message", "heard x"], ["file", "300001"], ["return", "null"]],
        "late": ["Refused", "process-ended"],
        "ended": True,
        "denied": [["Refused", "Permission denied"]] * 2,
    }
