"""The calls of `kernels.py` by flashinfer itself (0.7). The only file that imports it, when it is made.

Wrappers are kept and planned again for each step. A planner copies from memory of its own that it writes over next
time, while the device may not have come to the copy of the step before: so two sets of wrappers take turns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pie.engine.flashinfer_backend.kernels import AppendCall, AttentionCall, CallShape, DecodeSlots, Pages
from pie.engine.flashinfer_backend.masks import PackedMasks
from pie.engine.flashinfer_backend.page_lists import AppendTable, PageLists
from pie.engine.flashinfer_backend.segments import Index
from pie.engine.flashinfer_backend.upload import on_host, upload
from pie.forward import Int32Array

__all__ = ["FlashInferKernels", "unpack_on_device"]

_WORKSPACE_BYTES = 256 << 20  # for the parts of long sequences, shared by all calls: they run one after another
_KERNELS = "fa2"  # the only ones that know masks, windows, caps, and fp8 pages under bf16 queries
_LAYOUT = "NHD"


class FlashInferKernels:
    """flashinfer on one GPU (see `pie.engine.flashinfer_backend.kernels.Kernels`)."""

    def __init__(self, device: torch.device) -> None:
        """Import the library, which takes seconds, and take its workspace."""
        import flashinfer

        self._library: Any = flashinfer
        self._device = device
        self._workspace = torch.zeros(_WORKSPACE_BYTES, dtype=torch.uint8, device=device)
        self._products = flashinfer.SegmentGEMMWrapper(self._workspace)
        self._sets = (_Wrappers(flashinfer, self._workspace), _Wrappers(flashinfer, self._workspace))

    @property
    def device(self) -> torch.device:
        """The GPU."""
        return self._device

    def start(self) -> None:
        """Begin to plan a step: let the other set of wrappers have its turn."""
        self._sets = (self._sets[1], self._sets[0])
        self._sets[0].used = 0

    def decode(self, pages: PageLists, shape: CallShape) -> AttentionCall:
        """Plan one query for each request."""
        return self._sets[0].decode(pages, shape)

    def prefill(
        self, qo_indptr: Int32Array, pages: PageLists, shape: CallShape, *, causal: bool, masks: PackedMasks | None
    ) -> AttentionCall:
        """Plan requests of any number of queries."""
        wrapper = self._sets[0].next_prefill()
        wrapper.plan(
            on_host(qo_indptr, self._device),
            *_page_tensors(pages, self._device),
            shape.num_heads,
            shape.num_kv_heads,
            shape.head_dim,
            shape.page_size,
            custom_mask=None if masks is None else unpack_on_device(masks, self._device),
            causal=causal,
            **_common(shape),
        )
        return _WrapperCall(wrapper)

    def append(self, table: AppendTable) -> AppendCall:
        """Plan where keys and values go."""
        arrays = (table.batch_indices, table.positions, table.pages.indices, table.pages.indptr)
        tensors = [upload(array, self._device) for array in (*arrays, table.pages.last_page_len)]
        return _LibraryAppend(self._library, *tensors)

    def decode_slots(self, size: int, max_pages: int) -> DecodeSlots:
        """Room for the tables of captured decode steps."""
        return _LibrarySlots(self._library, self._workspace, size, max_pages)

    def merge(
        self, one: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attention and log-sum-exps over the keys of both."""
        merged: tuple[torch.Tensor, torch.Tensor] = self._library.merge_state(*one, *other)
        return merged

    def segment_product(self, rows: torch.Tensor, weights: torch.Tensor, seg_indptr: Index) -> torch.Tensor:
        """Rows of segment i times `weights[i]`."""
        product: torch.Tensor = self._products.run(
            rows.contiguous(),
            weights,
            len(weights),
            weight_column_major=False,
            seg_indptr=upload(seg_indptr, self._device),
            weight_indices=torch.arange(len(weights), dtype=torch.int64, device=self._device),
        )
        return product


def unpack_on_device(masks: PackedMasks, device: torch.device) -> torch.Tensor:
    """All bits of packed masks one after another, [sum of sizes] bool, without those that fill up bytes.

    The library wants masks so: of packed ones it takes a request's first bit for its first byte
    (flashinfer pull request 2201), so that all requests but the first would read beside theirs.
    """
    ends = np.cumsum(masks.sizes)
    shift = upload(8 * masks.indptr[:-1].astype(np.int64) - (ends - masks.sizes), device)
    sizes = upload(masks.sizes, device)
    place = torch.arange(int(ends[-1]), device=device) + shift.repeat_interleave(sizes)
    octets = upload(masks.bits, device)[place >> 3]
    return (octets >> (place & 7).to(torch.uint8)) & 1 == 1


class _Wrappers:
    """Wrappers of one step; `used` counts those for prefill that are planned."""

    def __init__(self, library: Any, workspace: torch.Tensor) -> None:
        self._library = library
        self._workspace = workspace
        self._decoding: dict[CallShape, Any] = {}
        self._prefilling: list[Any] = []
        self.used = 0

    def decode(self, pages: PageLists, shape: CallShape) -> AttentionCall:
        if shape not in self._decoding:
            self._decoding[shape] = self._library.BatchDecodeWithPagedKVCacheWrapper(
                self._workspace, _LAYOUT, use_tensor_cores=True, backend=_KERNELS
            )
        _plan_decode(self._decoding[shape], pages, shape, self._workspace.device)
        return _WrapperCall(self._decoding[shape])

    def next_prefill(self) -> Any:
        if self.used == len(self._prefilling):
            self._prefilling.append(
                self._library.BatchPrefillWithPagedKVCacheWrapper(self._workspace, _LAYOUT, backend=_KERNELS)
            )
        self.used += 1
        return self._prefilling[self.used - 1]


class _WrapperCall:
    """A planned wrapper."""

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper

    def run(self, queries: torch.Tensor, pages: Pages) -> tuple[torch.Tensor, torch.Tensor]:
        attended: tuple[torch.Tensor, torch.Tensor] = self._wrapper.run(queries.contiguous(), pages, return_lse=True)
        return attended


class _LibraryAppend:
    """The tables of an append, on the device."""

    def __init__(
        self,
        library: Any,
        batch_indices: torch.Tensor,
        positions: torch.Tensor,
        kv_indices: torch.Tensor,
        kv_indptr: torch.Tensor,
        kv_last_page_len: torch.Tensor,
    ) -> None:
        self._library = library
        self._rows = (batch_indices, positions)
        self._pages = (kv_indices, kv_indptr, kv_last_page_len)

    def run(self, keys: torch.Tensor, values: torch.Tensor, pages: Pages) -> None:
        self._library.append_paged_kv_cache(
            keys.contiguous(), values.contiguous(), *self._rows, pages, *self._pages, kv_layout=_LAYOUT
        )


class _LibrarySlots:
    """Buffers that captured kernels read; wrappers of all shapes share them."""

    def __init__(self, library: Any, workspace: torch.Tensor, size: int, max_pages: int) -> None:
        def room(length: int) -> torch.Tensor:
            return torch.zeros(length, dtype=torch.int32, device=workspace.device)

        self._library = library
        self._workspace = workspace
        self._indptr, self._indices, self._last_page_len = room(size + 1), room(max_pages), room(size)
        self._batch_indices = torch.arange(size, dtype=torch.int32, device=workspace.device)
        self._positions = room(size)
        self._wrappers: list[tuple[Any, CallShape]] = []

    def attention(self, shape: CallShape) -> AttentionCall:
        wrapper = self._library.BatchDecodeWithPagedKVCacheWrapper(
            self._workspace,
            _LAYOUT,
            use_cuda_graph=True,
            use_tensor_cores=True,
            paged_kv_indptr_buffer=self._indptr,
            paged_kv_indices_buffer=self._indices,
            paged_kv_last_page_len_buffer=self._last_page_len,
            backend=_KERNELS,
        )
        self._wrappers.append((wrapper, shape))
        return _WrapperCall(wrapper)

    def append(self) -> AppendCall:
        return _LibraryAppend(
            self._library, self._batch_indices, self._positions, self._indices, self._indptr, self._last_page_len
        )

    def fill(self, slots: Int32Array, pages: PageLists) -> None:
        self._positions.copy_(on_host(slots, self._workspace.device), non_blocking=True)
        for wrapper, shape in self._wrappers:  # each puts the page lists into the shared buffers
            _plan_decode(wrapper, pages, shape, self._workspace.device)


def _plan_decode(wrapper: Any, pages: PageLists, shape: CallShape, device: torch.device) -> None:
    wrapper.plan(
        *_page_tensors(pages, device),
        shape.num_heads,
        shape.num_kv_heads,
        shape.head_dim,
        shape.page_size,
        **_common(shape),
    )


def _page_tensors(pages: PageLists, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What planners read on the host, and copy themselves, is there; the page ids are on the device already."""
    return on_host(pages.indptr, device), upload(pages.indices, device), on_host(pages.last_page_len, device)


def _common(shape: CallShape) -> dict[str, Any]:
    return {
        "window_left": shape.window_left,
        "logits_soft_cap": shape.soft_cap or 0.0,
        "sm_scale": 1.0,  # queries are scaled already
        "q_data_type": shape.query_dtype,
        "kv_data_type": shape.kv_dtype,
    }
