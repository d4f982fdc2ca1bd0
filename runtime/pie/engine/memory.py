"""How much memory is there, and tensors that take it only when written."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import torch

__all__ = ["available_bytes", "is_out_of_memory", "lazy_zeros"]


def available_bytes() -> int:
    """Memory this process can still take without swapping: the machine's, or what its control group leaves."""
    return min(_machine_bytes(), _control_group_bytes())


def is_out_of_memory(error: Exception) -> bool:
    """Whether an array or a tensor could not be made for want of memory; torch on a CPU has no error for that alone."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def lazy_zeros(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """A zero tensor whose pages the system maps on first use (torch.zeros would touch them all)."""
    num_bytes = math.prod(shape) * dtype.itemsize
    if not num_bytes:
        return torch.zeros(shape, dtype=dtype)
    return torch.from_numpy(np.zeros(num_bytes, np.uint8)).view(dtype).view(shape)


def _machine_bytes() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024


def _control_group_bytes() -> int:
    """What control group v2 leaves this process; unlimited where there is none."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
    except OSError:
        limit, used = "max", 0
    return 2**62 if limit == "max" else max(0, int(limit) - used)
