"""Tensors that are taken from one stretch of memory: zero, apart from each other, in huge pages if they are large."""

from __future__ import annotations

import torch

from pie.engine.memory import Arena, lazy_zeros

HUGE_PAGE = 1 << 21


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
