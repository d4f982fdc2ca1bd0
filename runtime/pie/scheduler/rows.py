"""The running decodes as persistent arrays: one row each, edited in place as decodes join, step and leave.

Rows 0 … count - 1 are live and have no holes: the last row moves to the place of one that leaves. All work of a step is
numpy over all rows at once and does not grow with the length of their contexts. Rows know tokens and page ids, not who
holds a page nor who hears of a token.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pie.forward import ContextId, DecodeRequest, Int32Array, LogitMask
from pie.scheduler.passes import Decode

__all__ = ["DecodeRows"]

_U64 = 1 << 64
_FIRST_ROWS = 32
_FIRST_PAGES = 16
_MOST = (1 << 31) - 1


class DecodeRows:
    """The running decodes, row by row.

    Attributes:
        page_size: tokens per page.
        count: live rows.
        decodes: the decode of each row.
        token: [rows] i32, the token to feed next; it is not in KV yet.
        position: [rows] i32, its position.
        kv_index: [rows] i32, its place in KV, which is also the number of tokens in KV.
        settled: [rows] i32, how many of those tokens the context knows of.
        committed: [rows] i32, how many of them lie in committed pages.
        capacity: [rows] i32, tokens up to here have pages that are present and private to the context.
        limit: [rows] i32, tokens the row may still draw.
        page_table: [rows, width] i32, the context's pages.
        num_pages: [rows] i32, how many entries of the row's page table are real.
        temperature, top_p, min_p, top_k, seeds, counters: the samplers, as in `Batch`.
        mask_slot: [rows] i32, row of `masks`; -1 is no mask.
        masks: [slots, words] u32, allowed tokens.
        window, sink: [rows] i32, how many last and first tokens the row sees; a window of 0 sees all.
        narrow_from: [rows] i32, places before this one see all that is before them.
        num_stepwise: rows whose decode has a constraint or wants log-probabilities, and takes one step at a time.
        num_watched: rows whose decode has a watch.
        num_drafting: rows whose decode has a drafter.
        num_windowed: rows whose decode has a window.
        num_adapted: rows whose decode has an adapter.
        num_adjusted: rows whose decode has an adjustment.
    """

    def __init__(self, *, vocab_size: int, page_size: int, max_run_steps: int) -> None:
        """Start without rows."""
        self.count = 0
        self.decodes: list[Decode] = []
        self.num_stepwise = self.num_watched = self.num_drafting = 0
        self.num_windowed = self.num_adapted = self.num_adjusted = 0
        self._row_of: dict[ContextId, int] = {}
        self.page_size = page_size
        self._free_masks: list[int] = []
        rows = _FIRST_ROWS
        self.token: Int32Array = np.zeros(rows, np.int32)
        self.position: Int32Array = np.zeros(rows, np.int32)
        self.kv_index: Int32Array = np.zeros(rows, np.int32)
        self.settled: Int32Array = np.zeros(rows, np.int32)
        self.committed: Int32Array = np.zeros(rows, np.int32)
        self.capacity: Int32Array = np.zeros(rows, np.int32)
        self.limit: Int32Array = np.zeros(rows, np.int32)
        self.page_table: Int32Array = np.zeros((rows, _FIRST_PAGES), np.int32)
        self.num_pages: Int32Array = np.zeros(rows, np.int32)
        self.temperature: npt.NDArray[np.float32] = np.zeros(rows, np.float32)
        self.top_p: npt.NDArray[np.float32] = np.zeros(rows, np.float32)
        self.min_p: npt.NDArray[np.float32] = np.zeros(rows, np.float32)
        self.top_k: Int32Array = np.zeros(rows, np.int32)
        self.seeds: npt.NDArray[np.uint64] = np.zeros(rows, np.uint64)
        self.counters: npt.NDArray[np.uint64] = np.zeros(rows, np.uint64)
        self.mask_slot: Int32Array = np.zeros(rows, np.int32)
        self.window: Int32Array = np.zeros(rows, np.int32)
        self.sink: Int32Array = np.zeros(rows, np.int32)
        self.narrow_from: Int32Array = np.zeros(rows, np.int32)
        self.masks: npt.NDArray[np.uint32] = np.zeros((0, (vocab_size + 31) // 32), np.uint32)
        # A run starts with less than a page unsettled and adds at most `max_run_steps` tokens.
        self._written: Int32Array = np.zeros((rows, page_size + max_run_steps), np.int32)

    _ARRAYS = (
        "token",
        "position",
        "kv_index",
        "settled",
        "committed",
        "capacity",
        "limit",
        "page_table",
        "num_pages",
        "temperature",
        "top_p",
        "min_p",
        "top_k",
        "seeds",
        "counters",
        "mask_slot",
        "window",
        "sink",
        "narrow_from",
        "_written",
    )

    def row_of(self, context_id: ContextId) -> int | None:
        """The row that extends this context, or None."""
        return self._row_of.get(context_id)

    def decodes_of(self, rows: slice | Int32Array) -> list[Decode]:
        """The decodes of these rows, in their order."""
        return self.decodes[rows] if isinstance(rows, slice) else [self.decodes[row] for row in rows.tolist()]

    def join(self, decode: Decode, *, token: int, limit: int, counter: int) -> int:
        """Add a row whose first token was drawn in its first pass.

        Args:
            decode: what it belongs to; its context knows all its tokens in KV.
            token: the token drawn.
            limit: how many more it may draw, >= 1.
            counter: index of the next draw in its random stream.
        """
        row, sampler, context = self.count, decode.request.sampler, decode.context
        if row == len(self.token):
            self._grow_rows()
        self.count += 1
        self.decodes.append(decode)
        self._row_of[context.id] = row
        self.token[row] = token
        self.position[row] = context.next_position
        self.kv_index[row] = self.settled[row] = context.num_tokens
        self.limit[row] = limit
        self.temperature[row] = sampler.temperature
        self.top_p[row], self.min_p[row], self.top_k[row] = sampler.top_p, sampler.min_p, sampler.top_k
        self.seeds[row], self.counters[row] = decode.request.seed % _U64, counter % _U64
        self.mask_slot[row] = -1
        window = decode.request.window
        self.narrow_from[row] = _MOST if window is None else window.narrow_from
        self.window[row] = 0 if window is None else min(window.size, _MOST)
        self.sink[row] = 0 if window is None else min(window.sink, _MOST)
        self._count_kinds(decode.request, 1)
        self.refresh(row)
        return row

    def leave(self, row: int) -> None:
        """Remove a row; the last row takes its place."""
        last = self.count - 1
        decode = self.decodes[row]
        del self._row_of[decode.context.id]
        self._count_kinds(decode.request, -1)
        if self.mask_slot[row] >= 0:
            self._free_masks.append(int(self.mask_slot[row]))
        if row != last:
            for name in self._ARRAYS:
                array: npt.NDArray[Any] = getattr(self, name)
                array[row] = array[last]
            self.decodes[row] = self.decodes[last]
            self._row_of[self.decodes[row].context.id] = row
        self.decodes.pop()
        self.count = last

    def refresh(self, row: int) -> None:
        """Read the context's pages anew and trust none of them to be private."""
        self.copy_pages(row, first=0)
        self.committed[row] = self.decodes[row].context.num_committed * self.page_size
        self.capacity[row] = self.kv_index[row]

    def copy_pages(self, row: int, *, first: int) -> None:
        """Copy the context's page table from page `first` on."""
        pages = self.decodes[row].context.pages
        if len(pages) > self.page_table.shape[1]:
            wider = np.zeros((len(self.token), max(len(pages), 2 * self.page_table.shape[1])), np.int32)
            wider[:, : self.page_table.shape[1]] = self.page_table
            self.page_table = wider
        self.page_table[row, first : len(pages)] = pages[first:]
        self.num_pages[row] = len(pages)

    def set_mask(self, row: int, mask: LogitMask | None) -> None:
        """Restrict what the row may draw from now on."""
        slot = int(self.mask_slot[row])
        if mask is None:
            if slot >= 0:
                self._free_masks.append(slot)
                self.mask_slot[row] = -1
            return
        if slot < 0:
            slot = self._take_mask_slot()
            self.mask_slot[row] = slot
        self.masks[slot] = mask

    def mask_of(self, row: int) -> LogitMask | None:
        """What the row may draw next; a copy."""
        slot = int(self.mask_slot[row])
        return self.masks[slot].copy() if slot >= 0 else None

    def advance(
        self, rows: slice | Int32Array, tokens: npt.NDArray[np.int32], num_tokens: npt.NDArray[np.int32]
    ) -> None:
        """Take the tokens that rows drew in one step or run.

        Args:
            rows: which rows took part.
            tokens: [rows, steps] i32, what they drew.
            num_tokens: [rows] i32, how many of it is real; 0 leaves the row as it was.
        """
        index = np.arange(self.count) if isinstance(rows, slice) else rows
        offset = self.kv_index[rows] - self.settled[rows]
        steps = tokens.shape[1]
        if steps == 1 and num_tokens.all():
            self._written[index, offset] = self.token[rows]
            self.token[rows] = tokens[:, 0]
            self._count(rows, 1)
            return
        for step in range(steps):
            live = num_tokens > step
            self._written[index[live], offset[live] + step] = self.token[index[live]]
            self.token[index[live]] = tokens[live, step]
        self._count(rows, num_tokens)

    def settle(self, row: int) -> None:
        """Tell the row's context of the tokens written since the last time."""
        count = int(self.kv_index[row] - self.settled[row])
        if count:
            decode, context = self.decodes[row], self.decodes[row].context
            position, origins = context.next_position, decode.row_origins(context.num_tokens, count)
            context.append(self._written[row, :count].tolist(), range(position, position + count), origins)
            self.settled[row] = self.kv_index[row]

    def _count(self, rows: slice | Int32Array, num_tokens: int | npt.NDArray[np.int32]) -> None:
        self.kv_index[rows] += num_tokens
        self.position[rows] += num_tokens
        self.limit[rows] -= num_tokens
        self.counters[rows] += np.asarray(num_tokens, np.uint64)

    def _count_kinds(self, request: DecodeRequest, change: int) -> None:
        self.num_stepwise += change * (request.constraint is not None or request.logprobs is not None)
        self.num_watched += change * (request.watch is not None)
        self.num_drafting += change * (request.drafter is not None)
        self.num_windowed += change * (request.window is not None)
        self.num_adapted += change * (request.adapter is not None)
        self.num_adjusted += change * (request.adjustment is not None)

    def _take_mask_slot(self) -> int:
        if not self._free_masks:
            slots = len(self.masks)
            grown = max(4, 2 * slots)
            masks = np.zeros((grown, self.masks.shape[1]), np.uint32)
            masks[:slots] = self.masks
            self.masks = masks
            self._free_masks.extend(range(grown - 1, slots - 1, -1))
        return self._free_masks.pop()

    def _grow_rows(self) -> None:
        for name in self._ARRAYS:
            array: npt.NDArray[Any] = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
