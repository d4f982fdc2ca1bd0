"""A device that computes nothing useful but everything exactly: its logits hash all that a row can see.

Each KV slot holds one number, a hash of its token, its position and the numbers of all slots the token could see. A
wrong page, a missing copy, a stale slot or a wrong position anywhere therefore changes every later token.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pie.adjustment import Adjustment
from pie.errors import ContextError, DeviceOutOfMemory
from pie.forward import (
    AdapterNumber,
    Batch,
    DeviceInfo,
    Distribution,
    Entropy,
    HostPageId,
    Logits,
    Logprobs,
    PageId,
    Probe,
    ProbeValue,
    Progress,
    StepResult,
    TokenLogprobs,
)

__all__ = ["FakeDevice", "adjusted", "likely", "make_info", "noise"]


def make_info(
    *,
    num_pages: int = 256,
    page_size: int = 4,
    vocab_size: int = 97,
    max_positions: int = 512,
    fingerprint: str = "f00d",
    model: str = "fake",
    num_host_pages: int = 0,
) -> DeviceInfo:
    return DeviceInfo(
        model=model,
        fingerprint=fingerprint,
        checkpoint=fingerprint,
        vocab_size=vocab_size,
        max_positions=max_positions,
        page_size=page_size,
        num_pages=num_pages,
        page_bytes=8 * page_size,
        num_host_pages=num_host_pages,
    )


class FakeDevice:
    """Implements `pie.forward.Device` in plain Python."""

    def __init__(self, info: DeviceInfo | None = None) -> None:
        self._info = info or make_info()
        rng = np.random.default_rng(7)
        shape = (self._info.num_pages, self._info.page_size)
        self.slots: npt.NDArray[np.uint64] = rng.integers(1 << 62, size=shape, dtype=np.uint64)
        self.batches: list[Batch] = []
        self.yields = 1
        self.step_s = 0.0  # how long a step takes, on the clock of the loop
        self.runs: list[Progress] = []  # of the open runs
        self.fail_late: Exception | None = None  # when an open run has ten steps
        self.fail_next: Exception | None = None
        self.fail_samplers: dict[int, str] = {}
        self.room: int | None = None  # tokens of a step that fit into memory
        self.fail_save: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.host: npt.NDArray[np.uint64] = np.zeros((self._info.num_host_pages, self._info.page_size), np.uint64)
        self.fail_moves: Exception | None = None
        self.moves_out = self.moves_home = 0
        self.freed: list[AdapterNumber] = []
        self.saves = 0
        self.loads = 0
        self._lock = asyncio.Lock()

    @property
    def info(self) -> DeviceInfo:
        return self._info

    async def step(self, batch: Batch, progress: Progress | None = None) -> StepResult:
        async with self._lock:
            before = _copies(batch)
            for _ in range(self.yields):
                await asyncio.sleep(0)
            if self.gate is not None:
                await self.gate.wait()
            if not all(np.array_equal(old, new) for old, new in zip(before, _copies(batch), strict=True)):
                raise AssertionError("the batch changed while its step was in flight")
            self.batches.append(batch)
            if self.fail_next is not None:
                error, self.fail_next = self.fail_next, None
                raise error
            result = self._run(batch)
            if progress is not None:
                return await self._spread(batch, result, progress)
            if self.step_s:
                await asyncio.sleep(self.step_s * batch.steps)
            return result

    async def _spread(self, batch: Batch, whole: StepResult, progress: Progress) -> StepResult:
        """Let a run take its time, and forget what it drew after it had to land; those slots are written again."""
        self.runs.append(progress)
        done, most = 0, int(whole.num_tokens.max(initial=1))
        while done < most and not (done and progress.landing[0]):
            await asyncio.sleep(self.step_s)
            progress.tokens[:, done] = whole.tokens[:, done]
            done += 1
            progress.num_tokens[:] = np.minimum(whole.num_tokens, done)
            progress.num_steps[0] = done
            if done == 10 and self.fail_late is not None:
                await asyncio.sleep(self.step_s)
                raise self.fail_late
        for sampler, row in enumerate(batch.logit_rows[batch.sampler_rows].tolist()):
            pages = batch.page_table[batch.sequence_of_row[row]]
            for index in range(
                int(batch.kv_index[row]) + done, int(batch.kv_index[row]) + int(whole.num_tokens[sampler])
            ):
                self.slots[pages[index // self._info.page_size], index % self._info.page_size] = 0
        return StepResult(whole.tokens[:, :done], progress.num_tokens.copy(), failures=whole.failures)

    async def move_pages(
        self, outward: Sequence[tuple[PageId, HostPageId]], homeward: Sequence[tuple[PageId, HostPageId]]
    ) -> None:
        async with self._lock:
            for _ in range(self.yields):
                await asyncio.sleep(0)
            if self.fail_moves is not None:
                raise self.fail_moves
            for page, slot in outward:
                self.host[slot] = self.slots[page]
            for page, slot in homeward:
                self.slots[page] = self.host[slot]
            self.moves_out += len(outward)
            self.moves_home += len(homeward)

    async def save_pages(self, path: Path, pages: Sequence[PageId], *, metadata: Mapping[str, str]) -> None:
        async with self._lock:
            await asyncio.sleep(0)
            self.saves += 1
            if self.fail_save is not None:
                error, self.fail_save = self.fail_save, None
                raise error
            temporary = path.with_suffix(".tmp")
            save_file({"slots": self.slots[list(pages)].copy()}, temporary, metadata=dict(metadata))
            os.replace(temporary, path)

    async def load_pages(self, path: Path, pages: Sequence[PageId]) -> None:
        async with self._lock:
            await asyncio.sleep(0)
            self.loads += 1
            try:
                slots = load_file(path)["slots"]
            except (SafetensorError, KeyError) as error:
                raise ContextError("snapshot-unusable", f"cannot read {path.name}: {error}") from error
            if slots.shape != (len(pages), self._info.page_size):
                raise ContextError(
                    "snapshot-unusable", f"{path.name} holds {slots.shape}, {len(pages)} pages are wanted"
                )
            self.slots[list(pages)] = slots

    def free_adapter(self, number: AdapterNumber) -> None:
        self.freed.append(number)

    def _run(self, batch: Batch) -> StepResult:
        for source, target in batch.page_copies:
            self.slots[target] = self.slots[source]
        if self.room is not None and batch.num_rows > self.room:
            raise DeviceOutOfMemory(f"a step of {batch.num_rows} tokens where {self.room} fit")
        states = self._write(batch, batch.token_ids, batch.positions, batch.kv_index)
        count = len(batch.sampler_rows)
        tokens = np.full((count, batch.steps), -1, np.int32)
        num_tokens = np.ones(count, np.int32)
        logits = np.stack([self._logits(states[row]) for row in batch.logit_rows] or [np.zeros(0)])
        for sampler in range(count):
            tokens[sampler, 0] = self._draw(batch, sampler, logits[batch.sampler_rows[sampler]], [])
        if batch.steps > 1:
            self._run_on(batch, tokens, num_tokens)
        probes = tuple(_probe(logits[row], probe) for row, probe in batch.probes)
        likelihoods = _logprobs(batch, logits, tokens)
        failures, self.fail_samplers = self.fail_samplers, {}
        for sampler in failures:
            if sampler < count:
                tokens[sampler], num_tokens[sampler] = -1, 0
        return StepResult(tokens, num_tokens, probes, logprobs=likelihoods, failures=failures)

    def _run_on(self, batch: Batch, tokens: npt.NDArray[np.int32], num_tokens: npt.NDArray[np.int32]) -> None:
        """The later steps of a decode run."""
        rows = batch.logit_rows[batch.sampler_rows]
        for sampler, row in enumerate(rows.tolist()):
            for step in range(1, batch.steps):
                last = tokens[sampler, step - 1]
                if step >= batch.step_limits[sampler] or last in batch.stop_ids[sampler]:
                    break
                state = self._write_one(
                    batch, row, int(last), int(batch.positions[row]) + step, int(batch.kv_index[row]) + step, None
                )
                tokens[sampler, step] = self._draw(batch, sampler, self._logits(state), tokens[sampler, :step].tolist())
                num_tokens[sampler] += 1

    def _write(
        self,
        batch: Batch,
        token_ids: npt.NDArray[np.int32],
        positions: npt.NDArray[np.int32],
        kv_index: npt.NDArray[np.int32],
    ) -> list[int]:
        masks = dict(zip(batch.masked_rows.tolist(), batch.key_mask if batch.key_mask is not None else (), strict=True))
        self._writer = self._writers(batch, kv_index)
        return [
            self._write_one(batch, row, int(token_ids[row]), int(positions[row]), int(kv_index[row]), masks.get(row))
            for row in range(len(token_ids))
        ]

    def _writers(self, batch: Batch, kv_index: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """[pages, page_size]: the place in its sequence of the row that writes a slot in this step, else -1."""
        writers = np.full(self.slots.shape, -1, np.int64)
        pages = batch.page_table[batch.sequence_of_row, kv_index // self._info.page_size]
        writers[pages, kv_index % self._info.page_size] = kv_index
        if (writers >= 0).sum() != len(kv_index):
            raise AssertionError("two rows of a step write to one slot")
        return writers

    def _check_order(self, pages: npt.NDArray[np.int32], index: int, mask: npt.NDArray[np.uint8] | None) -> None:
        """A real device writes the rows of a step before it reads: none may see what another one writes over."""
        writers = self._writer[pages].reshape(-1)[:index]
        wrong = (writers >= 0) & (writers != np.arange(index))
        if (wrong if mask is None else wrong & (mask[:index] == 1)).any():
            raise AssertionError("a row of a step sees a slot that another row writes over")

    def _write_one(
        self, batch: Batch, row: int, token: int, position: int, index: int, mask: npt.NDArray[np.uint8] | None
    ) -> int:
        size = self._info.page_size
        pages = batch.page_table[batch.sequence_of_row[row], : index // size + 1]
        seen = self.slots[pages].reshape(-1)[:index]
        self._check_order(pages, index, mask)
        if mask is not None:
            seen = seen[mask[:index] == 1]
        head = np.array([token, position, 1 if mask is None else mask[index]], np.int64).tobytes()
        if batch.adapter_of_row is not None and batch.adapter_of_row[row] >= 0:
            head += batch.adapters[batch.adapter_of_row[row]].key
        state = int.from_bytes(hashlib.blake2b(head + seen.tobytes(), digest_size=8).digest(), "little")
        self.slots[pages[index // size], index % size] = state
        return state

    def _logits(self, state: int) -> npt.NDArray[np.float64]:
        return noise(state, self._info.vocab_size) * 8.0

    def _draw(self, batch: Batch, sampler: int, logits: npt.NDArray[np.float64], drawn: list[int]) -> int:
        """The next token of a sampler that drew these before in the same run."""
        scores, step = logits.copy(), len(drawn)
        for one in [] if batch.adjustments is None else batch.adjustments.one_by_one():
            if one.sampler == sampler:
                counts = dict(zip(one.token_ids.tolist(), one.counts.tolist(), strict=True))
                if len(counts) < len(one.token_ids):
                    raise AssertionError("a token is counted twice")
                for token in drawn:
                    counts[token] = counts.get(token, 0) + 1
                scores = adjusted(scores, one.adjustment, counts)
        if batch.temperature[sampler] > 0:
            key = int(batch.seeds[sampler]) * 1_000_003 + int(batch.counters[sampler]) + step
            scores = scores / batch.temperature[sampler] - np.log(-np.log(noise(key, len(scores)) + 1e-12))
        slot = int(batch.sampler_masks[sampler])
        if slot >= 0:
            bits = np.unpackbits(batch.logit_masks[slot].view(np.uint8), bitorder="little", count=len(scores))
            scores[bits == 0] = -np.inf
        return int(scores.argmax())


def likely(logits: npt.NDArray[np.float64], token: int, num_top: int) -> TokenLogprobs:
    """How likely a token is by these logits, and which ones are more or as likely."""
    values = logits - logits.max()
    values -= np.log(np.exp(values).sum())
    best = np.argsort(-values, kind="stable")[:num_top].tolist()
    return TokenLogprobs(float(values[token]), tuple((each, float(values[each])) for each in best))


def _logprobs(batch: Batch, logits: npt.NDArray[np.float64], tokens: npt.NDArray[np.int32]) -> dict[int, TokenLogprobs]:
    if batch.logprobs is None:
        return {}
    if batch.steps != 1 or len(batch.logprobs) != len(tokens):
        raise AssertionError("logprobs fit neither the samplers nor a single step")
    wanted = enumerate(batch.logprobs.tolist())
    rows = batch.sampler_rows
    return {index: likely(logits[rows[index]], int(tokens[index, 0]), num) for index, num in wanted if num >= 0}


def adjusted(logits: npt.NDArray[np.float64], wanted: Adjustment, counts: Mapping[int, int]) -> npt.NDArray[np.float64]:
    """Logits after penalties for tokens that are so often in the output, and biases."""
    scores = logits.copy()
    for token, count in counts.items():
        scores[token] *= wanted.repetition_penalty if scores[token] <= 0 else 1 / wanted.repetition_penalty
        scores[token] -= count * wanted.frequency_penalty + (count > 0) * wanted.presence_penalty
    for token, bias in wanted.logit_bias:
        scores[token] += bias
    return scores


def _copies(batch: Batch) -> list[npt.NDArray[Any]]:
    arrays = (batch.token_ids, batch.positions, batch.kv_index, batch.page_table, batch.counters, batch.logit_masks)
    return [array.copy() for array in arrays]


def noise(key: int, count: int) -> npt.NDArray[np.float64]:
    """Numbers in (0, 1) that depend on the key only (splitmix64)."""
    with np.errstate(over="ignore"):
        x = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key % (1 << 64))
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) / float(1 << 53) * (1 - 1e-9) + 5e-10


def _probe(logits: npt.NDArray[np.float64], probe: Probe) -> ProbeValue:
    logprobs = logits - np.log(np.exp(logits).sum())
    match probe:
        case Logits():
            return logits.astype(np.float32)
        case Logprobs(token_ids=token_ids):
            chosen: npt.NDArray[np.float32] = logprobs[list(token_ids)].astype(np.float32)
            return chosen
        case Distribution(k=k):
            order: npt.NDArray[np.int32] = np.argsort(-logits, kind="stable")[: k or len(logits)].astype(np.int32)
            return order, np.exp(logprobs[order]).astype(np.float32)
        case Entropy():
            return float(-(np.exp(logprobs) * logprobs).sum())
        case _:
            return np.zeros(4, np.float32)
