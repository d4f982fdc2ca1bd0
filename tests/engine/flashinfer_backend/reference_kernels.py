"""What flashinfer's kernels do with their tables, in numpy, word for word as their sources read them (0.7.2).

`paged_attention` follows `attention/variants.cuh` (masks, windows, caps) and `page.cuh` (lengths and page lists),
`append` the kernel of `page.cuh`, `merge` that of `attention/cascade.cuh`. Nothing here knows how the tables were made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pie.engine.flashinfer_backend.page_lists import AppendTable, PageLists
from pie.forward import Int32Array

__all__ = ["Attended", "Rules", "append", "merge", "paged_attention", "segment_product"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rules:
    """Arguments of `plan`: `causal`, `window_left`, `logits_soft_cap` (0 is none), `sm_scale`."""

    causal: bool = True
    window_left: int = -1
    logits_soft_cap: float = 0.0
    sm_scale: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Attended:
    """`out` [queries, heads, dim] and `lse` [queries, heads], whose base is two."""

    out: Floats
    lse: Floats


def paged_attention(
    queries: Floats,
    cache: tuple[Floats, Floats],
    qo_indptr: Int32Array,
    pages: PageLists,
    *,
    rules: Rules,
    masks: tuple[npt.NDArray[np.uint8], Int32Array] | None = None,
) -> Attended:
    """Attention of all requests: queries [n, heads, dim], cache of keys and values [pages, page_size, kv_heads, dim].

    `masks` are bits and the byte where each request's begin; with them, `causal` says nothing.
    """
    assert len(qo_indptr) == len(pages.indptr) == len(pages) + 1
    assert qo_indptr[-1] == len(queries)
    assert len(pages.indices) == pages.indptr[-1]
    outs, lses = [np.zeros((0, *queries.shape[1:]))], [np.zeros((0, queries.shape[1]))]
    for request in range(len(pages)):
        keys, values = _gather(cache, pages, request)
        query = queries[qo_indptr[request] : qo_indptr[request + 1]]
        seen = _seen(len(query), len(keys), rules, causal=rules.causal and masks is None)
        if masks is not None:
            bits, starts = masks
            offset = np.arange(len(query))[:, None] * len(keys) + np.arange(len(keys))
            seen &= (bits[starts[request] + offset // 8] >> (offset % 8) & 1).astype(np.bool_)
        out, lse = _attend(query, keys, values, seen, rules)
        outs.append(out)
        lses.append(lse)
    return Attended(np.concatenate(outs), np.concatenate(lses))


def append(cache: tuple[Floats, Floats], new: tuple[Floats, Floats], table: AppendTable) -> None:
    """Write keys and values [n, kv_heads, dim] into the cache."""
    page_size = cache[0].shape[1]
    for entry, (request, position) in enumerate(zip(table.batch_indices, table.positions, strict=True)):
        place = table.pages.indptr[request] + position // page_size
        assert place < table.pages.indptr[request + 1]
        for pages, values in zip(cache, new, strict=True):
            pages[table.pages.indices[place], position % page_size] = values[entry]


def merge(one: Attended, other: Attended) -> Attended:
    """Attention over the keys of both."""
    best = np.maximum(one.lse, other.lse)
    anchor = np.where(np.isfinite(best), best, 0)
    ours, theirs = np.exp2(one.lse - anchor), np.exp2(other.lse - anchor)
    total = ours + theirs
    share = np.divide(ours, total, out=np.zeros_like(ours), where=total > 0)[..., None]
    with np.errstate(divide="ignore"):
        return Attended(one.out * share + other.out * (1 - share), anchor + np.log2(total))


def segment_product(
    inputs: Floats, weights: Floats, seg_indptr: npt.NDArray[np.int64], weight_indices: npt.NDArray[np.int64]
) -> Floats:
    """Rows of segment i times `weights[weight_indices[i]]`: [n, inputs] by [W, inputs, outputs]."""
    assert seg_indptr[-1] == len(inputs)
    out = np.zeros((len(inputs), weights.shape[2]))
    for segment, chosen in enumerate(weight_indices):
        part = slice(seg_indptr[segment], seg_indptr[segment + 1])
        out[part] = inputs[part] @ weights[chosen]
    return out


def _gather(cache: tuple[Floats, Floats], pages: PageLists, request: int) -> tuple[Floats, Floats]:
    """Keys and values [kv_len, kv_heads, dim] of a request."""
    begin, end = pages.indptr[request], pages.indptr[request + 1]
    page_size = cache[0].shape[1]
    assert 1 <= pages.last_page_len[request] <= page_size
    length = (end - begin - 1) * page_size + pages.last_page_len[request]
    index = pages.indices[begin:end]
    keys, values = (part[index].reshape(-1, *part.shape[2:])[:length] for part in cache)
    return keys, values


def _seen(qo_len: int, kv_len: int, rules: Rules, *, causal: bool) -> npt.NDArray[np.bool_]:
    query, key = np.arange(qo_len)[:, None], np.arange(kv_len)
    window_left = kv_len if rules.window_left < 0 else rules.window_left
    seen = key + qo_len + window_left >= kv_len + query
    return seen & (key + qo_len <= kv_len + query) if causal else seen


def _attend(
    queries: Floats, keys: Floats, values: Floats, seen: npt.NDArray[np.bool_], rules: Rules
) -> tuple[Floats, Floats]:
    group = queries.shape[1] // keys.shape[1]
    keys, values = np.repeat(keys, group, axis=1), np.repeat(values, group, axis=1)
    scores = np.einsum("qhd,khd->qhk", queries, keys) * rules.sm_scale
    if rules.logits_soft_cap > 0:
        scores = rules.logits_soft_cap * np.tanh(scores / rules.logits_soft_cap)
    scores = np.where(seen[:, None], scores, -np.inf)
    best = scores.max(axis=2, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(best), best, 0))
    total = weights.sum(axis=2, keepdims=True)
    out = np.einsum("qhk,khd->qhd", np.divide(weights, total, out=np.zeros_like(weights), where=total > 0), values)
    with np.errstate(divide="ignore"):
        lse = np.log2(total[..., 0]) + np.where(np.isfinite(best[..., 0]), best[..., 0], 0) * np.log2(np.e)
    return out, lse
