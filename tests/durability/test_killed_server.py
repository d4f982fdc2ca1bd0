"""A whole server that is killed while clients save, install and upload has kept what it told them, whole."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.server.running import pack
from tests.server.server_process import LONG_S, ServerProcess, started

from pie.process.blobs import digest_of
from pie.process.store import ProgramStore
from pie_client import Client, ConnectionLost, Process

NAMES = 3
SAVER = """
import json

from inferlet import Context, Model, Sampler, session


async def main(input):
    model, number = Model.default(), input["number"]
    while True:
        with Context(model) as context:
            context.append_text(f"the {number} " * (1 + number % 5))
            await context.flush()
            with context.fork() as twin:
                tokens = await twin.generate(Sampler.argmax(), max_tokens=2, stop=[]).collect_tokens()
            told = {"number": number, "length": context.seq_len, "tokens": tokens}
            session.send("begin " + json.dumps(told))
            context.save(f"n{number % 3}")
            session.send("done " + json.dumps(told))
        number += 1
"""
OPENER = """
from inferlet import Context, Model, Sampler


async def main(input):
    found = {}
    for name in ("n0", "n1", "n2"):
        context = Context.open(Model.default(), name)
        if context is not None:
            with context:
                length, tokens = context.seq_len, None
                if input["generate"]:
                    tokens = await context.generate(Sampler.argmax(), max_tokens=2, stop=[]).collect_tokens()
                found[name] = {"length": length, "tokens": tokens}
    return found
"""


class Told:
    """What clients were told, and what had begun and may have been done without their hearing of it."""

    def __init__(self) -> None:
        self.done: dict[str, Any] = {}
        self.begun: dict[str, Any] = {}
        self.count = 0

    def begin(self, key: str, value: Any) -> None:
        self.begun[key] = value

    def finish(self, key: str) -> None:
        self.done[key] = self.begun.pop(key)
        self.count += 1

    def settle(self, key: str, found: Any) -> None:
        """Check what is found under a key after a kill; from now on that is what is there."""
        allowed = [values[key] for values in (self.done, self.begun) if key in values]
        assert found in allowed or (found is None and key not in self.done), (key, found, allowed)
        self.begun.pop(key, None)
        if found is not None:
            self.done[key] = found


class Clients:
    """Clients that save and install until the server is killed, and what they were told."""

    def __init__(self, folder: Path) -> None:
        self.saved, self.installed = Told(), Told()
        self._next = 0
        self._saver, self._opener = pack(folder / "saver", SAVER), pack(folder / "opener", OPENER)
        source = "# " + "long " * 60_000 + "\nasync def main(input):\n    return "  # more than one chunk
        self._versions = [pack(folder / "program", f"{source}{number}\n") for number in range(8)]

    async def prepare(self, url: str) -> None:
        """Install what saves and opens."""
        async with Client(url) as client:
            await client.authenticate("me")
            for name, program in (("saver", self._saver), ("opener", self._opener)):
                await client.install_program(program, manifest(name))

    async def work(self, url: str, begun: asyncio.Event) -> None:
        """Save and install, until the server is killed."""
        await asyncio.gather(self._save(url, begun), *(self._install(url, name) for name in range(NAMES)))

    async def _save(self, url: str, begun: asyncio.Event) -> None:
        async with Client(url) as client:
            await client.authenticate("me")
            process = await client.launch_process("saver", {"number": self._next})
            with suppress(ConnectionLost):
                await self._follow(process, begun)

    async def _follow(self, process: Process, begun: asyncio.Event) -> None:
        async for event in process:
            assert event.kind == "message", event
            word, text = str(event.value).split(" ", 1)
            told = json.loads(text)
            name = f"n{told['number'] % NAMES}"
            if word == "begin":
                self.saved.begin(name, {"length": told["length"], "tokens": told["tokens"]})
                begun.set()
            else:
                self.saved.finish(name)
                self._next = told["number"] + 1

    async def _install(self, url: str, name: int) -> None:
        with suppress(ConnectionLost):
            async with Client(url) as client:
                await client.authenticate("me")
                for number in range(1_000_000):
                    self.installed.begin(f"p{name}", number % len(self._versions))
                    program = self._versions[number % len(self._versions)]
                    await client.install_program(program, manifest(f"p{name}"), replace=True)
                    self.installed.finish(f"p{name}")

    async def check(self, url: str) -> None:
        """Everything that was told is there and whole: first without any computing, then by its content."""
        async with Client(url) as client:
            await client.authenticate("me")
            [opened] = await client.run_processes("opener", [{"generate": False}])
            figures = await client.query("model_status")
            assert figures["embedded_model.total_tokens_processed"] == 0
            [found] = await client.run_processes("opener", [{"generate": True}])
            assert {name: context["length"] for name, context in opened.items()} == {
                name: context["length"] for name, context in found.items()
            }
            for name in map("n{}".format, range(NAMES)):
                self.saved.settle(name, found.get(name))
            for name in map("p{}".format, range(NAMES)):
                self.installed.settle(name, await self._version(client, name))

    async def _version(self, client: Client, name: str) -> int | None:
        """Which of the programs is installed under a name, asked for by hash and by running it."""
        there = [
            number
            for number, program in enumerate(self._versions)
            if await client.check_program(f"{name}@0.1.0", wasm=program, manifest=manifest(name))
        ]
        if not there:
            assert not await client.check_program(f"{name}@0.1.0")
            return None
        assert await client.run_processes(name, [{}]) == there
        return there[0]


def manifest(name: str) -> str:
    return f'[package]\nname = "{name}"\nversion = "0.1.0"\n'


def check_files(home: Path) -> None:
    """Every file of the store belongs to a program, and is what was installed."""
    programs = ProgramStore(home / "programs").list()
    assert all(digest_of(program.path.read_bytes()) == program.digest for program in programs)
    assert {path.name for path in (home / "programs" / "blobs").iterdir()} == {
        program.path.name for program in programs
    }


async def work_until_killed(server: ServerProcess, clients: Clients, after_s: float) -> None:
    begun = asyncio.Event()
    async with asyncio.timeout(LONG_S), asyncio.TaskGroup() as tasks:
        working = tasks.create_task(clients.work(server.url, begun))
        await begun.wait()
        await asyncio.sleep(after_s)
        server.process.kill()
        await working


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
async def test_a_killed_server_has_kept_what_it_told_its_clients(
    kills: int, tmp_path: Path, cache_dir: Path, runner_wasm: Path
) -> None:
    draw, clients, home = random.Random(kills), Clients(tmp_path), tmp_path / "home"

    with started(home, cache_dir) as one:
        await clients.prepare(one.url)
        await work_until_killed(one, clients, draw.uniform(0, 0.5))
    for _ in range(kills - 1):
        with started(home, cache_dir) as one:
            await clients.check(one.url)
            check_files(home)
            await work_until_killed(one, clients, draw.uniform(0, 0.5))
    with started(home, cache_dir) as one:
        await clients.check(one.url)
        check_files(home)
    assert clients.saved.count + clients.installed.count > 2 * kills
