"""A store whose writer is killed at any moment, or has two writers, holds exactly what was told as done."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.process.store_worker import REMOVED, content_of

from pie.process.store import ProgramStore

Table = dict[str, str]
"""Identifier -> the number of its content."""

SLOW = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize("kills", [25, pytest.param(300, marks=SLOW)])
def test_a_killed_writer_leaves_what_was_done_and_nothing_half_done(kills: int, tmp_path: Path) -> None:
    draw, folder, table = random.Random(5), tmp_path / "programs", Table()
    told = 0
    for seed in range(kills):
        lines = change_until_killed(folder, seed, after_s=draw.uniform(0.002, 0.06))
        told += len(lines)
        key, number = follow(lines, table)
        store = ProgramStore(folder)
        found = read(store, folder)
        if key and found.get(key, REMOVED) == number:  # the last change, though nobody was told
            apply(table, key, number)
        assert found == table
    assert told > 2 * kills, "most were killed in the middle of their work"


def test_two_processes_change_one_store(tmp_path: Path) -> None:
    folder, table = tmp_path / "programs", Table()
    workers = [start(folder, seed, changes=30, names=names) for seed, names in enumerate(["ab", "cd"])]
    for worker in workers:
        output, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0
        assert follow(output.decode().splitlines(), table) == ("", "")
    assert read(ProgramStore(folder), folder) == table


def start(folder: Path, seed: int, *, changes: int, names: str) -> subprocess.Popen[bytes]:
    script = str(Path(__file__).with_name("store_worker.py"))
    words = [sys.executable, script, str(folder), str(seed), str(changes), names]
    return subprocess.Popen(words, stdout=subprocess.PIPE)


def change_until_killed(folder: Path, seed: int, *, after_s: float) -> list[str]:
    """What a process told that was killed so long after its first change began."""
    with start(folder, seed, changes=1_000_000, names="abc") as worker:
        assert worker.stdout is not None
        first = worker.stdout.readline()
        time.sleep(after_s)
        worker.kill()
        rest = worker.stdout.read()
    assert worker.returncode == -signal.SIGKILL
    return (first + rest).decode().splitlines()


def follow(lines: list[str], table: Table) -> tuple[str, str]:
    """Apply all changes that are done; returns key and number of one that was only begun, or nothing."""
    key = number = ""
    for line in lines:
        if line == "done":
            apply(table, key, number)
            key = number = ""
        else:
            _, key, number = line.split()
    return key, number


def apply(table: Table, key: str, number: str) -> None:
    table.pop(key, None)
    if number != REMOVED:
        table[key] = number


def read(store: ProgramStore, folder: Path) -> Table:
    """What is in a store; checks that every file is whole and belongs to a program, and that nothing else is there."""
    table = Table()
    for program in store.list():
        found = store.find(program.identifier)
        content = found.path.read_bytes()
        [number] = [number for number in map(str, range(9)) if content == content_of(number)]
        table[program.identifier] = number
    expected = sorted({program.path.name for program in store.list()})
    blobs = folder / "blobs"
    assert (sorted(os.listdir(blobs)) if blobs.exists() else []) == expected  # none if it was killed before the first
    return table
