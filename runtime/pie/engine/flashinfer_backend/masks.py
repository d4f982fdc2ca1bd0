"""Custom masks in the form of flashinfer's kernels: one bit per query and key, query after query, lowest bit first.

The bits of each request begin with a byte. Bit `query * keys + key` of a request says whether the query sees the key.
Knows nothing of torch or of the library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pie.engine.backend import Rows
from pie.engine.flashinfer_backend.segments import Segments, starts_of
from pie.forward import Int32Array

__all__ = ["PackedMasks", "pack_masks"]


@dataclass(frozen=True, slots=True, eq=False)
class PackedMasks:
    """The masks of N requests.

    Attributes:
        bits: [indptr[-1]] u8, eight pairs of query and key each.
        indptr: [N + 1] i32, the byte in which each request's bits begin, and the end.
        sizes: [N] i64, how many bits each request has: queries times keys.
    """

    bits: npt.NDArray[np.uint8]
    indptr: Int32Array
    sizes: npt.NDArray[np.int64]


def pack_masks(rows: Rows, segments: Segments, *, page_size: int, window: int | None) -> PackedMasks:
    """What the rows of `segments` see: their key masks, up to their own slots, within `window` tokens if there is one.

    Windows count tokens of the sequence, also where pages between are left out (`Rows.page_numbers`).
    """
    parts = [_seen(rows, segments, number, page_size, window) for number in range(len(segments))]
    packed = [np.packbits(part, bitorder="little") for part in parts]
    return PackedMasks(
        bits=np.concatenate(packed) if packed else np.zeros(0, np.uint8),
        indptr=starts_of(np.array([len(part) for part in packed], np.int64)),
        sizes=np.array([part.size for part in parts], np.int64),
    )


def _seen(rows: Rows, segments: Segments, number: int, page_size: int, window: int | None) -> npt.NDArray[np.bool_]:
    """[queries, keys] of one segment."""
    members = segments.rows[segments.starts[number] : segments.starts[number + 1]]
    keys = np.arange(segments.kv_lengths[number])
    own = rows.kv_index[members]
    seen = keys <= own[:, None]
    if rows.key_mask is not None and rows.mask_of_row is not None and segments.masked[number]:
        seen &= rows.key_mask[rows.mask_of_row[members], : len(keys)] != 0
    if window is not None:
        place = _places(rows, int(segments.sequences[number]), page_size, len(keys))
        seen &= place > place[own][:, None] - window
    return seen


def _places(rows: Rows, sequence: int, page_size: int, num_keys: int) -> npt.NDArray[np.int64]:
    """[keys], which token of the sequence is in each slot."""
    slots = np.arange(num_keys, dtype=np.int64)
    if rows.page_numbers is None:
        return slots
    numbers: npt.NDArray[np.int64] = rows.page_numbers[sequence].astype(np.int64)
    return numbers[slots // page_size] * page_size + slots % page_size
