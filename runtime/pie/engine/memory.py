"""How much memory is there, and tensors that take it only when written."""

from __future__ import annotations

import ctypes
import math
import mmap
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from pie.engine.control_group import bytes_left

__all__ = ["Arena", "MemoryAhead", "available_bytes", "is_out_of_memory", "lazy_zeros"]

_CACHE_LINE = 64
_MOST_BYTES = 1 << 62
_HUGE_PAGE = 1 << 21
_CHUNK = 1 << 26
_PIECE = _HUGE_PAGE
_SPARE_BYTES = 1 << 30  # left to the system and to programs
_POPULATE_WRITE = 23  # of Linux 5.14; the mmap module of Python 3.11 has no name for it


def available_bytes() -> int:
    """Memory this process can still take without swapping: the machine's, or what its control groups leave."""
    return min(_machine_bytes(), bytes_left())


def is_out_of_memory(error: Exception) -> bool:
    """Whether it is torch, numpy or the system that has no more to give; torch on a CPU has no error for that alone."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and "allocate memory" in str(error)


def lazy_zeros(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """A zero tensor whose pages the system maps on first use (torch.zeros would touch them all).

    It begins with a huge page and is made of such pages where the system has them, if it is large enough for one.
    """
    num_bytes = math.prod(shape) * dtype.itemsize
    if not num_bytes:
        return torch.zeros(shape, dtype=dtype)
    if num_bytes > _MOST_BYTES:
        raise MemoryError(f"{num_bytes:,} bytes are more than an address can tell")
    spare = _HUGE_PAGE if num_bytes >= _HUGE_PAGE else 0
    memory = mmap.mmap(-1, num_bytes + spare, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a system without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    content = torch.from_numpy(np.frombuffer(memory, np.uint8))
    start = -content.data_ptr() % _HUGE_PAGE if spare else 0
    return content[start : start + num_bytes].view(dtype).view(shape)


class MemoryAhead:
    """Maps what `lazy_zeros` made, a piece at a time, before it is used: the first use of 2 MB can take 5 ms."""

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        """Take the contiguous `tensors`, the beginnings of all of them first."""
        spans = [(tensor.data_ptr(), tensor.nbytes) for tensor in tensors]
        self._pieces = (
            (start + at, min(_PIECE, size - at))
            for at in range(0, max((size for _, size in spans), default=0), _PIECE)
            for start, size in spans
            if at < size
        )

    def take(self) -> bool:
        """Map the next piece, whose content stays as it is; False if none is left or memory has become short."""
        piece = next(self._pieces, None)
        if piece is None or available_bytes() < _SPARE_BYTES:
            return False
        first = piece[0] // mmap.PAGESIZE * mmap.PAGESIZE
        # Not mmap.madvise, which stops all threads of Python meanwhile.
        madvise = ctypes.CDLL(None).madvise
        return int(madvise(ctypes.c_void_p(first), ctypes.c_size_t(sum(piece) - first), _POPULATE_WRITE)) == 0


class Arena:
    """Makes zero tensors that lie one after another, so that huge pages hold the small ones too.

    A core reads that much faster: what it fetches ahead by itself ends with each page.
    """

    def __init__(self) -> None:
        """Begin without memory."""
        self._rest = torch.zeros(0, dtype=torch.uint8)

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """The next one; it begins with a cache line."""
        num_bytes = math.prod(shape) * dtype.itemsize
        size = -(-num_bytes // _CACHE_LINE) * _CACHE_LINE
        if size > len(self._rest):
            self._rest = lazy_zeros((max(size, _CHUNK),), torch.uint8)
        taken, self._rest = self._rest[:num_bytes], self._rest[size:]
        return taken.view(dtype).view(shape)


def _machine_bytes() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024
