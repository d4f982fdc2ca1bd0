"""Cuts the rows of a step into segments: what one request of flashinfer's kernels can be.

A request is a run of queries that stand one after another at the end of a list of pages. The kernels know no other
form, so a row that stands elsewhere begins a segment of its own. Knows nothing of torch or of the library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pie.engine.backend import Rows
from pie.forward import Int32Array

__all__ = ["Index", "Segments", "cut_rows", "starts_of"]

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """N runs of rows, each of one sequence and one slot further than the row before.

    Attributes:
        rows: [n] i64, the rows of the step, segment after segment.
        starts: [N + 1] i32, where in `rows` each segment begins, and the end.
        sequences: [N] i32, row of the page table.
        kv_lengths: [N] i32, slots of the sequence up to the segment's last row, which is among them.
        masked: [N] bool, whether the key masks say what its rows see.
    """

    rows: Index
    starts: Int32Array
    sequences: Int32Array
    kv_lengths: Int32Array
    masked: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """N."""
        return len(self.sequences)

    @property
    def lengths(self) -> Int32Array:
        """[N] i32, rows of each segment."""
        return np.diff(self.starts)

    def take(self, chosen: Index) -> Segments:
        """Some of the segments, in this order."""
        lengths = self.lengths[chosen]
        starts = starts_of(lengths)
        rows = np.repeat(self.starts[:-1][chosen] - starts[:-1], lengths) + np.arange(starts[-1])
        return Segments(self.rows[rows], starts, self.sequences[chosen], self.kv_lengths[chosen], self.masked[chosen])


def cut_rows(rows: Rows) -> Segments:
    """The longest segments, in the order of sequences and slots; a masked row and a causal one never share one."""
    order = np.lexsort((rows.kv_index, rows.sequence_of_row))
    sequence, slot = rows.sequence_of_row[order], rows.kv_index[order]
    masked = np.zeros(len(order), np.bool_) if rows.mask_of_row is None else rows.mask_of_row[order] >= 0
    begins = np.ones(len(order), np.bool_)
    begins[1:] = (np.diff(sequence) != 0) | (np.diff(slot) != 1) | (masked[1:] != masked[:-1])
    first = np.flatnonzero(begins)
    starts = np.append(first, len(order)).astype(np.int32)
    return Segments(order.astype(np.int64), starts, sequence[first], slot[starts[1:] - 1] + np.int32(1), masked[first])


def starts_of(lengths: npt.NDArray[np.integer]) -> Int32Array:
    """[N + 1] i32, where parts of these lengths begin if they lie one after another, and the end."""
    starts = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=starts[1:])
    return starts
