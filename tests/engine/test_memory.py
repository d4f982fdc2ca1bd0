"""Tensors that are taken from one stretch of memory: zero, apart from each other, in huge pages if they are large."""

from __future__ import annotations

import ctypes
import mmap

import pytest
import torch

from pie.engine.memory import Arena, MemoryAhead, lazy_zeros

HUGE_PAGE = 1 << 21


def mapped_bytes(tensor: torch.Tensor) -> int:
    """How much memory the system has given to a tensor that begins with a page."""
    resident = (ctypes.c_ubyte * -(-tensor.nbytes // mmap.PAGESIZE))()
    told = ctypes.CDLL(None).mincore(ctypes.c_void_p(tensor.data_ptr()), ctypes.c_size_t(tensor.nbytes), resident)
    assert told == 0
    return int(sum(page & 1 for page in resident)) * mmap.PAGESIZE


def test_memory_is_taken_ahead_piece_by_piece_and_keeps_what_it_holds() -> None:
    tensors = [lazy_zeros((size,), torch.uint8) for size in (7 * HUGE_PAGE + 123, 64 * HUGE_PAGE)]
    tensors[1][5 * HUGE_PAGE + 7] = 9
    ahead, pieces = MemoryAhead(tensors), 0
    assert mapped_bytes(tensors[1]) <= 2 * HUGE_PAGE
    while ahead.take():
        pieces += 1
    assert pieces == 8 + 64
    assert not ahead.take()
    assert mapped_bytes(tensors[1]) >= 64 * HUGE_PAGE
    assert int(tensors[1].sum()) == 9
    assert not tensors[0].any()


def test_memory_that_has_become_short_is_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = lazy_zeros((4 * HUGE_PAGE,), torch.uint8)
    monkeypatch.setattr("pie.engine.memory.available_bytes", lambda: HUGE_PAGE)
    assert not MemoryAhead([tensor]).take()
    assert mapped_bytes(tensor) == 0


def test_tensors_of_an_arena_are_zero_and_do_not_meet() -> None:
    arena = Arena()
    shapes = [(3, 5), (0, 4), (1,), (700, 1001), (64,), (5000, 5000), (2, 3, 4), (9000, 9000)]
    made = []
    for number, shape in enumerate(shapes):
        tensor = arena.zeros(shape, (torch.uint8, torch.bfloat16, torch.float32)[number % 3])
        assert tensor.shape == shape
        assert tensor.data_ptr() % 64 == 0
        assert not tensor.any()
        made.append(tensor.fill_(number + 1))
    for number, tensor in enumerate(made):
        assert (tensor == number + 1).all()


def test_large_tensors_begin_with_a_huge_page() -> None:
    for num_bytes in (1, HUGE_PAGE - 1, HUGE_PAGE, 3 * HUGE_PAGE + 5):
        tensor = lazy_zeros((num_bytes,), torch.uint8)
        assert len(tensor) == num_bytes
        assert num_bytes < HUGE_PAGE or tensor.data_ptr() % HUGE_PAGE == 0
        tensor[-1] = 7
        assert int(tensor.sum()) == 7
