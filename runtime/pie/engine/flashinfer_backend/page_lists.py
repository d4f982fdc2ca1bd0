"""Page lists in the form of flashinfer's kernels: all pages in a row, where each request's begin, how full the last is.

See "KV-Cache Layout in FlashInfer" in its documentation. Knows nothing of torch or of the library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pie.engine.backend import Rows
from pie.engine.flashinfer_backend.segments import starts_of
from pie.forward import Int32Array

__all__ = ["AppendTable", "PageLists", "append_table", "list_pages"]


@dataclass(frozen=True, slots=True, eq=False)
class PageLists:
    """The pages of N requests.

    Attributes:
        indptr: [N + 1] i32, where in `indices` each request's pages begin, and the end.
        indices: [indptr[-1]] i32, page ids.
        last_page_len: [N] i32, tokens in the last page of each: 1 … page_size.
    """

    indptr: Int32Array
    indices: Int32Array
    last_page_len: Int32Array

    def __len__(self) -> int:
        """N."""
        return len(self.last_page_len)


@dataclass(frozen=True, slots=True, eq=False)
class AppendTable:
    """Where the keys and values of R rows go: slot `positions[r]` of request `batch_indices[r]`; both [R] i32."""

    batch_indices: Int32Array
    positions: Int32Array
    pages: PageLists


def list_pages(
    page_table: Int32Array,
    sequences: Int32Array,
    lengths: Int32Array,
    *,
    page_size: int,
    skipped: Int32Array | None = None,
) -> PageLists:
    """The pages of N requests.

    Args:
        page_table: [sequences, width] i32; entries past `lengths` are not read.
        sequences: [N] i32, row of the table of each request.
        lengths: [N] i32, tokens of each request from the sequence's first one on, at least one beyond `skipped`.
        page_size: tokens per page.
        skipped: [N] i32, full pages at the beginning that are left out; None is none.
    """
    first = np.zeros(len(lengths), np.int32) if skipped is None else skipped
    counts = -(-lengths // np.int32(page_size)) - first
    indptr = starts_of(counts)
    columns = np.repeat(first - indptr[:-1], counts) + np.arange(indptr[-1], dtype=np.int32)
    return PageLists(
        indptr=indptr,
        indices=page_table[np.repeat(sequences, counts), columns],
        last_page_len=(lengths - np.int32(1)) % np.int32(page_size) + np.int32(1),
    )


def append_table(rows: Rows, page_size: int) -> AppendTable:
    """Where the keys and values of a step's rows go; requests are the sequences that have rows."""
    sequences, batch_indices = np.unique(rows.sequence_of_row, return_inverse=True)
    lengths = np.zeros(len(sequences), np.int32)
    np.maximum.at(lengths, batch_indices, rows.kv_index + np.int32(1))
    pages = list_pages(rows.page_table, sequences, lengths, page_size=page_size)
    return AppendTable(batch_indices.astype(np.int32), rows.kv_index, pages)
