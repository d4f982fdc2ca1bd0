"""Daemons over real HTTP: streaming, clients that leave, broken responses, ports and their owners."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpcore2
import pytest
import pytest_asyncio
from tests.server.running import TALKER, Install

from pie.runtime import Runtime
from pie.server.server import Server
from pie_client import Client, Refused

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def pool() -> AsyncIterator[httpcore2.AsyncConnectionPool]:
    async with httpcore2.AsyncConnectionPool() as pool:
        yield pool


@pytest_asyncio.fixture(loop_scope="session")
async def url(server: Server, answering_program: str) -> AsyncIterator[str]:
    """Where a daemon answers."""
    offered = await server.service.programs.offer(answering_program)
    daemon_id = await server.service.daemons.launch(offered, answering_program, owner="me", port=0)
    ((_, daemon, _),) = server.service.daemons.running("me")
    yield f"http://127.0.0.1:{daemon.port}"
    assert await server.service.daemons.end(daemon_id, user="me")


async def test_a_daemon_answers_with_status_header_and_body(url: str, pool: httpcore2.AsyncConnectionPool) -> None:
    response = await pool.request("POST", f"{url}/echo?x", content=b"x" * 300_000)
    assert (response.status, len(response.content)) == (201, 300_000)
    assert dict(response.headers)[b"x-kind"] == b"echo"
    response = await pool.request("GET", f"{url}/request?a=1", headers={"x-mine": "2"})
    method, path, query, headers = json.loads(response.content)
    assert (method, path, query, headers["x-mine"]) == ("GET", "/request", {"a": "1"}, "2")
    assert headers["host"] == url.removeprefix("http://")


async def test_a_daemon_streams(url: str, pool: httpcore2.AsyncConnectionPool) -> None:
    async with pool.stream("POST", f"{url}/chat", content=b"What is the capital of France?") as response:
        parts = [part async for part in response.aiter_stream()]
    assert b"".join(parts) == b"The capital of France is Paris."
    assert len(parts) > 1


async def test_a_client_that_leaves_ends_the_process(
    url: str, pool: httpcore2.AsyncConnectionPool, runtime: Runtime
) -> None:
    async with pool.stream("GET", f"{url}/endless") as response:
        assert await anext(aiter(response.aiter_stream()))
        assert runtime.num_processes == 1
    async with asyncio.timeout(10):
        while runtime.num_processes:
            await asyncio.sleep(0.01)


async def test_a_response_that_breaks_off_is_noticed_by_the_client(
    url: str, pool: httpcore2.AsyncConnectionPool
) -> None:
    with pytest.raises(httpcore2.RemoteProtocolError):
        await pool.request("GET", f"{url}/break")


async def test_a_page_of_another_site_is_refused(url: str, pool: httpcore2.AsyncConnectionPool) -> None:
    response = await pool.request("GET", f"{url}/count", headers={"origin": "https://evil.example"})
    assert response.status == 403
    response = await pool.request("GET", f"{url}/count", headers={"host": "evil.example"})
    assert response.status == 403


async def test_many_clients_are_answered_at_once(url: str, pool: httpcore2.AsyncConnectionPool) -> None:
    responses = await asyncio.gather(*(pool.request("GET", f"{url}/count") for _ in range(40)))
    assert {(response.status, response.content) for response in responses} == {(200, b"0\n1\n2\n")}


async def test_a_daemon_is_listed_and_ended_by_its_owner(
    server: Server, answering_program: str, pool: httpcore2.AsyncConnectionPool
) -> None:
    async with Client(server.url) as mine, Client(server.url) as other:
        await mine.authenticate("me")
        await other.authenticate("other")
        await mine.launch_daemon(answering_program, 0)
        (listed,) = await mine.list_processes()
        assert listed.port
        assert await other.list_processes() == []
        with pytest.raises(Refused, match="Process not found"):
            await other.terminate_process(listed.id)
        assert (await pool.request("GET", f"http://127.0.0.1:{listed.port}/count")).status == 200
        with pytest.raises(Refused, match="port-in-use"):
            await mine.launch_daemon(answering_program, listed.port)
        await mine.terminate_process(listed.id)
        assert await mine.list_processes() == []
        with pytest.raises(httpcore2.ConnectError):
            await pool.request("GET", f"http://127.0.0.1:{listed.port}/count")


async def test_a_daemon_that_is_ended_ends_the_processes_that_still_answer(
    server: Server, answering_program: str, pool: httpcore2.AsyncConnectionPool, runtime: Runtime
) -> None:
    offered = await server.service.programs.offer(answering_program)
    daemon_id = await server.service.daemons.launch(offered, answering_program, owner="me", port=0)
    ((_, daemon, _),) = server.service.daemons.running("me")
    async with pool.stream("GET", f"http://127.0.0.1:{daemon.port}/endless") as response:
        assert await anext(aiter(response.aiter_stream()))
        assert runtime.num_processes == 1
        assert await server.service.daemons.end(daemon_id, user="me")
        async with asyncio.timeout(10):
            while runtime.num_processes:
                await asyncio.sleep(0.01)


async def test_a_body_of_many_small_parts_arrives_whole(url: str, pool: httpcore2.AsyncConnectionPool) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3000):
            yield b"x"

    response = await pool.request("POST", f"{url}/echo", content=parts(), headers={"transfer-encoding": "chunked"})
    assert response.content == b"x" * 3000


async def test_what_cannot_be_a_daemon_is_refused(server: Server, install: Install, answering_program: str) -> None:
    async with Client(server.url) as client:
        await client.authenticate("me")
        with pytest.raises(Refused, match="no-handler"):
            await client.launch_daemon(install("talker", TALKER), 0)
        with pytest.raises(Refused, match="program-not-found"):
            await client.launch_daemon("nothing", 0)
        with pytest.raises(Refused, match="bad-input"):
            await client.launch_daemon(answering_program, 0, {"a": 1})
        with pytest.raises(Refused, match="cannot-listen"):
            await client.launch_daemon(answering_program, 4_000_000)
    assert len(server.service.daemons) == 0
