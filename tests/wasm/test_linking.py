from __future__ import annotations

from pathlib import Path

import pytest
from tests.wasm.components import CALLS, POLLS, THINGS

from pie.errors import ProgramError
from pie.wasm import HostError, Imports, WasmEngine, define_wasi


def complete() -> Imports:
    imports = Imports()
    for name in ("op", "nop", "any", "try"):
        imports.function("demo:host/api", name, lambda *_arguments: 0)
    return imports


def test_everything_that_is_not_offered_is_named(engine: WasmEngine) -> None:
    imports = Imports()
    imports.function("demo:host/api", "op", lambda *_arguments: 0)
    with pytest.raises(ProgramError) as caught:
        engine.load(CALLS, imports)
    assert caught.value.code == "missing-import"
    for name in ("nop", "any", "try"):
        assert f"demo:host/api@0.1.0#{name}" in caught.value.cause


def test_a_resource_type_that_is_not_declared_is_named(engine: WasmEngine) -> None:
    imports = Imports()
    for name in ("make", "same", "take", "wait"):
        imports.function("demo:host/things", name, lambda *_arguments: 0)
    with pytest.raises(ProgramError, match=r"demo:host/things@0.3.1\.thing"):
        engine.load(THINGS, imports)


async def test_a_stub_links_and_ends_the_guest_that_calls_it_with_its_name(engine: WasmEngine) -> None:
    imports = Imports()
    imports.stub("demo:host/api", "not on this machine")
    async with await engine.load(CALLS, imports).instantiate() as guest:
        with pytest.raises(HostError, match="demo:host/api#nop raised NotImplementedError: not on this machine"):
            await guest.call("nops", 1)


@pytest.mark.parametrize(
    ("wasm", "detail"),
    [
        (b"\0asm\x01\0\0\0", "core module"),
        (b"\x7fELF\0\0\0\0", "7f 45 4c 46"),
        (b"", "nothing"),
        (b"\0asm\x0d\0\x01\0\xff\xff", "not a valid WASM component"),
        ("(component (nonsense))", "nonsense"),
    ],
)
def test_what_is_not_a_component_is_refused(engine: WasmEngine, wasm: bytes | str, detail: str) -> None:
    with pytest.raises(ProgramError, match=detail) as caught:
        engine.load(wasm, Imports())
    assert caught.value.code == "not-a-component"


def test_a_file_that_is_not_there_is_named(engine: WasmEngine, tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"program-not-found: .*program\.wasm: No such file"):
        engine.load(tmp_path / "program.wasm", Imports())


def test_a_program_tells_its_imports_and_exports_in_wits_notation(engine: WasmEngine) -> None:
    program = engine.load(CALLS, complete())
    assert program.imports == ("demo:host/api@0.1.0",)
    assert program.imported("demo:host/api@0.1.0") == {
        "op": "func(x: u32) -> u32",
        "nop": "func()",
        "any": "func()",
        "try": "func(x: u32) -> result<u32, string>",
    }
    assert ("run",) in program.exports


def test_a_function_is_offered_once(engine: WasmEngine) -> None:
    imports = complete()
    with pytest.raises(ValueError, match="offered twice"):
        imports.function("demo:host/api@0.2.0", "op", lambda *_arguments: 0)


def test_a_resource_used_by_other_interfaces_and_versions_is_its_owners(engine: WasmEngine) -> None:
    imports = Imports()
    define_wasi(imports)
    imports.function("demo:host/things", "event", lambda *_arguments: None)
    program = engine.load(POLLS, imports)
    assert program.imported("demo:host/things") == {"event": "func(n: u32) -> own"}
