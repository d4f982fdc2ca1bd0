"""Components from outside: whatever they are, compiling ends in time, within its memory, and only for who waits."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.wasm import hostile
from tests.wasm.components import CALLS, THINGS
from wasmtime import wat2wasm

from pie.errors import ProgramError
from pie.wasm import CompileLimits, Imports, WasmEngine

BOMB = hostile.many_functions(100_000)
AMPLE = CompileLimits(cpu_s=100, memory_bytes=2 << 30)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[WasmEngine]:
    with WasmEngine(tmp_path / "cache", cpu_workers=0) as engine:
        yield engine


def compilers() -> set[int]:
    """The processes that compile for this one."""
    return {
        int(pid)
        for pid in filter(str.isdigit, os.listdir("/proc"))
        if _line(pid, "stat").rpartition(")")[2].split()[1:2] == [str(os.getpid())]
        and "compile_child" in _line(pid, "cmdline")
    }


def _line(pid: str, name: str) -> str:
    try:
        return Path("/proc", pid, name).read_text()
    except OSError:
        return ""


async def until_compiling(count: int = 1) -> set[int]:
    async with asyncio.timeout(60):
        while len(found := compilers()) < count:
            await asyncio.sleep(0.01)
    return found


def left_in(tmp_path: Path) -> list[str]:
    return os.listdir(tmp_path / "cache")


SMALL = hostile.many_functions(3)
CASES: dict[str, tuple[bytes, CompileLimits, str | None]] = {
    "much to compute": (BOMB, CompileLimits(cpu_s=1, memory_bytes=2 << 30), "compile-timeout"),
    "much to wait for": (BOMB, CompileLimits(cpu_s=100, memory_bytes=2 << 30, wall_s=0.5), "compile-timeout"),
    "a large function": (
        hostile.huge_function(5_000_000),
        CompileLimits(cpu_s=100, memory_bytes=400 << 20),
        "compile-limit",
    ),
    "a function that is too large": (hostile.huge_function(9_000_000), AMPLE, "not-a-component"),
    "deep types": (hostile.deep_types(50_000), AMPLE, "not-a-component"),
    "deep blocks": (hostile.deep_core_blocks(20_000), AMPLE, None),
    "one byte is missing": (SMALL[:-1], AMPLE, "not-a-component"),
    "one byte is too much": (SMALL + b"\0", AMPLE, "not-a-component"),
    "cut off in the middle": (SMALL[:30], AMPLE, "not-a-component"),
    "cut off after its header": (SMALL[:8], AMPLE, None),
    "random bytes": (b"\0asm\x0d\0\x01\0" + random.Random(1).randbytes(5000), AMPLE, "not-a-component"),
    "a core module": (b"\0asm\x01\0\0\0", AMPLE, "not-a-component"),
    "nothing": (b"", AMPLE, "not-a-component"),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_hostile_component_is_refused_or_compiled_and_nothing_is_left(
    case: str, engine: WasmEngine, tmp_path: Path
) -> None:
    component, limits, code = CASES[case]
    if code is None:
        await engine.compile(component, limits)
        assert len(left_in(tmp_path)) == 1
    else:
        with pytest.raises(ProgramError) as caught:
            await engine.compile(component, limits)
        assert caught.value.code == code
        assert len(str(caught.value)) < 1000
        assert left_in(tmp_path) == []
    assert compilers() == set()


@pytest.mark.parametrize("count", [6, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
async def test_a_mutated_component_is_refused_or_loaded(count: int, engine: WasmEngine) -> None:
    draw, codes = random.Random(7), set[str]()
    for _ in range(count):
        component = bytearray(wat2wasm(draw.choice([CALLS, THINGS])))
        for _ in range(draw.randrange(1, 4)):
            component[draw.randrange(8, len(component))] = draw.randrange(256)
        try:
            await engine.open(bytes(component), Imports())
        except ProgramError as error:
            codes.add(error.code)
    assert codes <= {"not-a-component", "missing-import", "unsupported-type", "link-failed"}


async def test_a_type_that_is_written_short_and_is_huge_is_refused(engine: WasmEngine) -> None:
    imports = Imports()
    imports.function("demo:host/api", "f", lambda _guest, _value: None)
    wide = f"(tuple {'u8 ' * 900})"
    wider = f"(tuple {'$wide ' * 900})"
    wat = f"""(component (type $wide {wide}) (type $wider {wider})
        (import "demo:host/api" (instance
            (alias outer 1 $wider (type $t)) (export "f" (func (param "x" $t))))))"""
    with pytest.raises(ProgramError) as caught:
        await engine.open(wat, imports)
    assert caught.value.code == "unsupported-type"
    assert "more than 10000 parts" in caught.value.cause


def named(count: int, kind: str) -> str:
    """A component with so many names."""
    imports = "".join(f'(import "f{n}" (func))' for n in range(count))
    inner = "".join(f'(export "f{n}" (func))' for n in range(count))
    exports = "".join(f'(export "f{n}" (func $run))' for n in range(count))
    run = """(core module $m (func (export "run"))) (core instance $i (instantiate $m))
        (func $run (canon lift (core func $i "run")))"""
    match kind:
        case "imports":
            return f"(component {imports})"
        case "imports of an interface":
            return f'(component (import "demo:host/api" (instance {inner})))'
        case "exports":
            return f"(component {run} {exports})"
        case _:
            return f'(component {run} (instance $e {exports}) (export "demo:host/api" (instance $e)))'


@pytest.mark.parametrize("kind", ["imports", "imports of an interface", "exports", "exports of an interface"])
async def test_a_component_with_many_names_is_refused_before_they_are_counted(kind: str, engine: WasmEngine) -> None:
    with pytest.raises(ProgramError) as caught:
        await engine.open(named(20_000, kind), Imports())
    assert caught.value.code == "program-too-large"
    if kind.startswith("exports"):
        await engine.open(named(500, kind), Imports())


async def test_cancelling_the_only_asker_kills_the_compiler_before_it_is_told(engine: WasmEngine) -> None:
    asker = asyncio.create_task(engine.compile(BOMB, AMPLE))
    await until_compiling()
    asker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asker
    assert compilers() == set()


async def test_an_asker_who_leaves_does_not_take_the_work_of_another_away(engine: WasmEngine) -> None:
    leaving, staying = (asyncio.create_task(engine.compile(hostile.many_functions(20_000), AMPLE)) for _ in range(2))
    compiling = await until_compiling()
    leaving.cancel()
    await asyncio.wait([leaving])
    assert compilers() == compiling
    await staying
    assert engine.is_compiled(hostile.many_functions(20_000))


async def test_who_asks_while_the_work_of_others_is_given_up_gets_work_of_its_own(engine: WasmEngine) -> None:
    component = hostile.many_functions(5_000)
    first = asyncio.create_task(engine.compile(component, AMPLE))
    await until_compiling()
    first.cancel()
    await asyncio.gather(engine.compile(component, AMPLE), engine.compile(component, AMPLE))
    assert first.cancelled()
    assert engine.is_compiled(component)


async def test_only_so_many_are_compiled_at_a_time(engine: WasmEngine) -> None:
    askers = [asyncio.create_task(engine.compile(hostile.many_functions(60_000 + n), AMPLE)) for n in range(4)]
    compiling = await until_compiling(2)
    await asyncio.sleep(0.2)
    assert compilers() == compiling
    for asker in askers:
        asker.cancel()
    await asyncio.wait(askers)
    assert compilers() == set()


async def test_closing_the_engine_ends_what_is_compiled(tmp_path: Path) -> None:
    with WasmEngine(tmp_path / "cache", cpu_workers=0) as engine:
        asker = asyncio.create_task(engine.compile(BOMB, AMPLE))
        await until_compiling()
    with pytest.raises(asyncio.CancelledError):
        await asker
    assert compilers() == set()


HOST = """
import asyncio, sys
from pathlib import Path
from pie.wasm import WasmEngine
async def main():
    with WasmEngine(Path(sys.argv[1]), cpu_workers=0) as engine:
        await engine.compile(Path(sys.argv[2]), starting=lambda: print("compiling", flush=True))
asyncio.run(main())
"""


def test_a_killed_host_leaves_no_compiler_behind(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.wasm"
    bomb.write_bytes(BOMB)
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, str(tmp_path / "cache"), str(bomb)], stdout=subprocess.PIPE, start_new_session=True
    )
    with host:
        assert host.stdout is not None
        assert host.stdout.readline() == b"compiling\n"
        while not (compiling := _of_session(host.pid) - {host.pid}):
            time.sleep(0.01)
        time.sleep(0.5)  # until it has begun
        host.send_signal(signal.SIGKILL)
        host.stdout.read()
    deadline = time.monotonic() + 30
    while compiling & _of_session(host.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _of_session(session: int) -> set[int]:
    """The processes of a session that have not ended."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        fields = _line(pid, "stat").rpartition(")")[2].split()
        if fields[3:4] == [str(session)] and fields[0] != "Z":
            found.add(int(pid))
    return found


@pytest.mark.parametrize("damage", [b"", b"other machine code"])
async def test_compiled_code_that_was_damaged_is_compiled_again_and_not_here(
    damage: bytes, engine: WasmEngine, tmp_path: Path
) -> None:
    await engine.open("(component)", Imports())
    [entry] = (tmp_path / "cache").iterdir()
    entry.write_bytes(damage)
    compiled: list[None] = []
    await engine.open("(component)", Imports(), starting=lambda: compiled.append(None))
    assert compiled == [None]
    await engine.open("(component)", Imports(), starting=lambda: compiled.append(None))
    assert compiled == [None]
