"""Random steps, and attention by its plain definition: each row over the keys that it may see."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from pie.engine.backend import Rows

__all__ = ["HEADS", "KV_HEADS", "Step", "dense_attention", "steps", "visible"]

Floats = npt.NDArray[np.float64]

HEADS, KV_HEADS, DIM = 4, 2, 8


@dataclass(frozen=True, eq=False)
class Step:
    """Rows over a cache of keys and values [pages, page_size, kv_heads, dim], and their queries [R, heads, dim]."""

    rows: Rows
    page_size: int
    cache: tuple[Floats, Floats]
    queries: Floats


@st.composite
def steps(draw: st.DrawFn, *, masks: bool = True, holes: bool = True, decode: bool = False) -> Step:
    """Sequences that fork from each other, fed at their ends, in any order of rows.

    Args:
        draw: of hypothesis.
        masks: some rows may have key masks.
        holes: some pages may be left out.
        decode: one row for each sequence.
    """
    page_size = draw(st.sampled_from([1, 2, 4, 16]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    fed = [1 if decode else draw(st.integers(1, length)) for length in lengths]
    table = _forked_table(draw, rng, lengths, fed, page_size)
    sequence = np.repeat(np.arange(len(lengths)), fed).astype(np.int32)
    slot = np.concatenate([np.arange(n - f, n) for n, f in zip(lengths, fed, strict=True)]).astype(np.int32)
    order = np.arange(len(slot)) if draw(st.booleans()) else rng.permutation(len(slot))
    rows = Rows(
        token_ids=rng.integers(0, 100, len(slot)).astype(np.int32),
        positions=slot[order],
        sequence_of_row=sequence[order],
        kv_index=slot[order],
        page_table=table,
        logit_rows=np.arange(len(slot), dtype=np.int32),
    )
    if masks and draw(st.booleans()):
        rows = _masked(rows, rng, max(lengths), draw(st.sampled_from([0.1, 0.5, 1.0])))
    if holes and draw(st.booleans()):
        gaps = rng.integers(0, 3, table.shape)
        rows = replace(rows, page_numbers=np.cumsum(gaps + (np.arange(table.shape[1]) > 0), axis=1).astype(np.int32))
    shape = (int(table[table < 2**30].max()) + 1, page_size, KV_HEADS, DIM)
    cache = (rng.normal(size=shape), rng.normal(size=shape))
    return Step(rows, page_size, cache, rng.normal(size=(len(slot), HEADS, DIM)))


def visible(rows: Rows, row: int, page_size: int, window: int | None) -> npt.NDArray[np.bool_]:
    """Which slots 0 … kv_index a row sees, by the words of `Rows` and nothing else."""
    slots = range(rows.kv_index[row] + 1)
    mask = -1 if rows.mask_of_row is None else rows.mask_of_row[row]
    numbers = range(rows.page_table.shape[1])
    if rows.page_numbers is not None:
        numbers = rows.page_numbers[rows.sequence_of_row[row]].tolist()
    places = [numbers[slot // page_size] * page_size + slot % page_size for slot in slots]
    seen = [window is None or place > places[-1] - window for place in places]
    if mask >= 0 and rows.key_mask is not None:
        seen = [each and bool(rows.key_mask[mask, slot]) for slot, each in zip(slots, seen, strict=True)]
    return np.array(seen)


def dense_attention(step: Step, *, window: int | None, soft_cap: float | None = None) -> Floats:
    """[R, heads, dim]: each row by itself."""
    out = np.zeros_like(step.queries)
    for row, slot in enumerate(step.rows.kv_index):
        pages = step.rows.page_table[step.rows.sequence_of_row[row]]
        where = [(pages[i // step.page_size], i % step.page_size) for i in range(slot + 1)]
        seen = visible(step.rows, row, step.page_size, window)
        if not seen.any():
            continue
        for head in range(HEADS):
            keys, values = (
                np.array([part[*at, head * KV_HEADS // HEADS] for at in where])[seen] for part in step.cache
            )
            scores = keys @ step.queries[row, head]
            scores = scores if soft_cap is None else soft_cap * np.tanh(scores / soft_cap)
            weights = np.exp(scores - scores.max())
            out[row, head] = weights @ values / weights.sum()
    return out


def _forked_table(
    draw: st.DrawFn, rng: np.random.Generator, lengths: list[int], fed: list[int], page_size: int
) -> npt.NDArray[np.int32]:
    """Each sequence has pages of its own, but may begin with full pages of an earlier one that neither writes."""
    counts = [-(-length // page_size) for length in lengths]
    free = rng.permutation(sum(counts)).tolist()
    table = np.full((len(lengths), max(counts) + 1), 2**31 - 1, np.int32)  # what is past the end is never read
    for number, count in enumerate(counts):
        own = [free.pop() for _ in range(count)]
        if number and draw(st.booleans()):
            parent = draw(st.integers(0, number - 1))
            most = min((lengths[i] - fed[i]) // page_size for i in (number, parent))
            shared = draw(st.integers(0, most))
            own[:shared] = table[parent, :shared].tolist()
        table[number, :count] = own
    return table


def _masked(rows: Rows, rng: np.random.Generator, max_keys: int, share: float) -> Rows:
    masked = rng.random(len(rows.token_ids)) < 0.5
    mask_of_row = np.full(len(masked), -1, np.int32)
    mask_of_row[masked] = rng.permutation(int(masked.sum()))
    key_mask = (rng.random((int(masked.sum()), max_keys + 2)) < share).astype(np.uint8)
    return replace(rows, key_mask=key_mask, mask_of_row=mask_of_row)
