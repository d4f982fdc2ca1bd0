"""The paged keys and values of the torch backend: plain `[pages, page_size, kv_heads, head_dim]` per layer.

Pages are indices; who holds which is the scheduler's matter. Memory is touched only when a page is first written.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pie.engine.kv_form import KVChoice, as_integers, keep, kv_dtype
from pie.engine.memory import lazy_zeros
from pie.engine.models.facts import ModelFacts
from pie.forward import Int32Array, PageId

__all__ = ["KVCache"]


class KVCache:
    """Keys and values of all layers.

    Attributes:
        keys: [layers, pages, page_size, kv_heads, head_dim], as they are kept.
        values: the same shape.
        page_size: tokens per page.
    """

    def __init__(
        self, config: ModelFacts, *, num_pages: int, page_size: int, dtype: torch.dtype, kept_as: KVChoice = "model"
    ) -> None:
        """Make an empty cache of `num_pages` pages for a model of that dtype."""
        shape = (config.num_layers, num_pages, page_size, config.num_kv_heads, config.head_dim)
        self.keys = lazy_zeros(shape, kv_dtype(kept_as, dtype))
        self.values = lazy_zeros(shape, kv_dtype(kept_as, dtype))
        self.page_size = page_size
        self._dtype = dtype

    def append(self, layer: int, slots: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write `keys` and `values` [R, kv_heads, head_dim] of a layer to slots [R]: page * page_size + offset."""
        for cache, numbers in ((self.keys, keys), (self.values, values)):
            as_integers(cache)[layer].flatten(0, 1)[slots] = as_integers(keep(numbers, cache.dtype))

    def copy(self, copies: Int32Array) -> None:
        """Copy pages `[C, 2]` (from, to), one after another."""
        for cache in map(as_integers, (self.keys, self.values)):
            for source, target in copies.tolist():
                cache[:, target] = cache[:, source]

    def read(self, pages: Sequence[PageId]) -> torch.Tensor:
        """A copy of `pages` in the model's dtype: [layers, 2, pages, page_size, kv_heads, head_dim]."""
        index = torch.tensor(list(pages), dtype=torch.int64)
        keys, values = (as_integers(cache)[:, index].view(cache.dtype) for cache in (self.keys, self.values))
        return torch.stack((keys.to(self._dtype), values.to(self._dtype)), dim=1)

    def write(self, pages: Sequence[PageId], content: torch.Tensor) -> None:
        """Put `content`, shaped as `read` gives it, into `pages`."""
        index = torch.tensor(list(pages), dtype=torch.int64)
        for cache, numbers in zip((self.keys, self.values), content.unbind(1), strict=True):
            as_integers(cache)[:, index] = as_integers(keep(numbers, cache.dtype).contiguous())
