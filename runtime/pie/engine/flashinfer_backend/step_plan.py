"""What the kernels are told of one step: which rows go through which kernel, over which pages.

A step is split into decode rows (one row at the end of a sequence), causal segments, and segments with masks; rows
whose sequences begin with the same pages read those once (`cascade.py`). Layers with other windows have plans of their
own. Knows nothing of torch or of the library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pie.engine.backend import Rows
from pie.engine.flashinfer_backend.cascade import CascadeLevel, Sharing, share_pages
from pie.engine.flashinfer_backend.masks import PackedMasks, pack_masks
from pie.engine.flashinfer_backend.page_lists import PageLists, list_pages
from pie.engine.flashinfer_backend.segments import Index, Segments, cut_rows
from pie.forward import Int32Array

__all__ = ["Part", "StepPlan", "plan_step"]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Requests of one kernel call.

    Attributes:
        rows: [n] i64, the rows of the step that are its queries, in this order.
        qo_indptr: [N + 1] i32, where in `rows` each request's queries begin, and the end.
        pages: of the N requests; a request's queries are the last of its tokens.
        masks: None is causal.
        levels: beginnings that several requests share and that `pages` leaves out; only with a causal part.
    """

    rows: Index
    qo_indptr: Int32Array
    pages: PageLists
    masks: PackedMasks | None = None
    levels: tuple[CascadeLevel, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class StepPlan:
    """The parts of a step for layers of one window; each row is in exactly one part.

    Attributes:
        decode: one row per request.
        prefill: causal requests of several rows.
        masked: requests with masks.
        cascade: causal requests whose sequences share pages.
        window_left: as the kernels count: how many keys before its own a row sees, -1 is all. Masks hold their windows.
    """

    decode: Part | None
    prefill: Part | None
    masked: Part | None
    cascade: Part | None
    window_left: int

    @property
    def parts(self) -> tuple[Part, ...]:
        """Those that there are."""
        return tuple(part for part in (self.decode, self.prefill, self.masked, self.cascade) if part is not None)


def plan_step(rows: Rows, *, page_size: int, window: int | None = None, least_shared: int | None = None) -> StepPlan:
    """Split a step for layers in which a row sees `window` tokens at most, its own included; None is all.

    Args:
        rows: of the step.
        page_size: tokens per page.
        window: of these layers.
        least_shared: how many keys a shared beginning must save from being read again to be read by itself; None
            shares nothing. Where there is a window nothing is shared: rows see other parts of a beginning.
    """
    segments = cut_rows(rows)
    by_mask = segments.masked.copy()
    if window is not None and rows.page_numbers is not None:
        by_mask[:] = True  # the kernels count slots, and a slot is not a place here
    masked = _choose(segments, by_mask)
    causal = segments.take(np.flatnonzero(~by_mask))
    cascade = None
    if least_shared is not None and window is None and len(causal) > 1:
        sharing = share_pages(rows, causal, page_size=page_size, least_saved=least_shared)
        cascade = _cascade_part(rows, causal, sharing, page_size)
        causal = causal.take(np.setdiff1d(np.arange(len(causal)), sharing.segments))
    single = causal.lengths == 1
    return StepPlan(
        decode=_part(rows, _choose(causal, single), page_size),
        prefill=_part(rows, _choose(causal, ~single), page_size),
        masked=_masked_part(rows, masked, page_size, window),
        cascade=cascade,
        window_left=-1 if window is None else window - 1,
    )


def _choose(segments: Segments, wanted: npt.NDArray[np.bool_]) -> Segments:
    return segments.take(np.flatnonzero(wanted))


def _part(rows: Rows, segments: Segments, page_size: int) -> Part | None:
    if not len(segments):
        return None
    pages = list_pages(rows.page_table, segments.sequences, segments.kv_lengths, page_size=page_size)
    return Part(segments.rows, segments.starts, pages)


def _masked_part(rows: Rows, segments: Segments, page_size: int, window: int | None) -> Part | None:
    part = _part(rows, segments, page_size)
    if part is None:
        return None
    return Part(part.rows, part.qo_indptr, part.pages, pack_masks(rows, segments, page_size=page_size, window=window))


def _cascade_part(rows: Rows, causal: Segments, sharing: Sharing, page_size: int) -> Part | None:
    if not len(sharing.segments):
        return None
    segments = causal.take(sharing.segments)
    pages = list_pages(
        rows.page_table, segments.sequences, segments.kv_lengths, page_size=page_size, skipped=sharing.skipped
    )
    return Part(segments.rows, segments.starts, pages, levels=sharing.levels)
