"""Fixtures for all tests: what is built once, and one runtime with the embedded model that every test leaves clean."""

from __future__ import annotations

import hashlib
import shutil
import socket
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.running import BuildDaemon, Run, RunInferlet, RunProgram, everything_is_given_back, run_to_end

from pie.build.modules import language_of
from pie.build.program import build_program
from pie.build.runner import ensure_runner, runner_key
from pie.build.sources import find_sources
from pie.config import McpServer, Settings, embedded_model
from pie.runtime import Runtime

INFERLETS = Path(__file__).parents[1] / "inferlets"
DAEMONS = Path(__file__).parent / "daemons"


@pytest.fixture(scope="session")
def cache_dir(request: pytest.FixtureRequest) -> Path:
    """A cache that outlives the run; what is in it is keyed by what it was made of."""
    if request.config.cache is None:
        pytest.skip("needs pytest's cache")
    return request.config.cache.mkdir("pie")


@pytest.fixture(scope="session")
def runner_wasm(cache_dir: Path) -> Path:
    return ensure_runner(cache_dir / "runner")


@pytest.fixture(scope="session")
def build_daemon(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildDaemon:
    def build(entry: Path) -> Path:
        language = language_of(entry)
        if language == "javascript" and shutil.which("node") is None:
            pytest.skip("needs Node.js")
        key = hashlib.sha256(entry.read_bytes() + runner_key(find_sources(), language).encode()).hexdigest()[:20]
        built = cache_dir / "tests" / f"answering-{key}.wasm"
        if not built.exists():
            built.parent.mkdir(exist_ok=True)
            folder = tmp_path_factory.mktemp("answering")
            shutil.copy(entry, folder)
            build_program(folder, built, work_dir=cache_dir / "build", tools_dir=cache_dir / "javascript")
        return built

    return build


@pytest.fixture(scope="session")
def answering_wasm(build_daemon: BuildDaemon) -> Path:
    """A program that answers HTTP requests in every way."""
    return build_daemon(DAEMONS / "python" / "main.py")


@pytest.fixture(scope="session")
def answering_javascript_wasm(build_daemon: BuildDaemon) -> Path:
    """The same in TypeScript."""
    return build_daemon(DAEMONS / "javascript" / "main.ts")


@pytest.fixture(scope="session")
def programs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs that may be launched by name: the examples, and what a test adds and takes away again."""
    folder = tmp_path_factory.mktemp("programs")
    for example in INFERLETS.iterdir():
        if example.is_dir():
            (folder / example.name).symlink_to(example)
    return folder


@pytest.fixture(scope="session")
def http_socket() -> Iterator[socket.socket]:
    """Listens at the one place that programs of the tests may reach by HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_runtime(
    tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, programs_dir: Path, http_socket: socket.socket
) -> AsyncIterator[Runtime]:
    home = tmp_path_factory.mktemp("home")
    weather = McpServer("weather", command=(sys.executable, str(INFERLETS / "mcp-tools" / "server.py")))
    rows = McpServer("rows", command=(sys.executable, str(Path(__file__).parent / "api" / "mcp_server.py")))
    settings = Settings(
        home=home,
        cache=cache_dir,
        model=embedded_model(),
        programs=programs_dir,
        mcp_servers=(weather, rows),
        allowed_hosts=(f"127.0.0.1:{http_socket.getsockname()[1]}",),
    )
    async with Runtime(settings) as runtime:
        await runtime.programs.runner()  # built and compiled here, so that no test waits for it
        yield runtime


@pytest_asyncio.fixture(loop_scope="session")
async def runtime(shared_runtime: Runtime) -> AsyncIterator[Runtime]:
    yield shared_runtime
    await everything_is_given_back(shared_runtime)


@pytest.fixture
def run_program(runtime: Runtime, tmp_path: Path) -> RunProgram:
    async def run(program: str | dict[str, str], value: Any = None, *, seed: int = 1) -> Run:
        files = {"main.py": program} if isinstance(program, str) else program
        for name, text in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))
        return await run_to_end(runtime, tmp_path, value, seed=seed)

    return run


@pytest.fixture
def peft_folder(runtime: Runtime) -> Path:
    """The operator's folder of adapters for the user who runs the tests' programs."""
    folder = runtime.model.adapter_dir / "local"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def run_inferlet(runtime: Runtime) -> RunInferlet:
    async def run(name: str, value: Any, *, seed: int | None = None, lines: Sequence[str] = ()) -> Run:
        return await run_to_end(runtime, INFERLETS / name, dict(value), seed=seed, lines=lines)

    return run
