"""The program store: what was installed is found, what was removed is gone, and what fails changes nothing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from pie.build.packed import pack_program
from pie.errors import ProgramError
from pie.process.release import MAX_MANIFEST_BYTES, MAX_PROGRAM_BYTES
from pie.process.store import ProgramStore, StoredProgram

HEADER = b"\0asm\x0d\0\x01\0"
ONE, OTHER = HEADER + b"one", HEADER + b"another"


def manifest(name: str = "chat", version: str = "0.1.0") -> str:
    return f'[package]\nname = "{name}"\nversion = "{version}"\n'


def install(store: ProgramStore, name: str, version: str, content: bytes = ONE) -> StoredProgram:
    return store.install(content, manifest(name, version), replace=False)


def blobs(store_folder: Path) -> list[str]:
    folder = store_folder / "blobs"
    return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "programs"


@pytest.fixture
def store(folder: Path) -> ProgramStore:
    return ProgramStore(folder)


def refused(code: str) -> Callable[..., str]:
    def check(work: Callable[[], object]) -> str:
        with pytest.raises(ProgramError) as caught:
            work()
        assert caught.value.code == code
        assert caught.value.remedy
        return f"{caught.value.cause}. {caught.value.remedy}"

    return check


def test_what_was_installed_is_found_by_the_next_that_opens_the_store(folder: Path, store: ProgramStore) -> None:
    installed = install(store, "chat", "0.1.0")
    found = ProgramStore(folder).find("chat@0.1.0")
    assert found == installed
    assert (found.name, found.version, found.identifier) == ("chat", "0.1.0", "chat@0.1.0")
    assert found.digest == blake3(ONE).hexdigest()
    assert found.manifest_digest == blake3(manifest().encode()).hexdigest()
    assert found.path.read_bytes() == ONE
    assert found.path.suffix == ".wasm"
    assert found.manifest.package.name == "chat"
    assert found.size_bytes == len(ONE)


def test_a_bare_name_is_the_newest_version(store: ProgramStore) -> None:
    for version in ("0.9.0", "0.10.0", "0.2.0"):
        install(store, "chat", version, HEADER + version.encode())
    assert store.find("chat").version == "0.10.0"
    assert [program.version for program in store.list()] == ["0.2.0", "0.9.0", "0.10.0"]
    store.remove("chat@0.10.0")
    assert store.find("chat").version == "0.9.0"


def test_reading_a_store_that_is_not_there_makes_nothing(folder: Path, store: ProgramStore) -> None:
    assert store.list() == []
    assert not store.has("chat", "0.1.0")
    refused("program-not-found")(lambda: store.find("chat"))
    refused("program-not-found")(lambda: store.remove("chat"))
    assert not folder.exists()


def test_an_unknown_name_is_told_the_nearest_ones(store: ProgramStore) -> None:
    install(store, "chatter", "0.1.0")
    install(store, "agent", "0.1.0")
    assert "Did you mean chatter?" in refused("program-not-found")(lambda: store.find("chater"))
    assert "`pie list`" in refused("program-not-found")(lambda: store.find("zebra"))
    assert "chatter is there with 0.1.0, not 0.2.0" in refused("program-not-found")(lambda: store.find("chatter@0.2.0"))


def test_another_program_of_the_same_name_and_version_stays_out_unless_it_shall_replace(
    folder: Path, store: ProgramStore
) -> None:
    first = install(store, "chat", "0.1.0")
    assert store.install(OTHER, manifest(), replace=False) == first
    second = store.install(OTHER, manifest(), replace=True)
    assert second.path.read_bytes() == OTHER
    assert store.find("chat").digest == second.digest
    assert blobs(folder) == [second.path.name]


def test_programs_of_the_same_content_share_a_file_until_the_last_is_removed(folder: Path, store: ProgramStore) -> None:
    install(store, "chat", "0.1.0")
    install(store, "talk", "0.1.0")
    assert len(blobs(folder)) == 1
    assert store.remove("chat") == "chat@0.1.0"
    assert store.find("talk").path.read_bytes() == ONE
    store.remove("talk@0.1.0")
    assert blobs(folder) == []
    assert store.list() == []
    assert sorted(os.listdir(folder)) == ["blobs", "index.sqlite3"]


def test_a_name_with_several_versions_is_not_removed_by_its_name_alone(store: ProgramStore) -> None:
    install(store, "chat", "0.1.0")
    install(store, "chat", "0.2.0", OTHER)
    assert "chat is there with 0.1.0, 0.2.0" in refused("several-versions")(lambda: store.remove("chat"))
    assert len(store.list()) == 2


def test_has_compares_the_digests_that_are_given(store: ProgramStore) -> None:
    wasm_hash = install(store, "chat", "0.1.0").digest
    manifest_hash = blake3(manifest().encode()).hexdigest()
    assert store.has("chat", "0.1.0")
    assert store.has("chat", "0.1.0", wasm_hash=wasm_hash, manifest_hash=manifest_hash)
    assert not store.has("chat", "0.1.0", wasm_hash=manifest_hash)
    assert not store.has("chat", "0.1.0", manifest_hash=wasm_hash)
    assert not store.has("chat", "0.2.0")
    assert not store.has("chap", "0.1.0")
    refused("bad-identifier")(lambda: store.has("chat", "1"))


@pytest.mark.parametrize("damage", [b"", ONE[:-1], ONE + b"!", HEADER + b"onf", None], ids=repr)
def test_a_damaged_file_is_told_and_mended_by_installing_again(
    damage: bytes | None, folder: Path, store: ProgramStore
) -> None:
    path = install(store, "chat", "0.1.0").path
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    for opened in (store, ProgramStore(folder)):
        refused("program-damaged")(partial(opened.find, "chat"))
        assert not opened.has("chat", "0.1.0")
    assert len(store.list()) == 1
    install(store, "chat", "0.1.0")
    assert store.find("chat").path.read_bytes() == ONE


def test_what_a_killed_writer_left_is_cleared_away_when_the_store_is_opened(folder: Path, store: ProgramStore) -> None:
    kept = install(store, "chat", "0.1.0").path
    (kept.parent / ".new-abc").write_bytes(b"half")
    (kept.parent / f"{blake3(OTHER).hexdigest()}.wasm").write_bytes(OTHER)
    ProgramStore(folder)
    assert blobs(folder) == [kept.name]


@pytest.mark.parametrize(
    ("content", "text", "code"),
    [
        (b"", manifest(), "not-a-component"),
        (b"#!/bin/sh", manifest(), "not-a-component"),
        (b"{}", manifest(), "bad-packed-program"),
        (ONE, "name = 1", "bad-manifest"),
        (ONE, "[package]\nname = 'a'\nverison = '1'", "bad-manifest"),
        (ONE, manifest(version="1"), "bad-manifest"),
        (ONE, manifest(name="../chat"), "bad-manifest"),
        (ONE, manifest(name=""), "bad-manifest"),
        (ONE, manifest(name="chat", version="1.0.0@2"), "bad-manifest"),
        (ONE, manifest() + "#" * MAX_MANIFEST_BYTES, "program-too-large"),
        (HEADER + bytes(MAX_PROGRAM_BYTES), manifest(), "program-too-large"),
        (ONE, "a=" + "[" * 50_000, "bad-manifest"),
    ],
    ids=lambda value: str(value[:20]),
)
def test_what_is_no_program_is_refused_and_leaves_nothing(
    content: bytes, text: str, code: str, folder: Path, store: ProgramStore
) -> None:
    refused(code)(lambda: store.install(content, text, replace=True))
    assert not folder.exists()


def test_a_full_store_takes_no_more(store: ProgramStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pie.process.store.MAX_PROGRAMS", 2)
    install(store, "a", "0.1.0")
    install(store, "b", "0.1.0")
    refused("store-full")(lambda: install(store, "c", "0.1.0", OTHER))
    assert store.install(OTHER, manifest("b"), replace=True).digest == blake3(OTHER).hexdigest()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from pie.errors import ProgramError
from pie.process.store import ProgramStore
store = ProgramStore(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
manifest = '[package]\\nname = "chat"\\nversion = "0.1.0"\\n'
for _ in range(2):
    try:
        store.install(b"\\0asm\\x0d\\0\\x01\\0" + bytes(1 << 20), manifest, replace=True)
    except ProgramError as error:
        print(error.code)
print(store.find("chat").digest)
"""


@pytest.mark.parametrize("limit", [100, 4096, 100_000])
def test_a_disk_that_takes_no_more_leaves_the_old_version(limit: int, folder: Path, store: ProgramStore) -> None:
    before = install(store, "chat", "0.1.0")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(folder), str(limit)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["program-not-stored", "program-not-stored", before.digest]
    assert store.find("chat") == before
    assert blobs(folder) == [before.path.name]


def test_a_store_that_may_not_be_written_is_read(folder: Path, store: ProgramStore) -> None:
    before = install(store, "chat", "0.1.0")
    left = folder / "blobs" / ".new-left"
    left.touch()
    with read_only(folder):
        opened = ProgramStore(folder)
        assert opened.find("chat") == before
        assert len(opened.list()) == 1
        refused("program-not-stored")(lambda: install(opened, "chat", "0.2.0", OTHER))
        refused("program-not-stored")(lambda: opened.remove("chat"))
    assert blobs(folder) == [left.name, before.path.name]


@pytest.mark.parametrize("closed", ["", "blobs", "index.sqlite3"])
def test_a_store_that_may_not_be_read_is_told(closed: str, folder: Path, store: ProgramStore) -> None:
    install(store, "chat", "0.1.0")
    with read_only(folder, closed=folder / closed):
        opened = ProgramStore(folder)
        said = refused("store-unusable")(lambda: opened.find("chat"))
    assert "Check the rights of PIE_HOME." in said


@contextmanager
def read_only(folder: Path, *, closed: Path | None = None) -> Iterator[None]:
    """Take the right to write in a folder away, and all rights in `closed`; from root too, who becomes another user."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    if closed is not None:
        closed.chmod(0)
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid() and len(parent.parts) > 2:
            parent.chmod(parent.stat().st_mode | 0o055)
    before = os.geteuid()
    os.seteuid(before or 65534)
    try:
        yield
    finally:
        os.seteuid(before)
        for path in (folder, folder / "blobs"):
            path.chmod(0o755)


def test_a_store_whose_place_is_taken_by_a_file_is_told(folder: Path) -> None:
    folder.write_text("not a folder")
    refused("program-not-stored")(lambda: install(ProgramStore(folder), "chat", "0.1.0"))


@pytest.mark.parametrize("content", [b"this is no database " * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_an_index_that_is_damaged_is_told(content: bytes, folder: Path, store: ProgramStore) -> None:
    path = install(store, "chat", "0.1.0").path
    (folder / "index.sqlite3").write_bytes(content)
    opened = ProgramStore(folder)
    refused("store-unusable")(opened.list)
    refused("store-unusable")(lambda: opened.find("chat"))
    refused("store-unusable")(lambda: install(opened, "chat", "0.2.0"))
    assert path.read_bytes() == ONE, "nothing is cleared away by an index that cannot be read"


def test_an_index_of_a_later_version_is_left_alone(folder: Path, store: ProgramStore) -> None:
    install(store, "chat", "0.1.0")
    with sqlite3.connect(folder / "index.sqlite3") as connection:
        connection.execute("pragma user_version = 2")
    connection.close()
    assert "newer version" in refused("store-unusable")(lambda: ProgramStore(folder).find("chat"))
    refused("store-unusable")(lambda: install(ProgramStore(folder), "chat", "0.2.0", OTHER))


def test_threads_install_and_read_at_once(folder: Path) -> None:
    def work(number: int) -> None:
        store = ProgramStore(folder)
        for _ in range(3):
            install(store, f"p{number % 3}", f"0.{number}.0", HEADER + bytes([number]))
            assert store.find(f"p{number % 3}@0.{number}.0").path.read_bytes() == HEADER + bytes([number])
            store.remove(f"p{number % 3}@0.{number}.0")
        install(store, f"p{number % 3}", f"0.{number}.0", HEADER + bytes([number]))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert len(ProgramStore(folder).list()) == 6
    assert len(blobs(folder)) == 6


def test_no_file_stays_open(store: ProgramStore) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        install(store, "chat", f"0.{number}.0")
        store.find("chat")
    assert len(os.listdir("/proc/self/fd")) == before


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "replace", "remove", "reopen"]), st.sampled_from("ab"), st.integers(0, 2)),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.lists(st.integers(0, 2), min_size=12, max_size=12))
def test_the_store_is_a_table_of_names_and_versions(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]], contents: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store, table = ProgramStore(folder), dict[str, bytes]()
    for (step, name, number), kind in zip(steps, contents, strict=False):
        content, key = HEADER + bytes([kind]), f"{name}@0.{number}.0"
        if step == "reopen":
            store = ProgramStore(folder)
        elif step == "remove" and key in table:
            del table[key]
            store.remove(key)
        elif step != "remove":
            store.install(content, manifest(name, f"0.{number}.0"), replace=step == "replace")
            table[key] = content if step == "replace" else table.get(key, content)
    assert {program.identifier: program.path.read_bytes() for program in store.list()} == table
    assert blobs(folder) == sorted({f"{blake3(content).hexdigest()}.wasm" for content in table.values()})


def test_programs_of_source_text_are_stored_as_one_file(store: ProgramStore, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def main(): return 1\n")
    packed = pack_program(tmp_path)
    found = store.install(packed, manifest(), replace=False)
    assert found.path.suffix == ".source"
    assert found.path.read_bytes() == packed
