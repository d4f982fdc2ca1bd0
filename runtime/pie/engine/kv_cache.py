"""The paged keys and values of the torch backend: plain `[pages, page_size, kv_heads, head_dim]` per layer.

Pages are indices; who holds which is the scheduler's matter. Memory is touched only when a page is first written.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pie.engine.memory import lazy_zeros
from pie.engine.models.facts import ModelFacts
from pie.forward import Int32Array, PageId

__all__ = ["KVCache"]


class KVCache:
    """Keys and values of all layers.

    Attributes:
        keys: [layers, pages, page_size, kv_heads, head_dim].
        values: the same shape.
        page_size: tokens per page.
    """

    def __init__(self, config: ModelFacts, *, num_pages: int, page_size: int, dtype: torch.dtype) -> None:
        """Make an empty cache of `num_pages` pages."""
        shape = (config.num_layers, num_pages, page_size, config.num_kv_heads, config.head_dim)
        self.keys = lazy_zeros(shape, dtype)
        self.values = lazy_zeros(shape, dtype)
        self.page_size = page_size

    def append(self, layer: int, slots: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write `keys` and `values` [R, kv_heads, head_dim] of a layer to slots [R]: page * page_size + offset."""
        self.keys[layer].flatten(0, 1)[slots] = keys.to(self.keys.dtype)
        self.values[layer].flatten(0, 1)[slots] = values.to(self.values.dtype)

    def copy(self, copies: Int32Array) -> None:
        """Copy pages `[C, 2]` (from, to), one after another."""
        for source, target in copies.tolist():
            self.keys[:, target] = self.keys[:, source]
            self.values[:, target] = self.values[:, source]

    def read(self, pages: Sequence[PageId]) -> torch.Tensor:
        """A copy of `pages`: [layers, 2, pages, page_size, kv_heads, head_dim]."""
        index = torch.tensor(list(pages), dtype=torch.int64)
        return torch.stack((self.keys[:, index], self.values[:, index]), dim=1)

    def write(self, pages: Sequence[PageId], content: torch.Tensor) -> None:
        """Put `content`, shaped as `read` gives it, into `pages`."""
        index = torch.tensor(list(pages), dtype=torch.int64)
        self.keys[:, index] = content[:, 0]
        self.values[:, index] = content[:, 1]
