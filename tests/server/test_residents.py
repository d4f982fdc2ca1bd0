"""Programs that stay up: one instance for many requests, which survives errors and is started again when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpcore2
import pytest
import pytest_asyncio
from tests.running import BuildDaemon

from pie.config import Route
from pie.errors import ProcessError
from pie.process.store import ProgramStore
from pie.runtime import Runtime
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings

# The first test waits for the program to be built.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400)]

DAEMONS = Path(__file__).parents[1] / "daemons"
MANIFEST = '[package]\nname = "staying-{}"\nversion = "0.1.0"\n\n[daemon]\ninstances = "one"\n'


@pytest_asyncio.fixture(loop_scope="session")
async def pool() -> AsyncIterator[httpcore2.AsyncConnectionPool]:
    async with httpcore2.AsyncConnectionPool() as pool:
        yield pool


@pytest_asyncio.fixture(loop_scope="session", params=["python/staying/main.py", "javascript/staying/main.ts"])
async def url(
    request: pytest.FixtureRequest, server: Server, server_home: Path, build_daemon: BuildDaemon
) -> AsyncIterator[str]:
    """Where a daemon answers that stays up."""
    wasm = await asyncio.to_thread(build_daemon, DAEMONS / request.param)
    language = request.param.rpartition(".")[2]
    ProgramStore(server_home / "programs").install(wasm.read_bytes(), MANIFEST.format(language), replace=True)
    offered = await server.service.programs.offer(f"staying-{language}")
    daemon_id = await server.service.daemons.launch(offered, "staying", owner="me", port=0)
    ((_, daemon, _),) = server.service.daemons.running("me")
    yield f"http://127.0.0.1:{daemon.port}"
    assert await server.service.daemons.end(daemon_id, user="me")


async def ask(pool: httpcore2.AsyncConnectionPool, url: str, body: bytes = b"") -> tuple[int, bytes]:
    response = await pool.request("POST", url, content=body)
    return response.status, response.content


async def test_one_instance_answers_many_requests_and_keeps_its_state(
    url: str, pool: httpcore2.AsyncConnectionPool, server: Server, runtime: Runtime
) -> None:
    launched = runtime.num_launched
    assert [await ask(pool, f"{url}/count") for _ in range(3)] == [(200, b"1"), (200, b"2"), (200, b"3")]
    at_once = await asyncio.gather(*(ask(pool, f"{url}/count") for _ in range(20)))
    assert sorted(int(body) for _, body in at_once) == list(range(4, 24))
    assert await ask(pool, f"{url}/echo", b"x" * 300_000) == (200, b"x" * 300_000)
    assert runtime.num_launched - launched == 1
    assert (runtime.num_processes, server.service.processes.num_answering) == (1, 1)


async def test_a_context_stays_warm_from_one_request_to_the_next(
    url: str, pool: httpcore2.AsyncConnectionPool, runtime: Runtime
) -> None:
    question = b"What is the capital of France?"
    first = await ask(pool, f"{url}/chat", question)
    held = runtime.model.scheduler.ledger().held
    assert held
    assert first == await ask(pool, f"{url}/chat", question)
    assert (first[0], len(first[1]) > 0) == (200, True)
    assert runtime.model.scheduler.ledger().held == held


async def test_an_error_in_one_request_is_that_ones_alone(url: str, pool: httpcore2.AsyncConnectionPool) -> None:
    assert await ask(pool, f"{url}/count") == (200, b"1")
    assert (await ask(pool, f"{url}/raise"))[0] == 500
    assert await ask(pool, f"{url}/count") == (200, b"2")


@pytest.mark.parametrize("url", ["python/staying/main.py"], indirect=True)
async def test_a_program_that_ends_is_started_again(
    url: str, pool: httpcore2.AsyncConnectionPool, runtime: Runtime
) -> None:
    assert await ask(pool, f"{url}/count") == (200, b"1")
    launched = runtime.num_launched
    assert (await ask(pool, f"{url}/abort"))[0] == 500
    counts = await asyncio.gather(*(ask(pool, f"{url}/count") for _ in range(3)))
    assert sorted(counts) == [(200, b"1"), (200, b"2"), (200, b"3")]  # they waited for the new one
    assert runtime.num_launched - launched == 1


async def test_a_client_that_leaves_ends_its_answer_alone(url: str, pool: httpcore2.AsyncConnectionPool) -> None:
    assert await ask(pool, f"{url}/count") == (200, b"1")
    async with pool.stream("GET", f"{url}/endless") as response:
        assert await anext(aiter(response.aiter_stream()))
    assert await ask(pool, f"{url}/count") == (200, b"2")
    waiting = asyncio.create_task(ask(pool, f"{url}/count"))
    async with pool.stream("GET", f"{url}/endless") as response:
        assert await anext(aiter(response.aiter_stream()))
        left = asyncio.create_task(ask(pool, f"{url}/count"))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.wait([left])
    assert await waiting == (200, b"3")


@pytest.mark.parametrize("url", ["python/staying/main.py"], indirect=True)
async def test_a_program_that_is_terminated_gives_everything_back_and_is_started_again(
    url: str, pool: httpcore2.AsyncConnectionPool, server: Server, runtime: Runtime
) -> None:
    assert (await ask(pool, f"{url}/chat", b"Hello"))[0] == 200
    async with pool.stream("GET", f"{url}/endless") as response:
        parts = aiter(response.aiter_stream())  # held, since the connection ends with it
        assert await anext(parts)
        server.service.processes.terminate_all(ProcessError("terminated", "on purpose"))
        with pytest.raises(httpcore2.RemoteProtocolError):
            async for _ in parts:
                pass
    await until_nothing_runs(server, runtime)
    assert await ask(pool, f"{url}/count") == (200, b"1")


async def test_a_server_that_stops_lets_requests_finish_and_gives_everything_back(
    runtime: Runtime, build_daemon: BuildDaemon, tmp_path: Path
) -> None:
    wasm = await asyncio.to_thread(build_daemon, DAEMONS / "python/staying/main.py")
    ProgramStore(tmp_path / "programs").install(wasm.read_bytes(), MANIFEST.format("py"), replace=True)
    routes = (Route("/chat", "staying-py"), Route("/count", "staying-py"))
    settings = ServerSettings(port=0, authentication=False, routes=routes, grace_s=60)
    with listen(settings) as listening:
        async with (
            serve(runtime, settings, listening, home=tmp_path) as server,
            httpcore2.AsyncConnectionPool() as pool,
        ):
            url = f"http{server.url.removeprefix('ws')}"
            assert await ask(pool, f"{url}/count") == (200, b"1")
            chat = asyncio.create_task(ask(pool, f"{url}/chat", b"Hello"))
            while server.service.processes.num_answering < len(routes):
                await asyncio.sleep(0.001)
            await server.drain()
            assert (await chat)[0] == 200
            await until_nothing_runs(server, runtime)
            assert (await ask(pool, f"{url}/count"))[0] == 503


async def until_nothing_runs(server: Server, runtime: Runtime) -> None:
    """Programs that stay are gone, and with them their instances and contexts."""
    async with asyncio.timeout(10):
        while server.service.processes.num_running or runtime.num_processes:
            await asyncio.sleep(0.001)
    assert (runtime.num_guests, runtime.model.scheduler.ledger().held) == (0, 0)
