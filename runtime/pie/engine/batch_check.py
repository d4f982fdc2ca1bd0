"""The gate before the kernels: no batch with a number out of range gets to memory.

Checks whole arrays at once, in time independent of the context lengths, and puts the arrays in the kernels' form.
A failure here is a fault of who made the batch, so the whole batch is refused; what is wrong with one sampler or probe
is left to fail alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pie.adjustment import Adjustments
from pie.engine.adapters.weights import AdapterWeights
from pie.engine.backend import Draws, Rows, Run
from pie.errors import RequestError
from pie.forward import Batch, DeviceInfo, HostPageId, Int32Array, PageId

__all__ = ["CheckedBatch", "check_batch", "check_host_pages", "check_pages"]


_INT32, _UINT32, _UINT64 = np.dtype(np.int32), np.dtype(np.uint32), np.dtype(np.uint64)
_FLOAT32, _UINT8 = np.dtype(np.float32), np.dtype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class CheckedBatch:
    """A batch fit for a backend. If `run` is set, row i belongs to sampler i."""

    rows: Rows
    draws: Draws
    page_copies: Int32Array
    run: Run | None


def check_batch(batch: Batch, info: DeviceInfo, adapters: tuple[AdapterWeights, ...] = ()) -> CheckedBatch:
    """Check every shape and range of `batch`, whose adapters have these weights.

    Raises:
        RequestError: `bad-batch`.
    """
    rows = _rows(batch, adapters)
    draws = _draws(batch, info)
    copies = _array(batch.page_copies, _INT32, "page_copies", dims=2)
    _require(copies.size == 0 or copies.shape[1] == 2, "page_copies must be pairs")
    _require_range(copies, info.num_pages, "page_copies")
    if batch.steps == 1:
        _check_rows(rows, info, reach=0)
        return CheckedBatch(rows, draws, copies, None)
    order, run = _run(batch, draws, info)
    rows, draws = _reorder(rows, draws, order)
    _check_rows(rows, info, reach=np.minimum(run.step_limits, np.int32(run.steps)) - np.int32(1))
    return CheckedBatch(rows, draws, copies, run)


def check_pages(pages: Sequence[PageId], info: DeviceInfo) -> list[PageId]:
    """Check a list of page ids.

    Raises:
        RequestError: `bad-batch`.
    """
    for page in pages:
        if not 0 <= page < info.num_pages:
            raise _bad_batch(f"there is no page {page} among {info.num_pages}")
    return list(pages)


def check_host_pages(slots: Sequence[HostPageId], info: DeviceInfo) -> list[HostPageId]:
    """Check a list of host page ids.

    Raises:
        RequestError: `bad-batch`.
    """
    for slot in slots:
        if not 0 <= slot < info.num_host_pages:
            raise _bad_batch(f"there is no host page {slot} among {info.num_host_pages}")
    return list(slots)


def _rows(batch: Batch, adapters: tuple[AdapterWeights, ...]) -> Rows:
    adapter_of_row = None
    if batch.adapter_of_row is not None:
        adapter_of_row = _array(batch.adapter_of_row, _INT32, "adapter_of_row")
        _require(len(adapter_of_row) == batch.num_rows, "adapter_of_row must have one entry per row")
        _require_range(adapter_of_row + np.int32(1), len(adapters) + 1, "adapter_of_row")
    key_mask, mask_of_row = None, None
    masked = _array(batch.masked_rows, _INT32, "masked_rows")
    if batch.key_mask is not None and len(masked):
        key_mask = _array(batch.key_mask, _UINT8, "key_mask", dims=2)
        _require(len(key_mask) == len(masked), "key_mask must have one row per masked row")
        _require_range(masked, batch.num_rows, "masked_rows")
        mask_of_row = np.full(batch.num_rows, -1, np.int32)
        mask_of_row[masked] = np.arange(len(masked), dtype=np.int32)
    return Rows(
        token_ids=_array(batch.token_ids, _INT32, "token_ids"),
        positions=_array(batch.positions, _INT32, "positions"),
        sequence_of_row=_array(batch.sequence_of_row, _INT32, "sequence_of_row"),
        kv_index=_array(batch.kv_index, _INT32, "kv_index"),
        page_table=_array(batch.page_table, _INT32, "page_table", dims=2),
        logit_rows=_array(batch.logit_rows, _INT32, "logit_rows"),
        page_numbers=None if batch.page_numbers is None else _array(batch.page_numbers, _INT32, "page_numbers", dims=2),
        key_mask=key_mask,
        mask_of_row=mask_of_row,
        adapters=adapters,
        adapter_of_row=adapter_of_row,
    )


def _draws(batch: Batch, info: DeviceInfo) -> Draws:
    draws = Draws(
        sampler_rows=_array(batch.sampler_rows, _INT32, "sampler_rows"),
        temperature=_array(batch.temperature, _FLOAT32, "temperature"),
        top_k=_array(batch.top_k, _INT32, "top_k"),
        top_p=_array(batch.top_p, _FLOAT32, "top_p"),
        min_p=_array(batch.min_p, _FLOAT32, "min_p"),
        seeds=_array(batch.seeds, _UINT64, "seeds"),
        counters=_array(batch.counters, _UINT64, "counters"),
        logit_masks=_array(batch.logit_masks, _UINT32, "logit_masks", dims=2),
        sampler_masks=_array(batch.sampler_masks, _INT32, "sampler_masks"),
        adjustments=None if batch.adjustments is None else _adjustments(batch.adjustments, batch, info),
    )
    per_sampler = (draws.temperature, draws.top_k, draws.top_p, draws.min_p, draws.seeds, draws.counters)
    num_samplers = len(draws.sampler_rows)
    _require(
        all(len(x) == num_samplers for x in (*per_sampler, draws.sampler_masks)), "sampler arrays differ in length"
    )
    _require_range(draws.sampler_rows, len(batch.logit_rows), "sampler_rows")
    _require(all(0 <= row < len(batch.logit_rows) for row, _ in batch.probes), "a probe is on no logit row")
    if batch.logprobs is not None:
        logprobs = _array(batch.logprobs, _INT32, "logprobs")
        _require(
            len(logprobs) == num_samplers and batch.steps == 1, "logprobs need one entry per sampler, and one step"
        )
        _require_range(logprobs + 1, info.vocab_size + 2, "logprobs, counted from -1,")
    words = (info.vocab_size + 31) // 32
    if len(draws.logit_masks) and draws.logit_masks.shape[1] != words:
        raise _bad_batch(f"logit_masks must have {words} words, not {draws.logit_masks.shape[1]}")
    _require_range(draws.sampler_masks + 1, len(draws.logit_masks) + 1, "sampler_masks")
    return draws


def _adjustments(given: Adjustments, batch: Batch, info: DeviceInfo) -> Adjustments:
    floats, starts = ("repetition", "frequency", "presence", "biases"), ("token_starts", "bias_starts")
    checked = Adjustments(
        **{
            name: _array(getattr(given, name), _FLOAT32 if name in floats else _INT32, name)
            for name in Adjustments.__slots__
        }
    )
    count = len(checked.samplers)
    _require_range(checked.samplers, len(batch.sampler_rows), "adjusted samplers")
    _require(bool((np.diff(checked.samplers) > 0).all()), "adjusted samplers must increase")
    _require(all(len(getattr(checked, name)) == count for name in floats[:3]), "an adjusted sampler lacks a penalty")
    _require(bool((checked.repetition > 0).all()), "a repetition penalty must be above 0")
    _require(all(np.isfinite(getattr(checked, name)).all() for name in floats), "an adjustment is not finite")
    for name, ends in zip(starts, (len(checked.token_ids), len(checked.bias_ids)), strict=True):
        values = getattr(checked, name)
        _require(len(values) == count + 1 and values[0] == 0 and values[-1] == ends, f"{name} does not fit its arrays")
        _require(bool((np.diff(values) >= 0).all()), f"{name} must not decrease")
    _require(len(checked.counts) == len(checked.token_ids), "counts must have one entry per token")
    _require(len(checked.biases) == len(checked.bias_ids), "biases must have one entry per token")
    _require_range(checked.token_ids, info.vocab_size, "adjusted token_ids")
    _require_range(checked.bias_ids, info.vocab_size, "bias_ids")
    return checked


def _run(batch: Batch, draws: Draws, info: DeviceInfo) -> tuple[npt.NDArray[np.intp], Run]:
    """The row of each sampler of a decode run, and the run itself."""
    num_samplers = len(draws.sampler_rows)
    _require(1 <= batch.steps <= info.max_positions, "steps must be at least 1 and fit the model's positions")
    _require(batch.key_mask is None and not batch.probes, "a decode run takes no key mask and no probes")
    _require(len(batch.logit_rows) == num_samplers == batch.num_rows, "a decode run needs one sampler per row")
    _require_range(batch.logit_rows, batch.num_rows, "logit_rows")
    order = batch.logit_rows[draws.sampler_rows].astype(np.intp)
    _require(len(np.unique(order)) == num_samplers, "a decode run needs one sampler per row")
    limits = _array(batch.step_limits, _INT32, "step_limits")
    stop_ids = [np.sort(_array(ids, _INT32, "stop_ids")) for ids in batch.stop_ids]
    _require(len(limits) == num_samplers == len(stop_ids), "a decode run needs limits and stops per sampler")
    _require(bool((limits >= 1).all()), "step_limits must be at least 1")
    return order, Run(batch.steps, limits, stop_ids)


def _reorder(rows: Rows, draws: Draws, order: npt.NDArray[np.intp]) -> tuple[Rows, Draws]:
    """Put the rows in the order of their samplers."""
    identity = np.arange(len(order), dtype=np.int32)
    rows = Rows(
        token_ids=rows.token_ids[order],
        positions=rows.positions[order],
        sequence_of_row=rows.sequence_of_row[order],
        kv_index=rows.kv_index[order],
        page_table=rows.page_table,
        logit_rows=identity,
        page_numbers=rows.page_numbers,
        adapters=rows.adapters,
        adapter_of_row=None if rows.adapter_of_row is None else rows.adapter_of_row[order],
    )
    draws = Draws(identity, *(getattr(draws, name) for name in Draws.__slots__[1:]))
    return rows, draws


def _check_rows(rows: Rows, info: DeviceInfo, *, reach: Int32Array | int) -> None:
    """Check what names memory; `reach` is how many KV slots each row fills after its first."""
    num_rows = len(rows.token_ids)
    _require(num_rows > 0, "a batch needs at least one row")
    per_row = (rows.positions, rows.sequence_of_row, rows.kv_index)
    _require(all(len(x) == num_rows for x in per_row), "row arrays differ in length")
    _require_range(rows.token_ids, info.vocab_size, "token_ids")
    _require_range(rows.positions, info.max_positions, "positions")
    _require_range(rows.positions + reach, info.max_positions, "positions to the end of the run")
    _require_range(rows.sequence_of_row, len(rows.page_table), "sequence_of_row")
    _require_range(rows.logit_rows, num_rows, "logit_rows")
    width = rows.page_table.shape[1]
    _require_range(rows.kv_index, width * info.page_size, "kv_index")
    last_page = (rows.kv_index + reach) // info.page_size
    _require_range(last_page, width, "kv_index to the end of the run")
    last_of_sequence = np.full(len(rows.page_table), -1, np.int32)
    np.maximum.at(last_of_sequence, rows.sequence_of_row, last_page)
    used = np.arange(width, dtype=np.int32) <= last_of_sequence[:, None]
    _require_range(rows.page_table[used], info.num_pages, "page_table")
    if rows.page_numbers is not None:
        _require(rows.page_numbers.shape == rows.page_table.shape, "page_numbers must be shaped as page_table")
        _require_range(rows.page_numbers, 2**31 // info.page_size, "page_numbers")
    if rows.key_mask is not None and rows.mask_of_row is not None:
        reached = rows.kv_index[rows.mask_of_row >= 0]
        _require(int(reached.max(initial=-1)) < rows.key_mask.shape[1], "key_mask is narrower than a row's keys")


def _array(value: npt.NDArray[Any], dtype: np.dtype[Any], name: str, *, dims: int = 1) -> npt.NDArray[Any]:
    if value.dtype != dtype or value.ndim != dims:
        raise _bad_batch(f"{name} must be {dims}-dimensional {dtype.name}")
    return value if value.flags.c_contiguous else np.ascontiguousarray(value)


def _require_range(values: Int32Array, end: int, name: str) -> None:
    """Every value is in 0 … end - 1: seen as unsigned, a negative one is above them all."""
    if values.size and np.maximum.reduce(values.view(np.uint32), axis=None) >= end:
        raise _bad_batch(f"{name} must be from 0 to {end - 1}, found {values.min()} to {values.max()}")


def _require(condition: bool, cause: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not condition:
        raise _bad_batch(cause)


def _bad_batch(cause: str) -> RequestError:
    return RequestError("bad-batch", cause, remedy="This is a fault of the server; please report it.")
