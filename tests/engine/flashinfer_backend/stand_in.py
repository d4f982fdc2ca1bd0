"""A module in the place of flashinfer 0.7.2 for a processor: its names and signatures, its checks, its numbers.

Arguments are those of the library's own functions, by position and by name, and what the library refuses or reads
wrongly is refused here: so that what calls it is tried as far as can be without a GPU. Work is that of the reference
kernels.
"""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tests.engine.flashinfer_backend import reference_kernels as kernels

from pie.engine.flashinfer_backend.page_lists import AppendTable, PageLists

__all__ = ["stand_in"]

Pages = tuple[torch.Tensor, torch.Tensor]


def stand_in() -> ModuleType:
    """The module; `planned` lists what was planned."""
    module = ModuleType("flashinfer")
    planned: list[str] = []

    class Prefill(_Prefill):
        told = planned

    class Decode(_Decode):
        told = planned

    module.__dict__.update(
        planned=planned,
        BatchPrefillWithPagedKVCacheWrapper=Prefill,
        BatchDecodeWithPagedKVCacheWrapper=Decode,
        SegmentGEMMWrapper=_SegmentGEMM,
        append_paged_kv_cache=_append_paged_kv_cache,
        merge_state=_merge_state,
    )
    return module


class _Prefill:
    told: list[str]

    def __init__(self, float_workspace_buffer: torch.Tensor, kv_layout: str = "NHD", *, backend: str = "auto") -> None:
        assert (float_workspace_buffer.dtype, kv_layout, backend) == (torch.uint8, "NHD", "fa2")

    def plan(
        self,
        qo_indptr: torch.Tensor,
        paged_kv_indptr: torch.Tensor,
        paged_kv_indices: torch.Tensor,
        paged_kv_last_page_len: torch.Tensor,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim_qk: int,
        page_size: int,
        *,
        custom_mask: torch.Tensor | None = None,
        causal: bool = False,
        sm_scale: float | None = None,
        window_left: int = -1,
        logits_soft_cap: float | None = None,
        q_data_type: torch.dtype = torch.float16,
        kv_data_type: torch.dtype | None = None,
    ) -> None:
        self.shape = (num_qo_heads, num_kv_heads, head_dim_qk, page_size)
        self.dtypes = (q_data_type, kv_data_type or q_data_type)
        assert sm_scale is not None
        self.rules = kernels.Rules(causal, window_left, logits_soft_cap or 0.0, sm_scale)
        self.qo_indptr = _int32(qo_indptr)
        self.pages = PageLists(*map(_int32, (paged_kv_indptr, paged_kv_indices, paged_kv_last_page_len)))
        self.masks = None
        if custom_mask is not None:
            assert custom_mask.dtype == torch.bool
            self.masks = self._packed(custom_mask.numpy(), page_size)
        self.told.append("masked" if custom_mask is not None else "causal" if causal else "shared")

    def run(
        self, q: torch.Tensor, paged_kv_cache: Pages, *, return_lse: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        heads, kv_heads, dim, page_size = self.shape
        assert return_lse
        assert q.is_contiguous()
        assert (q.dtype, q.shape) == (self.dtypes[0], (self.qo_indptr[-1], heads, dim))
        for part in paged_kv_cache:
            assert part.dtype == self.dtypes[1]
            assert part.shape[1:] == (page_size, kv_heads, dim)
        cache = (_floats(paged_kv_cache[0]), _floats(paged_kv_cache[1]))
        found = kernels.paged_attention(
            _floats(q), cache, self.qo_indptr, self.pages, rules=self.rules, masks=self.masks
        )
        return torch.from_numpy(found.out).to(q.dtype), torch.from_numpy(found.lse).float()

    def _packed(
        self, mask: npt.NDArray[np.bool_], page_size: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
        """`_compute_page_mask_indptr` and `segment_packbits`."""
        lengths = (np.diff(self.pages.indptr) - 1) * page_size + self.pages.last_page_len
        bounds = np.concatenate(([0], np.cumsum(np.diff(self.qo_indptr) * lengths)))
        assert mask.shape == (bounds[-1],)
        parts = [np.packbits(mask[begin:end], bitorder="little") for begin, end in pairwise(bounds)]
        return np.concatenate(parts), np.cumsum([0, *map(len, parts)]).astype(np.int32)


class _Decode(_Prefill):
    def __init__(
        self,
        float_workspace_buffer: torch.Tensor,
        kv_layout: str = "NHD",
        *,
        use_cuda_graph: bool = False,
        use_tensor_cores: bool = False,
        paged_kv_indptr_buffer: torch.Tensor | None = None,
        paged_kv_indices_buffer: torch.Tensor | None = None,
        paged_kv_last_page_len_buffer: torch.Tensor | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__(float_workspace_buffer, kv_layout, backend=backend)
        assert use_tensor_cores  # the other kernel knows some group sizes alone
        self.buffers: tuple[torch.Tensor, ...] | None = None
        if use_cuda_graph:
            assert paged_kv_indptr_buffer is not None
            assert paged_kv_indices_buffer is not None
            assert paged_kv_last_page_len_buffer is not None
            assert len(paged_kv_indptr_buffer) == len(paged_kv_last_page_len_buffer) + 1
            self.buffers = (paged_kv_indptr_buffer, paged_kv_indices_buffer, paged_kv_last_page_len_buffer)

    def plan(  # type: ignore[override]
        self,
        indptr: torch.Tensor,
        indices: torch.Tensor,
        last_page_len: torch.Tensor,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim: int,
        page_size: int,
        **kwargs: Any,
    ) -> None:
        if self.buffers is not None:
            assert len(last_page_len) == len(self.buffers[2])  # the batch size of a captured wrapper never changes
            for buffer, values in zip(self.buffers, (indptr, indices, last_page_len), strict=True):
                buffer[: len(values)].copy_(values)
        own = torch.arange(len(last_page_len) + 1, dtype=torch.int32)
        super().plan(own, indptr, indices, last_page_len, num_qo_heads, num_kv_heads, head_dim, page_size, **kwargs)
        self.told[-1] = "decode" if self.buffers is None else "captured"

    def run(
        self, q: torch.Tensor, paged_kv_cache: Pages, *, return_lse: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.buffers is not None:  # a captured kernel reads what is in them when it is replayed
            indptr, indices, last_page_len = (_int32(buffer) for buffer in self.buffers)
            self.pages = PageLists(indptr, indices[: indptr[-1]], last_page_len)
        return super().run(q, paged_kv_cache, return_lse=return_lse)


class _SegmentGEMM:
    def __init__(self, float_workspace_buffer: torch.Tensor, backend: str = "auto") -> None:
        assert (float_workspace_buffer.dtype, backend) == (torch.uint8, "auto")

    def run(
        self,
        x: torch.Tensor,
        weights: torch.Tensor,
        batch_size: int,
        weight_column_major: bool,
        *,
        seg_indptr: torch.Tensor,
        weight_indices: torch.Tensor,
    ) -> torch.Tensor:
        assert not weight_column_major
        assert x.is_contiguous()
        assert weights.is_contiguous()
        assert x.dtype == weights.dtype
        assert seg_indptr.dtype == weight_indices.dtype == torch.int64
        assert batch_size == len(seg_indptr) - 1 == len(weight_indices)
        bytes_per_row = {size * weights.element_size() % 16 for size in weights.shape[1:]}
        assert bytes_per_row == {0}  # what the kernels load at once
        product = kernels.segment_product(_floats(x), _floats(weights), seg_indptr.numpy(), weight_indices.numpy())
        return torch.from_numpy(product).to(x.dtype)


def _append_paged_kv_cache(
    append_key: torch.Tensor,
    append_value: torch.Tensor,
    batch_indices: torch.Tensor,
    positions: torch.Tensor,
    paged_kv_cache: Pages,
    kv_indices: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_last_page_len: torch.Tensor,
    kv_layout: str = "NHD",
) -> None:
    assert kv_layout == "NHD"
    pages = PageLists(_int32(kv_indptr), _int32(kv_indices), _int32(kv_last_page_len))
    table = AppendTable(_int32(batch_indices), _int32(positions), pages)
    assert len(append_key) == len(append_value) == len(batch_indices) == len(positions)
    for part, new in zip(paged_kv_cache, (append_key, append_value), strict=True):
        assert part.dtype == new.dtype  # the kernel copies bytes
        assert part.is_contiguous()
        assert new.is_contiguous()
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[paged_kv_cache[0].element_size()]
    there = [part.view(integers).numpy() for part in paged_kv_cache]
    fresh = [new.view(integers).numpy() for new in (append_key, append_value)]
    kernels.append((there[0], there[1]), (fresh[0], fresh[1]), table)


def _merge_state(
    v_a: torch.Tensor, s_a: torch.Tensor, v_b: torch.Tensor, s_b: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    assert s_a.dtype == s_b.dtype == torch.float32
    assert v_a.shape == v_b.shape
    assert v_a.shape[1] * v_a.shape[2] <= 8192  # the kernel has a thread for every eight, and a block has 1,024
    assert v_a.shape[:2] == s_a.shape == s_b.shape
    merged = kernels.merge(kernels.Attended(_floats(v_a), _floats(s_a)), kernels.Attended(_floats(v_b), _floats(s_b)))
    return torch.from_numpy(merged.out).to(v_a.dtype), torch.from_numpy(merged.lse).float()


def _int32(tensor: torch.Tensor) -> npt.NDArray[np.int32]:
    assert tensor.dtype == torch.int32
    array: npt.NDArray[np.int32] = tensor.numpy()
    return array


def _floats(tensor: torch.Tensor) -> npt.NDArray[np.float64]:
    array: npt.NDArray[np.float64] = tensor.to(torch.float64).numpy()
    return array
