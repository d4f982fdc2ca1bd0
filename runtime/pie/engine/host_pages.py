"""Copies of KV pages in host memory, by slot.

Knows neither contexts nor why a page has left the device. Memory is touched only when a slot is first written.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pie.engine.memory import lazy_zeros
from pie.forward import HostPageId

__all__ = ["HostPages"]


class HostPages:
    """A fixed number of slots, each as large as one page."""

    def __init__(self, num_slots: int, *, page_shape: tuple[int, int, int, int, int], dtype: torch.dtype) -> None:
        """Make empty slots for pages of `page_shape`: layers, 2, page_size, kv_heads, head_dim."""
        self._content = lazy_zeros((num_slots, *page_shape), dtype)

    @property
    def memory(self) -> torch.Tensor:
        """All slots, contiguous; what is not mapped yet may be before it is used."""
        return self._content

    def put(self, slots: Sequence[HostPageId], content: torch.Tensor) -> None:
        """Keep `content` [layers, 2, slots, page_size, kv_heads, head_dim]."""
        self._content[torch.tensor(list(slots), dtype=torch.int64)] = content.movedim(2, 0)

    def get(self, slots: Sequence[HostPageId]) -> torch.Tensor:
        """A copy of what the slots hold, shaped as `put` takes it."""
        return self._content[torch.tensor(list(slots), dtype=torch.int64)].movedim(0, 2)
