"""Installed programs start from the store, without the folder that they were made of."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.running import run_to_end
from wasmtime import wat2wasm

from pie.build.packed import pack_program, read_packed
from pie.errors import ProgramError
from pie.process.process import ProgramFailed
from pie.process.store import ProgramStore
from pie.runtime import Runtime

pytestmark = pytest.mark.asyncio(loop_scope="session")
WITH_RUN = """(component
  (core module $m (func (export "run")))
  (core instance $i (instantiate $m))
  (func $run (canon lift (core func $i "run")))
  (instance $e (export "run" (func $run)))
  (export "pie:x/run@{version}.0.0" (instance $e)))"""
MANIFEST = '[package]\nname = "sum"\nversion = "1.0.0"\n'


def install(folder: Path, source: Path) -> Path:
    """Install a program, and take away what it was made of."""
    path = ProgramStore(folder / "programs").install(pack_program(source), MANIFEST, replace=False).path
    shutil.rmtree(source)
    return path


async def test_a_program_of_several_modules_runs_from_its_one_file(runtime: Runtime, tmp_path: Path) -> None:
    source = tmp_path / "sum" / "python"
    source.mkdir(parents=True)
    (source / "adding.py").write_text("def add(a, b):\n    return a + b\n")
    (source / "main.py").write_text("from adding import add\n\ndef main(input):\n    return add(**input)\n")
    path = install(tmp_path, source.parent)
    assert (await run_to_end(runtime, path, {"a": 1, "b": 2}, seed=1)).value == 3
    with pytest.raises(ProgramFailed) as caught:
        await run_to_end(runtime, path, {"a": 1, "b": "x"}, seed=1)
    assert "adding.py:2" in caught.value.cause


async def test_a_stored_program_is_called_by_its_name(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "main.py").write_text("def main(): return 1\n")
    path = install(tmp_path, tmp_path / "source")
    assert (await runtime.load(path, name="sum")).name == "sum"
    assert (await runtime.load(path)).name == path.stem


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"language": "python", "program": "{}"}',
        b'{"language": "python", "program": "{\\"entry\\": \\"a\\", \\"files\\": {}}"}',
        b'{"language": "cobol", "program": "{}"}',
        b'{"language": "python", "program": {}}',
        b'{"language": "javascript", "program": "[]"}',
        b'{"language": "python", "program": "' + b"[" * 5000 + b'"}',
        b'{"format": "pie-source/2", "language": "python", "program": "{}"}',
    ],
)
async def test_what_is_no_packed_program_is_refused(content: bytes, runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "x.source").write_bytes(content)
    with pytest.raises(ProgramError) as caught:
        await runtime.load(tmp_path / "x.source")
    assert caught.value.code == "bad-packed-program"


async def test_a_packed_program_has_the_limits_of_its_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def main(): return 1\n")
    content = pack_program(tmp_path)
    assert read_packed(content).language == "python"
    for limit in ("MAX_BYTES", "MAX_MODULES", "MAX_PACKED_BYTES"):
        with monkeypatch.context() as patched:
            patched.setattr(f"pie.build.packed.{limit}", 0)
            with pytest.raises(ProgramError) as caught:
                read_packed(content)
            assert caught.value.code == "program-too-large"


async def test_checking_a_program_tells_what_is_none(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def main(): return 1\n")
    await runtime.programs.check(pack_program(tmp_path))
    for content, code in [(b"{}", "bad-packed-program"), (b"\0asm\x0d\0\x01\0\xff", "not-a-component")]:
        with pytest.raises(ProgramError) as caught:
            await runtime.programs.check(content)
        assert caught.value.code == code


async def test_a_component_is_loaded_again_only_when_its_file_has_changed(runtime: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "x.wasm"
    path.write_bytes(wat2wasm(WITH_RUN.format(version=1)))
    first = await runtime.load(path)
    assert await runtime.load(path) is first
    path.write_bytes(wat2wasm(WITH_RUN.format(version=2)))
    assert (await runtime.load(path)).export == "pie:x/run@2.0.0"
    path.unlink()
    with pytest.raises(ProgramError) as caught:
        await runtime.load(path)
    assert caught.value.code == "program-not-found"


async def test_only_the_programs_used_last_are_kept(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pie.process.programs.MAX_LOADED", 2)
    paths = [tmp_path / f"{name}.py" for name in "abc"]
    for path in paths:
        path.write_text("def main(): return 1\n")
    one, other = [await runtime.load(path) for path in paths[:2]]
    assert await runtime.load(paths[0]) is one
    await runtime.load(paths[2])
    assert await runtime.load(paths[0]) is one
    assert await runtime.load(paths[1]) is not other
