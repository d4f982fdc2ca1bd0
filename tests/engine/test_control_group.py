"""Limits of control groups are seen in both versions, and at each level above the process."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from pie.engine.control_group import UNLIMITED, bytes_left, num_processors, num_usable_cores

GIB = 1 << 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cgroup"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own"
    path.write_text("0::/user/session\n")
    return path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content + "\n")


def test_without_groups_nothing_is_limited(root: Path, own: Path) -> None:
    assert (bytes_left(root, own), num_processors(root, own)) == (UNLIMITED, math.inf)
    own.unlink()
    assert (bytes_left(root, own), num_processors(root, own)) == (UNLIMITED, math.inf)


def test_a_container_sees_its_group_as_the_root(root: Path, own: Path) -> None:
    own.write_text("0::/\n")
    write(root, memory__max=str(4 * GIB), memory__current=str(3 * GIB), memory__stat=f"anon 5\ninactive_file {GIB}")
    write(root, cpu__max="150000 100000")
    assert (bytes_left(root, own), num_processors(root, own)) == (2 * GIB, 1.5)


def test_a_folder_that_is_not_shown_leaves_those_above(root: Path, own: Path) -> None:
    own.write_text("0::/docker/abc\n")
    write(root, memory__max=str(4 * GIB), memory__current=str(GIB))
    assert bytes_left(root, own) == 3 * GIB


def test_the_narrowest_group_on_the_way_counts(root: Path, own: Path) -> None:
    write(root / "user", memory__max=str(8 * GIB), memory__current=str(7 * GIB), cpu__max="400000 100000")
    write(root / "user" / "session", memory__max=str(4 * GIB), memory__current=str(GIB), cpu__max="max 100000")
    assert (bytes_left(root, own), num_processors(root, own)) == (GIB, 4)
    write(root / "user" / "session", memory__max="max", cpu__max="50000 100000")
    assert (bytes_left(root, own), num_processors(root, own)) == (GIB, 0.5)


def test_a_group_that_is_over_its_limit_leaves_nothing(root: Path, own: Path) -> None:
    write(root / "user", memory__max=str(GIB), memory__current=str(2 * GIB))
    assert bytes_left(root, own) == 0


def test_groups_of_the_first_version_are_seen(root: Path, own: Path) -> None:
    own.write_text("4:memory:/box\n2:cpu,cpuacct:/box\n1:name=systemd:/elsewhere\n0::/\n")
    write(root / "memory", memory__limit_in_bytes="9223372036854771712", memory__usage_in_bytes=str(9 * GIB))
    write(root / "memory" / "box", memory__limit_in_bytes=str(4 * GIB), memory__usage_in_bytes=str(3 * GIB))
    write(root / "memory" / "box", memory__stat=f"inactive_file 1\ntotal_inactive_file {GIB}")
    write(root / "cpu" / "box", cpu__cfs_quota_us="200000", cpu__cfs_period_us="100000")
    assert (bytes_left(root, own), num_processors(root, own)) == (2 * GIB, 2)
    write(root / "cpu" / "box", cpu__cfs_quota_us="-1")
    assert num_processors(root, own) == math.inf


def test_threads_are_as_many_as_processors_that_may_be_used_and_paid_for(root: Path, own: Path) -> None:
    allowed = os.sched_getaffinity(0)
    assert num_usable_cores(root, own) == len(allowed)
    write(root / "user", cpu__max="30000 100000")
    assert num_usable_cores(root, own) == 1
    write(root / "user", cpu__max=f"{100000 * len(allowed) + 5} 100000")
    assert num_usable_cores(root, own) == len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert num_usable_cores(root, own) == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_the_groups_of_this_process_can_be_read() -> None:
    assert bytes_left() > 0
    assert num_processors() > 0
