"""Rows grouped by adapter, as flashinfer's segment GEMM takes them: one segment of rows per adapter that has any.

Knows nothing of torch or of the library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pie.engine.backend import Rows
from pie.engine.flashinfer_backend.segments import Index, starts_of

__all__ = ["AdapterGroups", "group_by_adapter"]


@dataclass(frozen=True, slots=True, eq=False)
class AdapterGroups:
    """G segments of rows; rows without an adapter are in none.

    Attributes:
        rows: [n] i64, rows of the step, adapter after adapter, each adapter's in their order.
        seg_indptr: [G + 1] i64, where in `rows` each segment begins, and the end.
        adapters: [G] i64, index into `Rows.adapters` of each segment, ascending.
    """

    rows: Index
    seg_indptr: Index
    adapters: Index


def group_by_adapter(rows: Rows) -> AdapterGroups | None:
    """The rows that use adapters; None if there are none."""
    if rows.adapter_of_row is None or not (rows.adapter_of_row >= 0).any():
        return None
    order = np.argsort(rows.adapter_of_row, kind="stable")
    order = order[rows.adapter_of_row[order] >= 0]
    adapters, counts = np.unique(rows.adapter_of_row[order], return_counts=True)
    return AdapterGroups(order, starts_of(counts).astype(np.int64), adapters.astype(np.int64))
