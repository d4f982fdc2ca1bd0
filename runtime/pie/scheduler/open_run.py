"""A decode run that goes on until somebody needs the device; what it draws is told meanwhile.

The host then works beside the device: those who get tokens do what they do with them while the next ones are computed.
Whoever comes waits for the step in work at most, or as long as a run lasts at least.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from pie.forward import Batch, Progress
from pie.scheduler.decoding import Note
from pie.scheduler.passes import Decode

__all__ = ["OpenRun"]

# How often somebody looks, in steps: from a little before one should be over, and at the first one all the time, which
# may be faster than those before the run.
_OFTEN = 1 / 64
_BEFORE = 1 / 16
_AT_FIRST = 1 / 8


class OpenRun:
    """One such run, in the eyes of who waits for it.

    Attributes:
        progress: what it shares with the device.
        told: how many tokens the sink of each decode has heard of, in the order of the batch.
    """

    def __init__(self, decodes: Sequence[Decode], batch: Batch, *, least_s: float) -> None:
        """Before it begins.

        Args:
            decodes: those whose rows take part; nobody looks at their tokens before their sinks.
            batch: the run.
            least_s: how long it lasts at least, if there are steps enough.
        """
        self.progress = Progress.of(len(decodes), batch.steps)
        self._limits = batch.step_limits.tolist()
        self.told = [0] * len(decodes)
        self._decodes = decodes
        self._least_s = least_s
        self._begun_s = self._looked_s = time.monotonic()
        self._num_seen = 0

    def want(self) -> None:
        """Say that somebody needs the device: the run ends with the step in work, unless it is too young."""
        if time.monotonic() - self._begun_s >= self._least_s:
            self.land()

    def land(self) -> None:
        """End with the step in work."""
        self.progress.landing[0] = 1

    def pause_s(self, step_s: float) -> float:
        """When to look for news again, in seconds from now; a step took so long before this run."""
        if self._num_seen:
            step_s = (self._looked_s - self._begun_s) / self._num_seen
        if step_s < self._least_s:
            return self._least_s
        if not self._num_seen:
            return step_s * _AT_FIRST
        # The last one was looked at late; so it is early now, for not to lag behind more with each step.
        due_s = self._looked_s + step_s * (1 - _BEFORE)
        return max(due_s - time.monotonic(), step_s * _OFTEN)

    @property
    def has_moved(self) -> bool:
        """Whether a step is over since `news` was asked for."""
        return int(self.progress.num_steps[0]) > self._num_seen

    def news(self) -> list[Note]:
        """What sinks must hear now.

        Of the end of a decode, and of what ended it, they hear when the run has landed, which it does therefore.
        """
        if not self.has_moved:
            return []
        self._looked_s = time.monotonic()
        num_steps = self._num_seen = int(self.progress.num_steps[0])
        notes: list[Note] = []
        counts = self.progress.num_tokens.tolist()
        for place, (decode, count) in enumerate(zip(self._decodes, counts, strict=True)):
            drawn = self.progress.tokens[place, self.told[place] : min(count, num_steps)].tolist()
            is_stopped = bool(drawn) and drawn[-1] in decode.request.stop_ids
            if is_stopped:
                drawn.pop()
            if is_stopped or count < num_steps or count >= self._limits[place]:
                self.land()
            if drawn and not decode.over:
                self.told[place] += len(drawn)
                notes.append((decode, drawn, None))
        return notes
