from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from pie.errors import ProgramError
from pie.wasm import Imports, WasmEngine
from pie.wasm.cache import CompileCache

EMPTY = "(component)"


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_a_component_is_compiled_once_for_all_engines(tmp_path: Path) -> None:
    with WasmEngine(tmp_path, cpu_workers=0) as engine:
        assert not engine.is_compiled(EMPTY)
        engine.load(EMPTY, Imports())
    [entry] = entries(tmp_path)
    written = entry.stat().st_ino
    with WasmEngine(tmp_path, cpu_workers=0) as engine:
        assert engine.is_compiled(EMPTY)
        engine.load(EMPTY, Imports())
    assert entry.stat().st_ino == written


async def test_compiling_ahead_leaves_the_loop_free_and_happens_once(tmp_path: Path) -> None:
    with WasmEngine(tmp_path, cpu_workers=0) as engine:
        assert not engine.is_compiled(EMPTY)
        await asyncio.gather(*[engine.compile(EMPTY) for _ in range(5)])
        assert engine.is_compiled(EMPTY)
        assert len(entries(tmp_path)) == 1
        with pytest.raises(ProgramError, match="not-a-component"):
            await engine.compile(b"\0asm\x0d\0\x01\0\xff")


@pytest.mark.parametrize("damage", ["changed", "cut off", "empty", "writable by others", "a link"])
def test_an_entry_that_is_not_as_it_was_written_is_made_anew(tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache"
    with WasmEngine(cache, cpu_workers=0) as engine:
        engine.load(EMPTY, Imports())
        [entry] = entries(cache)
        content = entry.read_bytes()
        match damage:
            case "changed":
                entry.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
            case "cut off":
                entry.write_bytes(content[:-1])
            case "empty":
                entry.write_bytes(b"")
            case "writable by others":
                entry.chmod(0o666)
            case _:
                elsewhere = tmp_path / "elsewhere"
                entry.rename(elsewhere)
                entry.symlink_to(elsewhere)
        engine.load(EMPTY, Imports())
        [entry] = entries(cache)
        assert not entry.is_symlink()
        assert entry.stat().st_mode & 0o077 == 0
        assert hashlib.sha256(entry.read_bytes()).hexdigest() == entry.stem.partition("-")[2]
        assert CompileCache(cache, "x").find(entry.name.partition("-")[0]) == entry


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_an_entry_of_another_user_is_made_anew(tmp_path: Path) -> None:
    with WasmEngine(tmp_path, cpu_workers=0) as engine:
        engine.load(EMPTY, Imports())
        [entry] = entries(tmp_path)
        os.chown(entry, 12345, 12345)
        engine.load(EMPTY, Imports())
        [entry] = entries(tmp_path)
        assert entry.stat().st_uid == 0


def test_a_sound_file_that_wasmtime_refuses_is_made_anew(tmp_path: Path) -> None:
    with WasmEngine(tmp_path, cpu_workers=0) as engine:
        engine.load(EMPTY, Imports())
        [entry] = entries(tmp_path)
        key = entry.name.partition("-")[0]
        entry.unlink()
        CompileCache(tmp_path, "x").store(key, b"compiled by another wasmtime")
        engine.load(EMPTY, Imports())
        assert entries(tmp_path) == [entry]


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ProgramError, match="unsafe-cache"):
        WasmEngine(tmp_path)


def test_one_changed_bit_is_noticed_whether_or_not_wasmtime_would(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path, "x")
    path = cache.store("key", b"machine code")
    assert cache.find("key") == path
    path.write_bytes(b"machine cove")
    assert cache.find("key") is None
    assert not cache.has("key")


def test_the_entries_used_longest_ago_make_room_for_new_ones(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path, "x", max_bytes=250)
    for time, key in enumerate("ab"):
        os.utime(cache.store(key, key.encode() * 100), (time, time))
    assert cache.find("a") is not None, "which makes it the one used last"
    cache.store("c", b"c" * 100)
    assert [cache.has(key) for key in "abc"] == [True, False, True]


def test_the_key_depends_on_the_configuration(tmp_path: Path) -> None:
    assert CompileCache(tmp_path, "one").key(b"wasm") != CompileCache(tmp_path, "two").key(b"wasm")
