"""In the place of a module that flashinfer compiles: its functions, with their arguments, by the reference kernels.

Arguments are those of the sources' bindings (`csrc/*_binding.cu` of flashinfer 0.7.2). What each function was called
with is kept: a module that is compiled must take it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tests.engine.flashinfer_backend import reference_kernels as kernels

from pie.engine.flashinfer_backend.page_lists import AppendTable, PageLists

__all__ = ["CompiledModule"]

_MASKS = {0: "all", 1: "causal", 2: "custom"}
_NHD = 0
_PLAN_NUMBERS = 15
_THREADS = 1024  # of a block, in which the kernels that append and merge have all heads of a row
_LOADED = 8  # numbers of two bytes, by each


class CompiledModule:
    """The module of one name.

    Attributes:
        calls: the arguments with which each function was called last.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: dict[str, tuple[Any, ...]] = {}

    def __getattr__(self, function: str) -> Callable[..., Any]:
        if function not in _FUNCTIONS:
            raise AttributeError(f"{self.name} has no function {function}")

        def call(*args: Any) -> Any:
            self.calls[function] = args
            return _FUNCTIONS[function](*args)

        return call


def _plan(
    float_workspace: torch.Tensor,
    int_workspace: torch.Tensor,
    pinned_workspace: torch.Tensor,
    qo_indptr: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_lengths: torch.Tensor,
    total_num_rows: int,
    batch_size: int,
    num_qo_heads: int,
    num_kv_heads: int,
    page_size: int,
    enable_cuda_graph: bool,
    head_dim_qk: int,
    head_dim_vo: int,
    causal: bool,
    window_left: int,
    fixed_split_size: int,
    disable_split_kv: bool,
    num_colocated_ctas: int,
    uniform_q_len: int,
) -> list[int]:
    """`BatchPrefillWithKVCachePlan`: all is given again when it runs, so each number of a plan is that of its rows."""
    assert all(each.dtype == torch.uint8 for each in (float_workspace, int_workspace, pinned_workspace))
    assert len(pinned_workspace) == len(int_workspace)
    queries, pages, lengths = _int32(qo_indptr), _int32(kv_indptr), _int32(kv_lengths)
    assert len(queries) == len(pages) == len(lengths) + 1 == batch_size + 1
    assert queries[-1] == total_num_rows
    assert (np.diff(queries) >= 0).all()
    assert (-(-lengths // page_size) == np.diff(pages)).all()
    assert num_qo_heads % num_kv_heads == 0
    assert head_dim_qk == head_dim_vo
    assert (fixed_split_size, disable_split_kv, num_colocated_ctas, uniform_q_len) == (-1, False, 0, 0)
    return [total_num_rows] * _PLAN_NUMBERS


def _paged_run(
    float_workspace: torch.Tensor,
    int_workspace: torch.Tensor,
    plan: list[int],
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    qo_indptr: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_last_page_len: torch.Tensor,
    out: torch.Tensor,
    lse: torch.Tensor,
    mask_mode: int,
    layout: int,
    window_left: int,
    enable_pdl: bool,
    *others: Any,
) -> None:
    """`BatchPrefillWithPagedKVCacheRun`."""
    mask, mask_indptr, _alibi, *unused, soft_cap, sm_scale, _rope_scale, _rope_theta, _items = others
    assert unused == [None] * 5
    assert layout == _NHD
    assert plan == [len(q)] * _PLAN_NUMBERS
    assert out.dtype == q.dtype
    assert k_cache.stride() == v_cache.stride()
    ends = _int32(kv_indptr)
    pages = PageLists(ends, _int32(kv_indices)[: ends[-1]], _int32(kv_last_page_len))
    masks = None
    if _MASKS[mask_mode] == "custom":
        assert mask.dtype == torch.uint8
        masks = (mask.numpy(), _int32(mask_indptr))
    rules = kernels.Rules(_MASKS[mask_mode] == "causal", window_left, soft_cap, sm_scale)
    cache = (_floats(k_cache), _floats(v_cache))
    found = kernels.paged_attention(_floats(q), cache, _int32(qo_indptr), pages, rules=rules, masks=masks)
    out.copy_(torch.from_numpy(found.out))
    lse.copy_(torch.from_numpy(found.lse))


def _append_paged_kv_cache(
    keys: torch.Tensor,
    values: torch.Tensor,
    batch_indices: torch.Tensor,
    positions: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    kv_indices: torch.Tensor,
    kv_indptr: torch.Tensor,
    kv_last_page_len: torch.Tensor,
    layout: int,
) -> None:
    assert layout == _NHD
    assert keys.dtype == values.dtype == k_cache.dtype == v_cache.dtype  # the kernel takes what is there for its own
    assert k_cache.stride() == v_cache.stride()
    assert keys.shape[1] * keys.shape[2] * keys.element_size() <= _THREADS * _LOADED * 2
    assert k_cache.stride(-1) == keys.stride(-1) == values.stride(-1) == 1
    pages = PageLists(_int32(kv_indptr), _int32(kv_indices), _int32(kv_last_page_len))
    table = AppendTable(_int32(batch_indices), _int32(positions), pages)
    integers = {1: torch.uint8, 2: torch.int16}[k_cache.element_size()]
    there, fresh = ([each.view(integers).numpy() for each in pair] for pair in ((k_cache, v_cache), (keys, values)))
    kernels.append((there[0], there[1]), (fresh[0], fresh[1]), table)


def _merge_state(
    v_a: torch.Tensor,
    s_a: torch.Tensor,
    v_b: torch.Tensor,
    s_b: torch.Tensor,
    v_merged: torch.Tensor,
    s_merged: torch.Tensor,
) -> None:
    assert v_a.is_contiguous()
    assert v_b.is_contiguous()
    assert v_a.shape[1] * v_a.shape[2] <= _THREADS * _LOADED
    merged = kernels.merge(kernels.Attended(_floats(v_a), _floats(s_a)), kernels.Attended(_floats(v_b), _floats(s_b)))
    v_merged.copy_(torch.from_numpy(merged.out))
    s_merged.copy_(torch.from_numpy(merged.lse))


def _segment_packbits(
    bits: torch.Tensor, indptr: torch.Tensor, packed_indptr: torch.Tensor, order: str, packed: torch.Tensor
) -> None:
    assert bits.dtype == torch.bool
    assert order == "little"
    parts = [bits[begin:end].numpy() for begin, end in pairwise(_int32(indptr).tolist())]
    for part, (begin, end) in zip(parts, pairwise(_int32(packed_indptr).tolist()), strict=True):
        packed[begin:end] = torch.from_numpy(np.packbits(part, bitorder="little"))


def _segment_gemm(
    int_workspace: torch.Tensor,
    problems: torch.Tensor,
    x: torch.Tensor,
    w: torch.Tensor,
    y: torch.Tensor,
    x_width: torch.Tensor,
    w_width: torch.Tensor,
    y_width: torch.Tensor,
    empty_x: torch.Tensor,
    column_major: bool,
) -> None:
    """`CutlassSegmentGEMM`: from tables of addresses, which the library's own kernel has made of the arguments."""
    assert not column_major
    for rows, outputs, inputs, *places in zip(
        *problems.T.tolist(), *(each.tolist() for each in (x, w, y, x_width, w_width, y_width)), strict=True
    ):
        *addresses, x_stride, w_stride, y_stride = places
        assert (x_stride, w_stride, y_stride) == (inputs, outputs, outputs)
        assert not any(address % 16 for address in addresses)  # what the kernels load at once
        given, weights, result = (
            _at(address, size, empty_x.dtype)
            for address, size in zip(addresses, ((rows, inputs), (inputs, outputs), (rows, outputs)), strict=True)
        )
        result.copy_((given.double() @ weights.double()).to(result.dtype))


def _segment_gemm_sm90(float_workspace: torch.Tensor, *args: Any) -> None:
    """`CutlassSegmentGEMMSM90`, whose strides are one number for each matrix too, and whose results have a dtype."""
    *others, empty_x, empty_y, column_major = args
    assert empty_y.dtype == empty_x.dtype
    _FUNCTIONS["cutlass_segment_gemm"](*others, empty_x, column_major)


def _refused(*args: Any) -> None:
    raise AssertionError("the backend has no use for this function")


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "plan": _plan,
    "paged_run": _paged_run,
    "ragged_run": _refused,
    "workspace_size": _refused,
    "append_paged_kv_cache": _append_paged_kv_cache,
    "merge_state": _merge_state,
    "segment_packbits": _segment_packbits,
    "cutlass_segment_gemm": _segment_gemm,
    "cutlass_segment_gemm_sm90": _segment_gemm_sm90,
}


def _at(address: int, shape: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
    """The matrix that lies there."""
    size = shape[0] * shape[1] * dtype.itemsize
    return torch.frombuffer((ctypes.c_byte * size).from_address(address), dtype=dtype).view(shape)


def _int32(tensor: torch.Tensor) -> npt.NDArray[np.int32]:
    assert tensor.dtype == torch.int32
    assert tensor.is_contiguous()
    array: npt.NDArray[np.int32] = tensor.numpy()
    return array


def _floats(tensor: torch.Tensor) -> npt.NDArray[np.float64]:
    array: npt.NDArray[np.float64] = tensor.to(torch.float64).numpy()
    return array
