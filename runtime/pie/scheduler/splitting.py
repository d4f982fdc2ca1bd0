"""What becomes of a step that does not fit into memory: half of it is tried, and later steps are smaller.

Halving leaves nothing undone: rows that do not take part do so in a later step, what is left of a chunk is computed
then, and the page copies were done before the device ran short. Who is in the half is left to chance, so that nobody
waits for ever. Knows no queue.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pie.forward import LogitMask
from pie.scheduler.batch import Chunk, assemble
from pie.scheduler.flight import Flight
from pie.scheduler.plan import Limits
from pie.scheduler.rows import DecodeRows

__all__ = ["StepRoom", "half_of"]

_ChunkAndMask = tuple[Chunk, LogitMask | None]

_FEWEST_TOKENS = 4
# A step that fails costs about what one that succeeds does.
_CALM_STEPS = 64


class StepRoom:
    """How large steps may be: as was asked for, less after one that did not fit, and then more again.

    Attributes:
        limits: of the next step.
    """

    def __init__(self, limits: Limits) -> None:
        """Start with what was asked for."""
        self.limits = limits
        self._wanted = limits
        self._num_calm = 0
        self._random = random.Random(0)  # noqa: S311 - no secret

    def turn(self) -> int:
        """Whose turn it is in a step that is halved."""
        return self._random.getrandbits(32)

    def shrink(self, num_tokens: int) -> None:
        """Note that a step of more tokens does not fit."""
        self._set(max(_FEWEST_TOKENS, num_tokens))

    def fits(self) -> None:
        """Note that a step did fit; after a while a larger one is tried."""
        if self.limits is self._wanted:
            return
        self._num_calm += 1
        if self._num_calm == _CALM_STEPS:
            self._set(2 * self.limits.max_batch_tokens)

    def _set(self, num_tokens: int) -> None:
        most = self._wanted.max_batch_tokens
        self._num_calm = 0
        self.limits = self._wanted if num_tokens >= most else replace(self._wanted, max_batch_tokens=num_tokens)


def half_of(flight: Flight, rows: DecodeRows, *, first: int) -> Flight | None:
    """Half of a step, as one step of its own; None if it is one token of one request.

    Args:
        flight: what did not fit.
        rows: the running decodes, as they were when it was made.
        first: which of its rows and chunks is surely in it, as a number that may be larger than there are.
    """
    plan, taking_part = flight.plan, np.arange(rows.count)[flight.plan.rows].tolist()
    total = len(taking_part) + sum(chunk.num_tokens for chunk in flight.chunks)
    if total == 1 and plan.steps == 1:
        return None
    parts: list[int | _ChunkAndMask] = [*taking_part, *zip(flight.chunks, flight.masks, strict=True)]
    turn = first % len(parts)
    chosen, given = _share([*parts[turn:], *parts[:turn]], max(1, total // 2))
    chunks, masks = [chunk for chunk, _ in given], [mask for _, mask in given]
    selected = np.array(sorted(chosen), np.int32)
    smaller = replace(plan, rows=selected, num_rows=len(selected), steps=1, chunks=tuple(chunks))
    batch, readings = assemble(rows, selected, chunks, steps=1, copies=(), masks=masks)
    return Flight(smaller, batch, rows.decodes_of(selected), chunks, masks, readings, flight.copies)


def _share(parts: Sequence[int | _ChunkAndMask], budget: int) -> tuple[list[int], list[_ChunkAndMask]]:
    """The first rows and chunks, as many as so many tokens are enough for; the last chunk may be cut."""
    rows: list[int] = []
    chunks: list[_ChunkAndMask] = []
    for part in parts:
        if not budget:
            break
        if isinstance(part, int):
            rows.append(part)
            budget -= 1
        else:
            chunk, mask = part
            num_tokens = min(chunk.num_tokens, budget)
            chunks.append((Chunk(chunk.item, num_tokens), mask if num_tokens == chunk.num_tokens else None))
            budget -= num_tokens
    return rows, chunks
