"""A step that the device has, or had: what was decided, what was handed over, and who takes part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pie.forward import Batch, LogitMask, StepResult
from pie.scheduler.batch import Chunk, Reading, pages_walked
from pie.scheduler.context import Context
from pie.scheduler.contexts import PageCopy
from pie.scheduler.decoding import Note
from pie.scheduler.open_run import OpenRun
from pie.scheduler.passes import Decode
from pie.scheduler.plan import Plan
from pie.scheduler.stats import Stats

__all__ = ["Flight"]


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """One step.

    Attributes:
        plan: what was decided.
        batch: what the device was given.
        decodes: the decodes whose rows take part, in the order of the batch.
        chunks: what is computed of passes.
        masks: per chunk, the mask of the first draw of a decode whose first pass the chunk ends.
        readings: where the answers to their readouts will stand.
        copies: the page copies that it begins with, whose sources are kept until it is over.
        open_run: a run that lasts until somebody needs the device; None for every other step.
    """

    plan: Plan
    batch: Batch
    decodes: Sequence[Decode]
    chunks: Sequence[Chunk]
    masks: Sequence[LogitMask | None]
    readings: Sequence[Reading]
    copies: Sequence[PageCopy]
    open_run: OpenRun | None = None

    def contexts(self) -> Iterator[Context]:
        """The contexts that take part."""
        yield from (decode.context for decode in self.decodes)
        yield from (chunk.item.context for chunk in self.chunks)

    def steps_of(self, result: StepResult) -> int:
        """How many steps it was."""
        return 1 if self.plan.steps == 1 else int(result.num_tokens.max(initial=1))

    @property
    def told(self) -> Sequence[int] | None:
        """How many of its tokens the sink of each decode has heard of; None is none."""
        return None if self.open_run is None else self.open_run.told

    def news(self) -> Sequence[Note]:
        """What it has drawn so far that sinks must hear."""
        return () if self.open_run is None else self.open_run.news()

    def count(self, stats: Stats, result: StepResult, *, seconds: float) -> None:
        """Add it to the figures, with the device's answer, which took so long."""
        num_rows = self.plan.num_rows
        steps = self.steps_of(result)
        drawn = num_rows if self.plan.steps == 1 else int(result.num_tokens.sum())
        computed = drawn + self.batch.num_rows - num_rows
        stats.count_batch(num_rows=self.batch.num_rows, steps=steps, computed_tokens=computed)
        walked, skipped = pages_walked(self.batch, self.chunks)
        stats.walked_pages += walked
        stats.skipped_pages += skipped
        if not self.chunks:
            stats.time_step(seconds / steps)
