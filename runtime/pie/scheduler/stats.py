"""What a scheduler has done, in numbers, and how long its steps take."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pie.scheduler.timings import Timings

__all__ = ["Load", "Stats"]

_SMOOTHING = 0.25


@dataclass(frozen=True, slots=True)
class Load:
    """What a scheduler has to do.

    Attributes:
        running: generations in the batch.
        waiting: passes, generations and reservations that wait for their turn or for pages.
    """

    running: int
    waiting: int


@dataclass(slots=True)
class Stats:
    """Counts since the start.

    Attributes:
        steps: model steps; a decode run counts each of its own.
        batches: hand-overs to the device.
        computed_tokens: tokens whose KV was computed.
        reused_tokens: tokens whose KV was found in the prefix index.
        fetched_tokens: tokens whose KV came back from host memory for passes, which then found it in the index.
        replayed_tokens: tokens computed again because their context had left the device; counted above as well.
        proposed_tokens: guesses that were checked.
        accepted_tokens: guesses that were right.
        walked_pages: pages that the chunks of passes looked at; running decodes are not counted.
        skipped_pages: pages that they did not look at, because every row was masked from them.
        batch_sizes: rows of the first step -> number of batches.
        step_s: seconds that a step of nothing but decode rows takes lately, None before the first.
        splits: times that a step was halved because it did not fit into the device's memory.
        suspensions: contexts that left the device because pages were short or their program said so.
        timings: how long generations took.
    """

    steps: int = 0
    batches: int = 0
    computed_tokens: int = 0
    reused_tokens: int = 0
    fetched_tokens: int = 0
    replayed_tokens: int = 0
    proposed_tokens: int = 0
    accepted_tokens: int = 0
    walked_pages: int = 0
    skipped_pages: int = 0
    batch_sizes: Counter[int] = field(default_factory=Counter)
    step_s: float | None = None
    splits: int = 0
    suspensions: int = 0
    timings: Timings = field(default_factory=Timings)

    def count_batch(self, *, num_rows: int, steps: int, computed_tokens: int) -> None:
        """Count one hand-over of `num_rows` tokens that became so many steps and tokens in KV."""
        self.batches += 1
        self.steps += steps
        self.computed_tokens += computed_tokens
        self.batch_sizes[num_rows] += 1

    def time_step(self, seconds: float) -> None:
        """Take a measurement of one step of decode rows."""
        known = self.step_s if self.step_s is not None else seconds
        self.step_s = max(1e-9, known + _SMOOTHING * (seconds - known))
