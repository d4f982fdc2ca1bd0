"""One server for all tests, with everybody let in, over the shared runtime; and clients of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.server.running import Install, Upstream, pack

from pie.process.store import ProgramStore
from pie.runtime import Runtime
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings

MIB = 1 << 20


@pytest.fixture(scope="session")
def server_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared server keeps programs."""
    return tmp_path_factory.mktemp("server")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_server(shared_runtime: Runtime, server_home: Path) -> AsyncIterator[Server]:
    settings = ServerSettings(port=0, authentication=False, max_upload_bytes=2 * MIB, grace_s=0)
    with listen(settings) as listening:
        async with serve(shared_runtime, settings, listening, home=server_home) as server:
            yield server


@pytest_asyncio.fixture(loop_scope="session")
async def server(shared_server: Server, runtime: Runtime) -> AsyncIterator[Server]:
    """The shared server; afterwards no client, upload or process may be left."""
    yield shared_server
    async with asyncio.timeout(10):
        while shared_server.service.num_sessions or runtime.num_processes:
            await asyncio.sleep(0.001)
    assert shared_server.service.upload_room.num_taken == 0


@pytest.fixture
def install(shared_server: Server, server_home: Path, tmp_path: Path) -> Install:
    def install(name: str, text: str, *, version: str = "0.1.0", parameters: str = "") -> str:
        manifest = f'[package]\nname = "{name}"\nversion = "{version}"\n{parameters}'
        ProgramStore(server_home / "programs").install(pack(tmp_path / name, text), manifest, replace=True)
        return f"{name}@{version}"

    return install


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path)


@pytest.fixture(scope="session")
def answering_program(answering_wasm: Path, server_home: Path) -> str:
    """An installed program that answers HTTP requests."""
    manifest = '[package]\nname = "answering"\nversion = "0.1.0"\n'
    ProgramStore(server_home / "programs").install(answering_wasm.read_bytes(), manifest, replace=True)
    return "answering@0.1.0"
