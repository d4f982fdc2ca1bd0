"""Decode steps padded to the batch sizes for which CUDA graphs are captured.

A captured graph has one number of rows for ever. What is missing is filled with rows of a spare page that no sequence
holds: they cost little, and nobody reads what they give. Knows nothing of torch or of the library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pie.engine.backend import Rows
from pie.engine.flashinfer_backend.page_lists import PageLists, list_pages
from pie.forward import Int32Array

__all__ = ["DecodeTables", "captured_sizes", "decode_tables", "fitting_size"]

_STEP = 8


@dataclass(frozen=True, slots=True, eq=False)
class DecodeTables:
    """One token of each of N sequences, N a captured size; the rows from `num_rows` on are padding.

    Attributes:
        num_rows: how many are real.
        token_ids, positions: [N] i32.
        slots: [N] i32, the slot of its sequence into which each row's key goes.
        pages: of the N sequences; each row's slot is the last.
    """

    num_rows: int
    token_ids: Int32Array
    positions: Int32Array
    slots: Int32Array
    pages: PageLists


def captured_sizes(most: int) -> tuple[int, ...]:
    """1, 2, 4 and the multiples of eight up to `most` and beyond it to the next."""
    return (1, 2, 4, *range(_STEP, -(-most // _STEP) * _STEP + 1, _STEP))


def fitting_size(num_rows: int, sizes: tuple[int, ...]) -> int | None:
    """The smallest captured size that holds so many rows; None if none does."""
    return min((size for size in sizes if size >= num_rows), default=None)


def decode_tables(rows: Rows, size: int, *, page_size: int, spare_page: int) -> DecodeTables:
    """The tables of a step with one unmasked row per sequence, padded to `size` rows."""
    num_rows = len(rows.token_ids)
    missing = size - num_rows
    pages = list_pages(rows.page_table, rows.sequence_of_row, rows.kv_index + np.int32(1), page_size=page_size)
    end = pages.indptr[-1]
    return DecodeTables(
        num_rows=num_rows,
        token_ids=_padded(rows.token_ids, missing),
        positions=_padded(rows.positions, missing),
        slots=_padded(rows.kv_index, missing),
        pages=PageLists(
            indptr=np.concatenate((pages.indptr, end + np.arange(1, missing + 1, dtype=np.int32))),
            indices=np.concatenate((pages.indices, np.full(missing, spare_page, np.int32))),
            last_page_len=np.concatenate((pages.last_page_len, np.ones(missing, np.int32))),
        ),
    )


def _padded(values: Int32Array, missing: int) -> Int32Array:
    return np.concatenate((values, np.zeros(missing, np.int32)))
