"""What a process has said is read, and texts and files are given to it, by its owner who does not listen to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.server.running import TALKER, Install, Upstream

from pie.server.server import Server
from pie_client import Client, LogEvent, Refused

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(server.url) as client:
        await client.authenticate("me")
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def other(server: Server) -> AsyncIterator[Client]:
    """Another session of the same user."""
    async with Client(server.url) as client:
        await client.authenticate("me")
        yield client


async def told(client: Client, process_id: str, *, follow: bool = False) -> list[tuple[str, str]]:
    return [(event.kind, event.value) async for event in client.logs(process_id, follow=follow)]


async def test_logs_take_nothing_from_who_attaches_later(client: Client, other: Client, install: Install) -> None:
    program = install("logged", TALKER)
    process = await client.launch_process(program, {"say": ["a", "b"], "hear": 1, "value": 7}, detached=True)
    following = asyncio.ensure_future(told(other, process.process_id, follow=True))
    while await told(other, process.process_id) != [("message", "a"), ("message", "b")]:
        await asyncio.sleep(0.01)
    await other.send_text(process.process_id, "x")
    expected = [("message", "a"), ("message", "b"), ("message", "heard x"), ("return", "7")]
    assert await following == expected
    await process.attach()
    assert [(event.kind, event.value) async for event in process] == expected
    assert await told(other, process.process_id) == expected, "also when it has been heard and has ended"


async def test_logs_of_a_process_that_somebody_listens_to(client: Client, other: Client, install: Install) -> None:
    process = await client.launch_process(install("logged", TALKER), {"say": ["é" * 300_000], "files": 1})
    following = other.logs(process.process_id, follow=True)
    assert await anext(following) == LogEvent("message", "é" * 300_000)
    await other.send_file(process.process_id, bytes(300_000))
    events = [event async for event in process]
    assert [(event.kind, len(event.value)) for event in events[:2]] == [("message", 300_000), ("file", 300_001)]
    assert [event async for event in following] == [LogEvent("file", "300001"), LogEvent("return", "null")]


async def test_what_is_not_ones_own_or_not_there_is_refused(server: Server, client: Client, install: Install) -> None:
    process = await client.launch_process(install("logged", TALKER), {"hear": 1})
    async with Client(server.url) as stranger:
        await stranger.authenticate("stranger")
        for call in (
            lambda: told(stranger, process.process_id),
            lambda: stranger.send_text(process.process_id, "x"),
            lambda: stranger.send_file(process.process_id, b"x"),
        ):
            with pytest.raises(Refused, match="Permission denied"):
                await call()
        with pytest.raises(Refused, match="Process not found"):
            await stranger.send_text("00000000-0000-4000-8000-000000000000", "x")
        with pytest.raises(Refused, match="Invalid process ID"):
            await told(stranger, "x")
        assert await stranger.list_processes(ended=True) == []
    await client.send_text(process.process_id, "x")
    assert [event.kind async for event in process] == ["message", "return"]
    for call in (
        lambda: client.send_text(process.process_id, "x"),
        lambda: client.send_file(process.process_id, b"x"),
    ):
        with pytest.raises(Refused) as refused:
            await call()
        assert refused.value.code == "process-ended"


async def test_a_full_inbox_is_told(client: Client, install: Install) -> None:
    waits = "import asyncio\nasync def main(input):\n    await asyncio.sleep(1000)\n"
    process = await client.launch_process(install("sleeper", waits))
    for _ in range(10_000):
        await process.signal("x")
    with pytest.raises(Refused) as refused:
        await client.send_text(process.process_id, "x")
    assert refused.value.code == "inbox-full"
    await process.terminate()
    assert (await process.recv()).value == "Signal"


async def test_ended_processes_are_listed_when_asked_for(client: Client, install: Install) -> None:
    process = await client.launch_process(install("logged", TALKER), {"value": 1})
    assert await process.result() == 1
    assert process.process_id not in [row.id for row in await client.list_processes()]
    newest = (await client.list_processes(ended=True))[0]
    assert (newest.id, newest.ended, newest.input) == (process.process_id, True, "")


@pytest.mark.parametrize(
    "record", ["", "[]", "{}", '{"process_id": 1}', '{"process_id": "x", "position": -1}', "[" * 9999]
)
async def test_a_query_of_another_form_is_told(record: str, client: Client) -> None:
    with pytest.raises(Refused) as refused:
        await client.query("transcript", record)
    assert refused.value.code == "bad-query"


async def test_the_client_of_pie_0_4_can_ask_too(server: Server, upstream: Upstream, install: Install) -> None:
    body = """
        await client.authenticate("me")
        process = await client.launch_process(given["program"], {"say": ["a"]})
        while (await process.recv())[0] != Event.Return:
            pass
        return await client.query("transcript", json.dumps({"process_id": process.process_id}))
    """
    answer = await upstream.run(server.url, body, program=install("logged", TALKER))
    page = json.loads(answer[-1])
    assert [piece["value"] for piece in page["pieces"]] == ["a", "null"]
    assert (page["position"], page["end"], page["is_over"]) == (2, 2, True)
