"""The index of saved contexts: it says what the files say, whatever happened to it, and to them, in between."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import feed, prompt, running

from pie.errors import ContextError
from pie.scheduler.scheduler import Scheduler
from pie.scheduler.snapshot_file import snapshot_path
from pie.scheduler.snapshot_index import SnapshotIndex
from pie.scheduler.snapshot_table import FILE, SnapshotTable

NAMES = st.sampled_from(["", "a", "b", "../c", "d\0e"])
USERS = st.sampled_from(["u", "v"])
LENGTHS = st.integers(1, 9)


async def save(scheduler: Scheduler, name: str, length: int = 5, *, user: str = "u") -> None:
    """Save a context of that many tokens."""
    context = scheduler.create("a")
    await feed(scheduler, context, prompt(1, length))
    await scheduler.save(context, user=user, name=name)
    scheduler.destroy(context)


async def test_a_row_tells_of_each_file_when_save_returns(tmp_path: Path) -> None:
    async with running(FakeDevice(make_info(model="m")), snapshot_dir=tmp_path) as scheduler:
        await save(scheduler, "long", 22)
        await save(scheduler, "short", 5)
        await save(scheduler, "short", 6)
        rows = SnapshotTable(tmp_path).rows()
        assert rows is not None
        assert [(row.user, row.name, row.model, row.num_tokens) for row in sorted(rows, key=lambda row: row.name)] == [
            ("u", "long", "m", 22),
            ("u", "short", "m", 6),
        ]
        for row in rows:
            stat = (tmp_path / row.file).stat()
            assert (row.size_bytes, row.saved_at_ns) == (stat.st_size, stat.st_mtime_ns)
        await scheduler.delete(user="u", name="long")
        assert [row.name for row in SnapshotTable(tmp_path).rows() or []] == ["short"]


@pytest.mark.parametrize("damage", ["lost", "rubbish", "empty", "cut", "another form", "another table"])
async def test_an_index_that_is_lost_or_damaged_is_built_anew(damage: str, tmp_path: Path) -> None:
    async with running(snapshot_dir=tmp_path) as scheduler:
        for name in ("one", "two"):
            await save(scheduler, name)
        whole = sorted(SnapshotTable(tmp_path).rows() or [])
        break_index(tmp_path / FILE, damage)
        assert await scheduler.list_snapshots("u") == ["one", "two"]
        break_index(tmp_path / FILE, damage)
        await save(scheduler, "three")
    assert SnapshotIndex(tmp_path).mend()[0].name == "one"
    break_index(tmp_path / FILE, damage)
    async with running(snapshot_dir=tmp_path) as scheduler:
        assert [row for row in sorted(SnapshotTable(tmp_path).rows() or []) if row.name != "three"] == whole
        assert await scheduler.list_snapshots("u") == ["one", "three", "two"]


def break_index(file: Path, damage: str) -> None:
    """Damage it in one way."""
    content = file.read_bytes()
    match damage:
        case "lost":
            file.unlink()
        case "rubbish":
            file.write_bytes(b"\xff" * 9000)
        case "empty":
            file.write_bytes(b"")
        case "cut":
            file.write_bytes(content[:4096])
        case "another form":
            with sqlite3.connect(file) as connection:
                connection.execute("pragma user_version = 77")
            connection.close()
        case _:
            with sqlite3.connect(file) as connection:
                connection.execute("drop table contexts")
                connection.execute("create table contexts (other text)")
            connection.close()


async def test_rows_and_files_that_do_not_belong_together_are_mended_at_start(tmp_path: Path) -> None:
    async with running(snapshot_dir=tmp_path) as scheduler:
        for name in ("kept", "gone", "changed", "unknown"):
            await save(scheduler, name)
        paths = {
            name: snapshot_path(tmp_path, "u", name, fingerprint=make_info().fingerprint)
            for name in ("gone", "changed", "unknown")
        }
        before = (tmp_path / FILE).read_bytes()
        await save(scheduler, "changed", 7)
        (tmp_path / FILE).write_bytes(before)
        paths["gone"].unlink()
        SnapshotTable(tmp_path).change([], [str(paths["unknown"].relative_to(tmp_path))])
    async with running(snapshot_dir=tmp_path) as scheduler:
        rows = {row.name: row.num_tokens for row in SnapshotTable(tmp_path).rows() or []}
        assert rows == {"kept": 5, "changed": 7, "unknown": 5}
        assert await scheduler.list_snapshots("u") == ["changed", "kept", "unknown"]


async def test_a_save_whose_row_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    async with running(snapshot_dir=tmp_path) as scheduler:
        await save(scheduler, "n")
        (tmp_path / FILE).unlink()
        (tmp_path / FILE).mkdir()
        with pytest.raises(ContextError, match=r"snapshot-not-saved: .*'n': unable to open"):
            await save(scheduler, "n", 9)
        assert await scheduler.list_snapshots("u") == ["n"]  # of the files
        assert [(row.name, row.num_tokens) for row in SnapshotIndex(tmp_path).mend()] == [("n", 5)]
        assert [path.suffix for path in tmp_path.glob("*/*")] == [".safetensors"]
        await scheduler.delete(user="u", name="n")
        assert not list(tmp_path.glob("*/*"))


async def test_a_save_that_is_given_up_is_whole_or_not_there(tmp_path: Path) -> None:
    async with running(snapshot_dir=tmp_path) as scheduler:
        for turns in range(40):
            await save(scheduler, "n", 5)
            context = scheduler.create("a")
            await feed(scheduler, context, prompt(1, 9))
            saving = asyncio.ensure_future(scheduler.save(context, user="u", name="n"))
            for _ in range(turns):
                await asyncio.sleep(0)
            saving.cancel()
            await asyncio.wait([saving])
            opened = await scheduler.open(user="u", name="n", owner="a")
            (row,) = SnapshotIndex(tmp_path).mend()
            assert row.num_tokens == scheduler.describe(opened).num_tokens
            scheduler.release_owner("a")


class Saves(RuleBasedStateMachine):
    """Saves, deletions and renames by several users, beside a dict; the index is lost, or the server starts anew."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp())
        self._runner = asyncio.Runner()
        self._saved: dict[tuple[str, str], int] = {}
        self._start()

    @rule(user=USERS, name=NAMES, length=LENGTHS, overwrite=st.booleans())
    def save(self, user: str, name: str, length: int, *, overwrite: bool) -> None:
        context = self._scheduler.create("a")
        self._run(feed(self._scheduler, context, prompt(1, length)))
        saving = self._scheduler.save(context, user=user, name=name, overwrite=overwrite)
        if overwrite or (user, name) not in self._saved:
            self._run(saving)
            self._saved[user, name] = length
        else:
            with pytest.raises(ContextError, match="snapshot-exists"):
                self._run(saving)
        self._scheduler.destroy(context)

    @rule(user=USERS, name=NAMES)
    def delete(self, user: str, name: str) -> None:
        deleting = self._scheduler.delete(user=user, name=name)
        if self._saved.pop((user, name), None) is not None:
            self._run(deleting)
        else:
            with pytest.raises(ContextError, match="snapshot-not-found"):
                self._run(deleting)

    @rule(user=USERS, name=NAMES, new=NAMES)
    def rename(self, user: str, name: str, new: str) -> None:
        if (user, name) in self._saved:
            context = self._run(self._scheduler.take(user=user, name=name, owner="a"))
            self._run(self._scheduler.save(context, user=user, name=new))
            self._saved[user, new] = self._saved.pop((user, name))
            self._scheduler.destroy(context)

    @rule()
    def lose_the_index(self) -> None:
        (self._folder / FILE).unlink(missing_ok=True)

    @rule()
    def start_anew(self) -> None:
        self._stop()
        self._start()

    @invariant()
    def listings_say_what_was_saved(self) -> None:
        rows = SnapshotIndex(self._folder).mend()
        assert {(row.user, row.name): row.num_tokens for row in rows} == self._saved
        assert sorted(SnapshotTable(self._folder).rows() or []) == sorted(rows)
        for user in ("u", "v"):
            names = self._run(self._scheduler.list_snapshots(user))
            assert names == sorted(name for owner, name in self._saved if owner == user)

    def teardown(self) -> None:
        self._stop()
        self._runner.close()
        shutil.rmtree(self._folder)

    def _start(self) -> None:
        self._running = running(snapshot_dir=self._folder)
        self._scheduler = self._run(self._running.__aenter__())

    def _stop(self) -> None:
        self._run(self._running.__aexit__(None, None, None))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)


TestSaves = Saves.TestCase
TestSaves.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
