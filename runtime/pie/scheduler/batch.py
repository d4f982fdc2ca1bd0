"""Turns what takes part in a step into the flat arrays of one `Batch`.

Decode rows come first and one to one: row i of the batch, sequence i, logit row i and sampler i are the i-th decode.
Where nothing but decodes takes part the arrays are views of the persistent ones; the device reads them until its step
is over, and nobody edits a row before that. Chunks of passes follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pie.adjustment import Adjusted, Adjustments
from pie.forward import (
    AdapterUse,
    Batch,
    BoolBytes,
    Int32Array,
    LogitMask,
    OutputSlot,
    PageId,
    Probe,
    Sampler,
    StepResult,
)
from pie.mask import brle_to_bools
from pie.scheduler.contexts import PageCopy
from pie.scheduler.origins import masked
from pie.scheduler.passes import Pass
from pie.scheduler.rows import DecodeRows

__all__ = ["Chunk", "Reading", "assemble", "pages_walked", "read_slots"]

_U64 = 1 << 64


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """The next `num_tokens` tokens of a pass."""

    item: Pass
    num_tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Where the answer to one readout of a pass stands in the step's result.

    Attributes:
        item: the pass.
        readout: index in its readouts.
        first: its first sampler, or its probe.
        draws: samplers from `first` on; 0 means it is a probe.
    """

    item: Pass
    readout: int
    first: int
    draws: int


def assemble(
    rows: DecodeRows,
    selected: slice | Int32Array,
    chunks: Sequence[Chunk],
    *,
    steps: int,
    copies: Sequence[PageCopy],
    masks: Sequence[LogitMask | None],
) -> tuple[Batch, list[Reading]]:
    """Build the batch of one step.

    Args:
        rows: the running decodes.
        selected: those that take part.
        chunks: what is computed of passes.
        steps: more than one for a decode run, without chunks.
        copies: page copies that come before it.
        masks: per chunk, the mask of the first draw of a decode whose first pass the chunk ends.

    Returns:
        The batch, and where the answers to the chunks' readouts will stand.
    """
    arrays = _decode_arrays(rows, selected)
    if rows.num_windowed:
        arrays |= _seen_arrays(rows, selected, arrays)
    if rows.num_adapted:
        arrays |= _adapter_arrays(rows, selected)
    if copies:
        arrays["page_copies"] = np.array([(copy.source, copy.target) for copy in copies], np.int32)
    if steps > 1:
        arrays["steps"] = steps
        arrays["step_limits"] = np.minimum(rows.limit[selected], steps)
        taking_part = np.arange(rows.count)[selected].tolist()
        arrays["stop_ids"] = tuple(rows.decodes[row].stop_ids for row in taking_part)
    adjusted = _adjusted_rows(rows, selected) if rows.num_adjusted else []
    if rows.num_stepwise:
        arrays |= _logprob_arrays(rows, selected)
    if not chunks:
        return Batch(**arrays, adjustments=Adjustments.of(adjusted)), []
    writer = _ChunkWriter(arrays, adjusted)
    for chunk, mask in zip(chunks, masks, strict=True):
        writer.add(chunk, mask)
    return writer.batch(), writer.readings


def read_slots(readings: Sequence[Reading], result: StepResult) -> dict[Pass, str]:
    """Put the answers of a step in the slots of their passes; returns the passes of which one failed, and why.

    A decode that guesses does not fail here: which of its readouts count is seen when all are there (`Pass.failed`).
    """
    failed: dict[Pass, str] = {}
    for reading in readings:
        item = reading.item
        if reading.draws:
            numbers = range(reading.first, reading.first + reading.draws)
            tokens = tuple(result.tokens[list(numbers), 0].tolist())
            slot = OutputSlot(tokens, logprobs=result.logprobs.get(reading.first))
        else:
            numbers = range(len(result.num_tokens) + reading.first, len(result.num_tokens) + reading.first + 1)
            slot = OutputSlot(value=result.probes[reading.first])
        item.slots[reading.readout] = slot
        for number in numbers:
            if number in result.failures and item.speculates:
                item.failed[reading.readout] = result.failures[number]
            elif number in result.failures:
                failed[item] = result.failures[number]
    return failed


def pages_walked(batch: Batch, chunks: Sequence[Chunk]) -> tuple[int, int]:
    """How many pages the chunks of a batch look at, before they count as done, and how many they are spared."""
    end = batch.num_rows - sum(chunk.num_tokens for chunk in chunks)
    walked = held = 0
    for chunk in chunks:
        item, size = chunk.item, chunk.item.context.page_size
        end += chunk.num_tokens
        walked += int(batch.kv_index[end - 1]) // size + 1
        held += (item.base + item.done + chunk.num_tokens - 1) // size + 1
    return walked, held - walked


def _decode_arrays(rows: DecodeRows, selected: slice | Int32Array) -> dict[str, Any]:
    position = rows.position[selected]
    line = np.arange(len(position), dtype=np.int32)
    width = int(rows.num_pages[selected].max(initial=0))
    return {
        "token_ids": rows.token[selected],
        "positions": position,
        "sequence_of_row": line,
        "kv_index": rows.kv_index[selected],
        "page_table": rows.page_table[selected, :width],
        "logit_rows": line,
        "sampler_rows": line,
        "temperature": rows.temperature[selected],
        "top_k": rows.top_k[selected],
        "top_p": rows.top_p[selected],
        "min_p": rows.min_p[selected],
        "seeds": rows.seeds[selected],
        "counters": rows.counters[selected],
        "logit_masks": rows.masks,
        "sampler_masks": rows.mask_slot[selected],
    }


def _seen_arrays(rows: DecodeRows, selected: slice | Int32Array, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """What replaces some arrays because of windows: pages that a row does not see leave its page table.

    What it does not see of the others is masked, as a pass of one token would do (see `_ChunkWriter._trim`).
    """
    size, place = rows.page_size, arrays["kv_index"]
    window, sink = rows.window[selected], rows.sink[selected]
    masked = (place >= rows.narrow_from[selected]).nonzero()[0].astype(np.int32)
    if not len(masked):
        return {}
    first_page = -(-sink // size)
    gap = np.where(place >= rows.narrow_from[selected], (place + 1 - window) // size - first_page, 0)
    gap = np.maximum(gap, 0).astype(np.int32)[:, None]
    table = arrays["page_table"]
    column = np.arange(table.shape[1], dtype=np.int32)
    source = np.minimum(column + np.where(column >= first_page[:, None], gap, 0), table.shape[1] - 1)
    kv_index = place - gap[:, 0] * np.int32(size)
    key = np.arange(int(kv_index[masked].max()) + 1, dtype=np.int32)
    seen = (key < sink[masked][:, None]) | (key > (kv_index - window)[masked][:, None])
    width = int(kv_index.max()) // size + 1
    return {
        "page_table": np.take_along_axis(table, source, axis=1)[:, :width],
        "page_numbers": source[:, :width],
        "kv_index": kv_index,
        "masked_rows": masked,
        "key_mask": seen.astype(np.uint8),
    }


def _adapter_arrays(rows: DecodeRows, selected: slice | Int32Array) -> dict[str, Any]:
    numbers: dict[AdapterUse, int] = {}
    of_row = [rows.decodes[row].request.adapter for row in np.arange(rows.count)[selected].tolist()]
    numbered = [-1 if use is None else numbers.setdefault(use, len(numbers)) for use in of_row]
    return {"adapters": tuple(numbers), "adapter_of_row": np.array(numbered, np.int32)} if numbers else {}


def _adjusted_rows(rows: DecodeRows, selected: slice | Int32Array) -> list[Adjusted]:
    counts = (decode.counts for decode in rows.decodes_of(selected))
    return [of.adjusted(sampler) for sampler, of in enumerate(counts) if of is not None]


def _logprob_arrays(rows: DecodeRows, selected: slice | Int32Array) -> dict[str, Any]:
    wanted = [decode.request.num_top for decode in rows.decodes_of(selected)]
    return {"logprobs": np.array(wanted, np.int32)} if max(wanted, default=-1) >= 0 else {}


@dataclass(slots=True, eq=False)
class _SamplerColumns:
    """The samplers of all chunks, one entry per draw."""

    row: list[int] = field(default_factory=list)
    temperature: list[float] = field(default_factory=list)
    top_k: list[int] = field(default_factory=list)
    top_p: list[float] = field(default_factory=list)
    min_p: list[float] = field(default_factory=list)
    seed: list[int] = field(default_factory=list)
    counter: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    num_top: list[int] = field(default_factory=list)

    def add(self, sampler: Sampler, item: Pass, *, row: int, counter: int, mask: int) -> None:
        draws = sampler.draws
        self.row += [row] * draws
        self.temperature += [sampler.temperature] * draws
        self.top_k += [sampler.top_k] * draws
        self.top_p += [sampler.top_p] * draws
        self.min_p += [sampler.min_p] * draws
        self.seed += [item.seed % _U64] * draws
        self.counter += [(counter + draw) % _U64 for draw in range(draws)]
        self.mask += [mask] * draws
        self.num_top += [-1 if item.decode is None else item.decode.request.num_top] * draws


class _ChunkWriter:
    """Appends chunks to the arrays of the decode rows."""

    def __init__(self, decodes: dict[str, Any], adjusted: list[Adjusted]) -> None:
        self.readings: list[Reading] = []
        self._decodes = decodes
        self._adjusted = adjusted
        self._tokens: list[Int32Array] = []
        self._positions: list[Int32Array] = []
        self._kv: list[Int32Array] = []
        self._pages: list[list[PageId]] = []
        self._numbers: dict[int, Int32Array] = {}
        self._num_rows = self._num_decodes = len(decodes["token_ids"])
        self._logit_rows: list[int] = []
        self._samplers = _SamplerColumns()
        self._probes: list[tuple[int, Probe]] = []
        self._masks: list[LogitMask] = []
        self._keys: list[tuple[int, npt.NDArray[np.bool_]]] = []
        self._adapters = {use: number for number, use in enumerate(decodes.get("adapters", ()))}
        self._adapter_of_chunk: list[int] = []

    def add(self, chunk: Chunk, mask: LogitMask | None) -> None:
        item, start = chunk.item, chunk.item.done
        end = start + chunk.num_tokens
        self._tokens.append(item.token_ids[start:end])
        self._positions.append(item.positions[start:end])
        self._kv.append(np.arange(item.base + start, item.base + end, dtype=np.int32))
        self._pages.append(item.context.pages)
        if item.attention_mask is not None:
            self._add_attention(chunk, item.attention_mask)
        adapter = item.adapter
        self._adapter_of_chunk.append(
            -1 if adapter is None else self._adapters.setdefault(adapter, len(self._adapters))
        )
        self._add_readouts(chunk, mask)
        self._num_rows += chunk.num_tokens

    def batch(self) -> Batch:
        decodes, samplers = self._decodes, self._samplers
        lengths = [len(tokens) for tokens in self._tokens]
        line = np.arange(self._num_decodes, self._num_decodes + len(lengths), dtype=np.int32)
        extra: dict[str, Any] = {
            "token_ids": np.concatenate([decodes["token_ids"], *self._tokens]),
            "positions": np.concatenate([decodes["positions"], *self._positions]),
            "kv_index": np.concatenate([decodes["kv_index"], *self._kv]),
            "sequence_of_row": np.concatenate([decodes["sequence_of_row"], np.repeat(line, lengths)]),
            "page_table": self._page_table(decodes["page_table"]),
            "probes": tuple(self._probes),
            "logit_masks": np.concatenate([decodes["logit_masks"], *(mask[None] for mask in self._masks)]),
        }
        for name, values in (
            ("logit_rows", self._logit_rows),
            ("sampler_rows", samplers.row),
            ("temperature", samplers.temperature),
            ("top_k", samplers.top_k),
            ("top_p", samplers.top_p),
            ("min_p", samplers.min_p),
            ("seeds", samplers.seed),
            ("counters", samplers.counter),
            ("sampler_masks", samplers.mask),
        ):
            extra[name] = np.concatenate([decodes[name], np.array(values, decodes[name].dtype)])
        if "logprobs" in decodes or max(samplers.num_top, default=-1) >= 0:
            of_rows = decodes.get("logprobs", np.full(self._num_decodes, -1, np.int32))
            extra["logprobs"] = np.concatenate([of_rows, np.array(samplers.num_top, np.int32)])
        if self._keys:
            masked = np.array([row for row, _ in self._keys], np.int32)
            extra["masked_rows"] = np.concatenate([decodes.get("masked_rows", masked[:0]), masked])
            extra["key_mask"] = self._key_mask(decodes.get("key_mask"))
        if self._numbers or "page_numbers" in decodes:
            extra["page_numbers"] = self._page_numbers(decodes.get("page_numbers"), extra["page_table"].shape)
        if self._adapters:
            extra["adapters"] = tuple(self._adapters)
            of_decode = decodes.get("adapter_of_row", np.full(self._num_decodes, -1, np.int32))
            of_chunk = np.repeat(np.array(self._adapter_of_chunk, np.int32), lengths)
            extra["adapter_of_row"] = np.concatenate([of_decode, of_chunk])
        return Batch(**{**decodes, **extra}, adjustments=Adjustments.of(self._adjusted))

    def _add_attention(self, chunk: Chunk, attention_mask: Sequence[Sequence[int]]) -> None:
        item = chunk.item
        rows: dict[int, npt.NDArray[np.bool_]] = {}
        for offset in range(chunk.num_tokens):
            token = item.done + offset
            if not attention_mask[token]:
                continue
            visible = brle_to_bools(attention_mask[token], item.base + token + 1)
            if not visible.all():
                rows[offset] = visible
                item.origins[token] = masked(attention_mask[token], visible, item.adapter)
        if len(rows) == chunk.num_tokens:
            rows = self._trim(chunk, rows)
        self._keys += [(self._num_rows + offset, visible) for offset, visible in rows.items()]

    def _trim(self, chunk: Chunk, rows: dict[int, npt.NDArray[np.bool_]]) -> dict[int, npt.NDArray[np.bool_]]:
        """Take pages that no row of the chunk sees out of its page table, and their keys out of the rows.

        Only pages that were full before the chunk, so that every row lies behind all that goes. Positions stay.
        """
        size = chunk.item.context.page_size
        num_full = (chunk.item.base + chunk.item.done) // size
        seen = np.zeros(num_full * size, np.bool_)
        for visible in rows.values():
            seen |= visible[: len(seen)]
        keep: npt.NDArray[np.bool_] = np.logical_or.reduce(seen.reshape(-1, size), axis=1)
        if keep.all():
            return rows
        pages = self._pages[-1]
        numbers = np.concatenate([np.flatnonzero(keep), np.arange(num_full, len(pages))]).astype(np.int32)
        self._numbers[self._num_decodes + len(self._pages) - 1] = numbers
        self._pages[-1] = [pages[number] for number in numbers.tolist()]
        self._kv[-1] = self._kv[-1] - np.int32((num_full - keep.sum()) * size)
        keys = np.repeat(keep, size)
        return {
            offset: np.concatenate([visible[: len(keys)][keys], visible[len(keys) :]])
            for offset, visible in rows.items()
        }

    def _add_readouts(self, chunk: Chunk, mask: LogitMask | None) -> None:
        item, counter = chunk.item, chunk.item.counter
        logit_index: dict[int, int] = {}
        for number, readout in enumerate(item.readouts):
            draws = readout.what.draws if isinstance(readout.what, Sampler) else 0
            if item.done <= readout.index < item.done + chunk.num_tokens:
                if readout.index not in logit_index:
                    logit_index[readout.index] = self._num_decodes + len(self._logit_rows)
                    self._logit_rows.append(self._num_rows + readout.index - item.done)
                row = logit_index[readout.index]
                if isinstance(readout.what, Sampler):
                    first = self._num_decodes + len(self._samplers.row)
                    self.readings.append(Reading(item, number, first, draws))
                    if item.decode is not None and item.decode.counts is not None:
                        guesses = item.token_ids[1 : readout.index + 1].tolist() if item.goes_on else ()
                        self._adjusted.append(item.decode.counts.adjusted(first, guesses))
                    slot = self._mask_slot(readout.mask if mask is None else mask)
                    self._samplers.add(readout.what, item, row=row, counter=counter, mask=slot)
                else:
                    self.readings.append(Reading(item, number, len(self._probes), 0))
                    self._probes.append((row, readout.what))
            counter += draws

    def _mask_slot(self, mask: LogitMask | None) -> int:
        if mask is None:
            return -1
        self._masks.append(mask)
        return len(self._decodes["logit_masks"]) + len(self._masks) - 1

    def _page_table(self, decodes: Int32Array) -> Int32Array:
        count, width = decodes.shape
        table = np.zeros((count + len(self._pages), max(width, *(len(pages) for pages in self._pages))), np.int32)
        table[:count, :width] = decodes
        for sequence, pages in enumerate(self._pages, count):
            table[sequence, : len(pages)] = pages
        return table

    def _page_numbers(self, decodes: Int32Array | None, shape: tuple[int, int]) -> Int32Array:
        numbers = np.tile(np.arange(shape[1], dtype=np.int32), (shape[0], 1))
        if decodes is not None:
            numbers[: decodes.shape[0], : decodes.shape[1]] = decodes
        for sequence, of_pages in self._numbers.items():
            numbers[sequence, : len(of_pages)] = of_pages
        return numbers

    def _key_mask(self, decodes: BoolBytes | None) -> BoolBytes:
        decodes = np.zeros((0, 0), np.uint8) if decodes is None else decodes
        count, width = decodes.shape
        width = max(width, *(len(visible) for _, visible in self._keys))
        keys = np.zeros((count + len(self._keys), width), np.uint8)
        keys[:count, : decodes.shape[1]] = decodes
        for row, (_, visible) in enumerate(self._keys, count):
            keys[row, : len(visible)] = visible
        return keys
