"""Installed programs, ready to run: what is uploaded is compiled before it is stored."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from pie.build.manifest import check_input
from pie.build.sources import find_sources
from pie.errors import UsageError
from pie.process.programs import LoadedProgram
from pie.process.store import ProgramStore, StoredProgram
from pie.runtime import Runtime
from pie.server.answering import Offered

__all__ = ["InstalledPrograms", "offered_of", "read_input"]


class InstalledPrograms:
    """The programs that clients may launch by name."""

    def __init__(self, runtime: Runtime, store: ProgramStore) -> None:
        """Load programs of `store` into `runtime`."""
        self._runtime = runtime
        self._store = store

    async def has(self, name: str, version: str, *, wasm_hash: str | None, manifest_hash: str | None) -> bool:
        """Whether a program is installed, with these hashes where they are given.

        Raises:
            ProgramError: see `ProgramStore.has`.
        """
        return await asyncio.to_thread(self._store.has, name, version, wasm_hash=wasm_hash, manifest_hash=manifest_hash)

    async def install(self, wasm: bytes, manifest: str, *, replace: bool) -> None:
        """Compile a program and store it.

        Raises:
            ProgramError: it cannot be compiled or stored.
        """
        await self._runtime.programs.check(wasm)
        await asyncio.to_thread(self._store.install, wasm, manifest, replace=replace)

    async def find(self, identifier: str) -> tuple[StoredProgram, LoadedProgram]:
        """The program called `name@version`, or the newest version of `name`, ready to run.

        Raises:
            ProgramError: it is not installed, or cannot be loaded.
        """
        stored = await asyncio.to_thread(self._store.find, identifier)
        return stored, await self._runtime.load(stored.path, name=stored.name)

    async def offer(self, identifier: str) -> Offered:
        """The same as one that answers HTTP requests.

        Raises:
            ProgramError: as `find`.
        """
        return offered_of(*await self.find(identifier))

    async def ours(self, name: str) -> LoadedProgram:
        """A program that comes with the server, ready to run.

        Raises:
            ProgramError: it cannot be loaded.
        """
        return await self._runtime.load(find_sources().inferlets / name, name=name)


def read_input(program: StoredProgram, input_json: str) -> Any:
    """The input of a launch, checked against the program's manifest.

    Raises:
        UsageError: `bad-input`.
    """
    try:
        value = json.loads(input_json) if input_json.strip() else {}
    except (ValueError, RecursionError) as error:
        raise UsageError("bad-input", f"the input is not JSON: {error}", remedy="Give an object as JSON.") from None
    check_input(program.manifest, value)
    return value


def offered_of(stored: StoredProgram, loaded: LoadedProgram) -> Offered:
    """A program as it answers HTTP requests: in one instance if its manifest says so, otherwise in one for each."""
    return Offered(loaded, stored.digest, stays=stored.manifest.daemon.instances == "one")
