"""Loaded programs: components of their own, and source text that the prebuilt runner takes.

What was loaded lately is not loaded again as long as it is the same; the runner of a language is built and compiled at
most once per version and shared by all source programs of that language.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import threading
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pie.build.modules import LANGUAGE_NAMES, Language, entry_file, language_of
from pie.build.packed import SUFFIX as PACKED
from pie.build.packed import read_packed
from pie.build.program import collect_source
from pie.build.runner import ensure_runner
from pie.errors import ProgramError, unreadable
from pie.host.state import SourceText
from pie.wasm.component import Program
from pie.wasm.engine import WasmEngine
from pie.wasm.imports import Imports

__all__ = ["LoadedProgram", "Programs", "Progress"]

MAX_LOADED = 64
"""Programs that are kept ready, beside those that run."""

RUN_EXPORT = re.compile(r"pie:[a-z0-9-]+/run(@.*)?")
HANDLER_EXPORT = re.compile(r"wasi:http/incoming-handler@0\.2\.\d+")
Progress = Callable[[str], None]
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class LoadedProgram:
    """A component ready to be instantiated, and the text to hand to it if it is a runner.

    Attributes:
        name: for people.
        component: compiled and linked.
        export: the interface that holds `run`; empty if it only answers HTTP requests.
        handler: the interface that holds `handle`, if it answers HTTP requests; else empty.
        source: the program text as JSON without compiled code; None for a component of its own.
        code: module name -> compiled code that the runner made of `source` in an earlier run.
    """

    name: str
    component: Program
    export: str
    handler: str = ""
    source: str | None = None
    code: dict[str, str] = field(default_factory=dict)

    def source_text(self) -> SourceText | None:
        """What one process of a runner is given."""
        if self.source is None:
            return None
        program = json.loads(self.source)
        return SourceText(json.dumps(program | {"code": self.code, "keep": not self.code}))

    def keep_code(self, source: SourceText | None) -> None:
        """Remember compiled code for the next run of the same text in the same runner."""
        if source is not None:
            self.code.update(source.saved_code)


class Programs:
    """Loads programs from files; holds the programs used last and one runner per language."""

    def __init__(self, engine: WasmEngine, imports: Imports, cache_dir: Path) -> None:
        """Load programs into `engine`, linked to `imports`; what is built goes to `cache_dir`."""
        self._engine = engine
        self._imports = imports
        self._cache_dir = cache_dir
        self._runners: dict[Language, Program] = {}
        self._runner_lock = asyncio.Lock()
        self._parsing = threading.Lock()
        self._loaded: dict[Hashable, LoadedProgram] = {}  # the one used longest ago first

    async def load(
        self, path: Path, progress: Progress = lambda _text: None, *, name: str | None = None
    ) -> LoadedProgram:
        """Load a `.wasm` file, a packed program, a source file or a folder; other programs run on meanwhile.

        Args:
            path: the file or folder.
            progress: told in a short sentence what takes long.
            name: for people; None takes that of the file.

        Raises:
            ProgramError: it cannot be found, read, built, compiled or linked.
        """
        if path.suffix == ".wasm":
            return await self._load_component(path, name or path.stem, progress)
        return await self._load_source(path, name, progress)

    async def check(self, content: bytes, progress: Progress = lambda _text: None) -> None:
        """See that bytes from outside are a program, a component or packed source text, before they are installed.

        A component is compiled on the way, in a process of its own under limits, and is then in the cache. Cancelling
        ends that process.

        Raises:
            ProgramError: `not-a-component`, `compile-timeout`, `compile-limit`, `compile-failed`,
                `bad-packed-program`, `program-too-large`.
        """
        if content.startswith(b"{"):
            await asyncio.to_thread(read_packed, content)
        else:
            await self._engine.compile(content, starting=lambda: progress("Compiling the program"))

    async def _load_component(self, path: Path, name: str, progress: Progress) -> LoadedProgram:
        key = (name, path, _state(path))
        program = self._recall(key)
        if program is None:
            component = await self._open(path, name, progress)
            program = self._keep(key, _describe(component, name))
        return program

    async def _load_source(self, path: Path, name: str | None, progress: Progress) -> LoadedProgram:
        own_name, language, text = await _in_thread(self._read_source, path, progress)
        name = name or own_name
        key = (name, hashlib.sha256(text.encode()).digest())
        program = self._recall(key)
        if program is None:
            runner = await self.runner(progress, language)
            program = self._keep(key, LoadedProgram(name, runner, "pie:runner/run", source=text))
        return program

    def _recall(self, key: Hashable) -> LoadedProgram | None:
        program = self._loaded.pop(key, None)
        return None if program is None else self._keep(key, program)

    def _keep(self, key: Hashable, program: LoadedProgram) -> LoadedProgram:
        self._loaded[key] = program
        while len(self._loaded) > MAX_LOADED:
            del self._loaded[next(iter(self._loaded))]
        return program

    async def runner(self, progress: Progress = lambda _text: None, language: Language = "python") -> Program:
        """The runner of a language, built and compiled on first use."""
        async with self._runner_lock:
            if language not in self._runners:
                folder = self._cache_dir / "runner"
                wasm = await _in_thread(ensure_runner, folder, language, tools_dir=self._tools_dir, progress=progress)
                runner = await self._open(wasm, f"the {LANGUAGE_NAMES[language]} runner", progress)
                self._runners[language] = runner
            return self._runners[language]

    def _read_source(self, path: Path, progress: Progress, *, stop: threading.Event) -> tuple[str, Language, str]:
        """The name of a source program, for people, its language, and its text for the runner."""
        if path.suffix == PACKED:
            packed = read_packed(_read(path))
            return path.stem, packed.language, packed.program
        language = language_of(entry_file(path))
        # In Python 3.11 two threads that parse Python at once may make each other fail (cpython issue 106905).
        with self._parsing if language == "python" else nullcontext():
            text = collect_source(path, tools_dir=self._tools_dir, progress=progress, stop=stop)
        return path.resolve().stem, language, text

    @property
    def _tools_dir(self) -> Path:
        return self._cache_dir / "javascript"

    async def _open(self, path: Path, name: str, progress: Progress) -> Program:
        return await self._engine.open(path, self._imports, starting=lambda: progress(f"Compiling {name}"))


def _describe(component: Program, name: str) -> LoadedProgram:
    run = _find_export(component, "run", RUN_EXPORT)
    handler = _find_export(component, "handle", HANDLER_EXPORT)
    if not run and not handler:
        raise ProgramError(
            "missing-export",
            f"{name} exports neither pie:<name>/run nor wasi:http/incoming-handler",
            remedy="Build it with `pie build`, which adds the export.",
        )
    return LoadedProgram(name, component, run, handler)


def _state(path: Path) -> Hashable:
    """What changes when a file is written or replaced."""
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def _find_export(component: Program, function: str, interface: re.Pattern[str]) -> str:
    """The exported interface that has the function; empty if there is none."""
    return next((name for name, *rest in component.exports if rest == [function] and interface.fullmatch(name)), "")


async def _in_thread(work: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Do `work` in a thread; it is told to stop, through its argument `stop`, if nobody waits for it any more."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(work, *arguments, **options, stop=stop)
    except asyncio.CancelledError:
        stop.set()
        raise
