"""Finds beginnings that sequences of a step share, so that their keys are read once for all of them.

Forks and reused prefixes hold the same page ids at the same places. Segments are sorted by their pages; those that
agree stand together, so a shared beginning is a range of them. Levels nest: what all share, then what some of these
share beyond it, and so on (Ye et al., "Cascade Inference", 2024). Attention over each level is merged with the rest by
the log-sum-exps. Knows nothing of torch or of the library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pie.engine.backend import Rows
from pie.engine.flashinfer_backend.page_lists import PageLists
from pie.engine.flashinfer_backend.segments import Index, Segments, starts_of
from pie.forward import Int32Array

__all__ = ["CascadeLevel", "Sharing", "share_pages"]

_MOST_LEVELS = 3  # each is a kernel call and a merge per layer


@dataclass(frozen=True, slots=True, eq=False)
class CascadeLevel:
    """Shared pages that are read by themselves, without a mask: all their rows see all of them.

    Attributes:
        queries: [n] i64, which queries of the part take part, ascending.
        qo_indptr: [G + 1] i32, where in `queries` those of each shared run begin, and the end.
        pages: of the G runs, all full.
    """

    queries: Index
    qo_indptr: Int32Array
    pages: PageLists


@dataclass(frozen=True, slots=True, eq=False)
class Sharing:
    """What was found.

    Attributes:
        segments: [N] i64, those that share anything, sorted so that sharers stand together.
        skipped: [N] i32, pages at the beginning of each that the levels read.
        levels: outermost first.
    """

    segments: Index
    skipped: Int32Array
    levels: tuple[CascadeLevel, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    """Sorted segments `begin` … `end - 1` share the pages at the places `first` … `last - 1`."""

    begin: int
    end: int
    first: int
    last: int


def share_pages(rows: Rows, segments: Segments, *, page_size: int, least_saved: int) -> Sharing:
    """Which of some causal segments share their beginnings.

    Args:
        rows: of the step.
        segments: some of them.
        page_size: tokens per page.
        least_saved: a shared run is read by itself if so many keys at least need not be read again then.
    """
    # A row sees whole pages before its first slot's only, and what is left must hold the segment's own slots.
    limits = (segments.kv_lengths - segments.lengths) // np.int32(page_size)
    pages = np.full((len(segments), int(limits.max(initial=0)) + 1), -1, np.int32)
    held = np.arange(pages.shape[1]) < limits[:, None]
    width = min(pages.shape[1], rows.page_table.shape[1])
    pages[:, :width] = np.where(held[:, :width], rows.page_table[segments.sequences, :width], -1)
    order = _sorted_order(pages)
    pages = pages[order]
    differs = (pages[1:] != pages[:-1]) | (pages[1:] < 0)
    common = differs.argmax(axis=1)  # the last column is -1 in all of them
    found = _runs(common, len(order), -(-least_saved // page_size))
    skipped = np.zeros(len(order), np.int32)
    for run in (run for runs in found for run in runs):
        skipped[run.begin : run.end] = np.maximum(skipped[run.begin : run.end], run.last)
    chosen = np.flatnonzero(skipped)
    starts = np.zeros(len(order) + 1, np.int64)  # of the queries of each sorted segment among those of the chosen ones
    np.cumsum(np.where(skipped > 0, segments.lengths[order], 0), out=starts[1:])
    levels = tuple(_level(runs, starts, pages, page_size) for runs in found if runs)
    return Sharing(order[chosen], skipped[chosen], levels)


def _runs(common: Index, num_segments: int, least_pages: int) -> list[list[_Run]]:
    """The shared runs of each depth; a run inside another one begins where that one ends."""
    found: list[list[_Run]] = [[] for _ in range(_MOST_LEVELS)]
    waiting = [(_Run(0, num_segments, 0, 0), 0)]
    while waiting:
        within, depth = waiting.pop()
        borders = np.flatnonzero(common[within.begin : within.end - 1] <= within.last) + within.begin + 1
        for begin, end in zip([within.begin, *borders.tolist()], [*borders.tolist(), within.end], strict=True):
            if end - begin < 2:
                continue
            last = int(common[begin : end - 1].min())
            if (last - within.first) * (end - begin - 1) < least_pages:  # too little; some of them may share more
                waiting.append((_Run(begin, end, within.first, last), depth))
                continue
            found[depth].append(_Run(begin, end, within.first, last))
            if depth + 1 < _MOST_LEVELS:
                waiting.append((_Run(begin, end, last, last), depth + 1))
    return [sorted(runs, key=lambda run: run.begin) for runs in found]


def _level(runs: list[_Run], starts: Index, pages: Int32Array, page_size: int) -> CascadeLevel:
    bounds = [(int(starts[run.begin]), int(starts[run.end])) for run in runs]
    shared = [pages[run.begin, run.first : run.last] for run in runs]
    return CascadeLevel(
        queries=np.concatenate([np.arange(begin, end) for begin, end in bounds]),
        qo_indptr=starts_of(np.array([end - begin for begin, end in bounds])),
        pages=PageLists(
            indptr=starts_of(np.array([len(part) for part in shared])),
            indices=np.concatenate(shared),
            last_page_len=np.full(len(runs), page_size, np.int32),
        ),
    )


def _sorted_order(pages: Int32Array) -> Index:
    """The order of rows by their pages, as one string of bytes each."""
    if len(pages) < 2:
        return np.arange(len(pages))
    lines = np.ascontiguousarray(pages.astype(">u4")).view(f"V{4 * pages.shape[1]}")[:, 0]
    return np.argsort(lines, kind="stable")
