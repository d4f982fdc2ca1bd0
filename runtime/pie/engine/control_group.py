"""What the control groups of this process leave it of the machine: memory and processors.

Reads version 2, and the folders of version 1; a group may be limited by any of those above it. Containers see their own
group as the root, so that folders which are not there are passed over.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["bytes_left", "num_processors", "num_usable_cores"]

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
UNLIMITED = 2**62


def bytes_left(root: Path = ROOT, own: Path = OWN) -> int:
    """Memory that may still be taken; what only caches files counts as free. `UNLIMITED` without a limit."""
    left = UNLIMITED
    for group in _groups(root, own, ""):
        left = min(left, _left(group, "memory.max", "memory.current", "inactive_file"))
    for group in _groups(root, own, "memory"):
        left = min(left, _left(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"))
    return left


def num_processors(root: Path = ROOT, own: Path = OWN) -> float:
    """How many processors' time may be taken; infinity without a limit."""
    shares = [math.inf]
    for group in _groups(root, own, ""):
        quota, _, period = _read(group / "cpu.max", "max 100000").partition(" ")
        shares.append(math.inf if quota == "max" else int(quota) / int(period))
    for group in _groups(root, own, "cpu"):
        quota, period = _read(group / "cpu.cfs_quota_us", "-1"), _read(group / "cpu.cfs_period_us", "100000")
        shares.append(math.inf if int(quota) < 0 else int(quota) / int(period))
    return min(shares)


def num_usable_cores(root: Path = ROOT, own: Path = OWN) -> int:
    """How many threads can compute at once, on the processors and in the time that this process may use."""
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), num_processors(root, own))))


def _groups(root: Path, own: Path, controller: str) -> Iterator[Path]:
    """The group of this process and those above it, for a controller of version 1, or "" for version 2."""
    place = "/"
    for line in _read(own, "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            place = path
    top = root / controller
    group = top / place.lstrip("/")
    yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _left(group: Path, limit_file: str, used_file: str, reclaimable: str) -> int:
    limit = _read(group / limit_file, "max")
    if limit == "max" or int(limit) >= UNLIMITED:
        return UNLIMITED
    fields = dict(line.split() for line in _read(group / "memory.stat", "").splitlines())
    used = int(_read(group / used_file, "0")) - int(fields.get(reclaimable, 0))
    return max(0, int(limit) - max(0, used))


def _read(path: Path, otherwise: str) -> str:
    with suppress(OSError):
        return path.read_text(encoding="ascii").strip()
    return otherwise
