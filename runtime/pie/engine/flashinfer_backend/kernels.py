"""The narrow interface to flashinfer: five calls over tables of `step_plan.py`. `library.py` is the real one.

Tables are numpy, in the forms in which the library's planners read them on the host; queries, keys and values are
tensors on the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from pie.engine.flashinfer_backend.masks import PackedMasks
from pie.engine.flashinfer_backend.page_lists import AppendTable, PageLists
from pie.engine.flashinfer_backend.segments import Index
from pie.forward import Int32Array

__all__ = ["AppendCall", "AttentionCall", "CallShape", "DecodeSlots", "Kernels", "Pages"]

Pages = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of a layer, [pages, page_size, kv_heads, head_dim] each."""


@dataclass(frozen=True, slots=True)
class CallShape:
    """What the calls of some layers have in common.

    Attributes:
        num_heads, num_kv_heads, head_dim, page_size: as they are named.
        window_left: how many keys before its own a row sees; -1 is all.
        soft_cap: bound of the scores, or None.
        query_dtype, kv_dtype: of the queries (and what comes out), and of the pages.
    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    page_size: int
    window_left: int
    soft_cap: float | None
    query_dtype: torch.dtype
    kv_dtype: torch.dtype


class AttentionCall(Protocol):
    """A planned call, for all layers of its shape."""

    def run(self, queries: torch.Tensor, pages: Pages) -> tuple[torch.Tensor, torch.Tensor]:
        """Queries [n, heads, head_dim] give attention of that shape and its log-sum-exps [n, heads], of base two."""
        ...


class AppendCall(Protocol):
    """Where the keys and values of a step go, for all layers."""

    def run(self, keys: torch.Tensor, values: torch.Tensor, pages: Pages) -> None:
        """Write keys and values [R, kv_heads, head_dim], in the dtype of the pages."""
        ...


class DecodeSlots(Protocol):
    """The memory from which a captured decode step reads its tables: one token of each of `size` sequences."""

    def attention(self, shape: CallShape) -> AttentionCall:
        """The decode call of this shape; `fill` tells it each step's pages."""
        ...

    def append(self) -> AppendCall:
        """The append call, likewise."""
        ...

    def fill(self, slots: Int32Array, pages: PageLists) -> None:
        """Put a step's tables there: the slot [size] of each row in its sequence, and the pages."""
        ...


class Kernels(Protocol):
    """What is called of flashinfer. Calls that were planned hold until `start` is called the second time after."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def start(self) -> None:
        """Begin to plan a step, while the one before may still be computed."""
        ...

    def decode(self, pages: PageLists, shape: CallShape) -> AttentionCall:
        """Plan one query for each request, which sees all its pages."""
        ...

    def prefill(
        self, qo_indptr: Int32Array, pages: PageLists, shape: CallShape, *, causal: bool, masks: PackedMasks | None
    ) -> AttentionCall:
        """Plan requests of any number of queries, the last tokens of their pages; masks say what they see, or `causal`.

        Masks hold their windows, so with masks the shape has none.
        """
        ...

    def append(self, table: AppendTable) -> AppendCall:
        """Plan where keys and values go."""
        ...

    def decode_slots(self, size: int, max_pages: int) -> DecodeSlots:
        """Room for the tables of decode steps of `size` sequences with `max_pages` pages at most, of all together."""
        ...

    def merge(
        self, one: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attention and log-sum-exps over the keys of both."""
        ...

    def segment_product(self, rows: torch.Tensor, weights: torch.Tensor, seg_indptr: Index) -> torch.Tensor:
        """Rows of segment i times `weights[i]`: [n, inputs] by [G, inputs, outputs] gives [n, outputs]."""
        ...
