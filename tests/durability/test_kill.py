"""What was told as saved is there after `kill -9` at any moment, and nothing half written can be seen."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.durability.saver import NAMES, PAGES, tokens_of
from tests.scheduler.harness import running

from pie.engine.device_thread import DeviceThread
from pie.engine.engine import Engine
from pie.host.adapter_registry import AdapterRegistry
from pie.host.adapter_store import AdapterStore, saved_adapters
from pie.scheduler.snapshot_file import read_metadata, remove_leftovers
from pie.scheduler.snapshot_index import SnapshotIndex
from pie.scheduler.snapshot_table import SnapshotTable
from pie.scheduler.weights import AdapterWeights
from pie.testing import write_random_model


def save_until_killed(home: Path, model: Path, rng: random.Random) -> list[str]:
    """What a process told as done before it was killed at a random moment."""
    words = [sys.executable, "-m", "tests.durability.saver", str(home), str(model)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        if process.stdout is None:
            raise AssertionError("no output")
        assert process.stdout.readline() == "ready\n"
        told = "".join(process.stdout.readline() for _ in range(rng.randrange(12)))
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        told += process.stdout.read()
    return told[: told.rfind("\n") + 1].splitlines()


def last_told(told: list[str], kind: str) -> dict[int, int]:
    """The last number told as done for each name."""
    numbers = [int(line.split()[1]) for line in told if line.startswith(kind)]
    return {number % NAMES: number for number in numbers}


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
async def test_a_killed_process_has_kept_what_it_told_as_saved(kills: int, tmp_path: Path) -> None:
    rng, acknowledged = random.Random(kills), 0
    model, home = write_random_model(tmp_path / "model"), tmp_path / "home"
    device = DeviceThread(Engine(model, num_pages=64, backend="torch", threads=1))
    try:
        for _ in range(kills):
            told = save_until_killed(home, model, rng)
            acknowledged += len(told)
            await check_contexts(device, home, last_told(told, "context"))
            await check_adapters(device, home, told)
    finally:
        device.close()
    assert acknowledged > kills
    age = time.time() - 7200
    for path in home.rglob(".*"):
        os.utime(path, (age, age))
    remove_leftovers(home / "snapshots")
    assert not list((home / "snapshots").rglob(".*"))


async def check_contexts(device: DeviceThread, home: Path, last: dict[int, int]) -> None:
    directory = home / "snapshots"
    check_rows_before_mending(directory)
    index = SnapshotIndex(directory)
    listed = {saved.name: saved for saved in index.mend()}
    assert len(listed) == len(list(directory.rglob("*.safetensors")))  # none of them is damaged
    assert sorted(SnapshotTable(directory).rows() or []) == sorted(index.mend())
    for saved in listed.values():
        assert (read_metadata(index.path_of(saved)) or {})["pie.digest"] == saved.digest
    assert {f"n{name}" for name in last} <= listed.keys()
    async with running(device, snapshot_dir=directory) as scheduler:
        for name in listed:
            context = await scheduler.open(user="u", name=name, owner="o")
            found = tuple(scheduler.token_ids(context))
            newest = last.get(int(name[1:]))
            may_be = [newest, newest + NAMES] if newest is not None else range(int(name[1:]), 10_000, NAMES)
            assert any(found == tokens_of(number) for number in may_be), (name, newest)
        scheduler.release_owner("o")


def check_rows_before_mending(directory: Path) -> None:
    """Each file has a row, and at most the one whose change was interrupted is of another file than its row says."""
    rows = {row.file: row.digest for row in SnapshotTable(directory).rows() or []}
    files = list(directory.glob("*/*.safetensors"))
    found = {str(path.relative_to(directory)): (read_metadata(path) or {})["pie.digest"] for path in files}
    assert found.keys() <= rows.keys()
    assert sum(found.get(file) != digest for file, digest in rows.items()) <= 1


async def check_adapters(device: DeviceThread, home: Path, told: list[str]) -> None:
    directory = home / "named-adapters"
    last = last_told(told, "adapter")
    newest = max(last.values(), default=-1)
    sure = {f"a{name}" for name, number in last.items() if number + NAMES - 1 > newest}
    saved = {one.name for one in saved_adapters(directory)}
    assert sure <= saved
    assert len(saved) == len(list(directory.rglob("*.adapter")))
    store = AdapterStore(directory / "m", model="m")
    registry = AdapterRegistry(device, store, AdapterWeights(device.free_adapter))
    for name in saved:
        adapter = await registry.open("u", name)  # it would be adapter-unusable if it was damaged
        assert adapter is not None
        assert adapter.weights is not None or name not in sure
        registry.close(adapter)


def test_the_numbers_fit_the_pages() -> None:
    assert len(tokens_of(0)) <= PAGES * 16
