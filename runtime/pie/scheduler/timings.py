"""How long generations take, as the operator's dashboards want it: counts by bucket, since the start.

Measured on the event loop, between what is asked for and what is handed over; knows nothing of programs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pie.forward import FinishReason, TokenSink

__all__ = ["Histogram", "TimedSink", "Timings"]

_FIRST_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BETWEEN_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_WHOLE_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Histogram:
    """Counts of values by upper bound.

    Attributes:
        bounds: the buckets' upper bounds, the last one left out: it is infinite.
        counts: values in each bucket, one more than there are bounds.
        total: the sum of all values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Make empty buckets."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Count a value, which came so many times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times


@dataclass(slots=True)
class Timings:
    """Of all generations since the start.

    Attributes:
        prompt_tokens: tokens that generations were given.
        generated_tokens: tokens that they drew and handed over.
        finished: generations by how they ended; `error` and `cancelled` beside the reasons of `FinishReason`.
        first_s: seconds from the request to the first token.
        between_s: seconds between two tokens; those handed over together share their time.
        whole_s: seconds from the request to the end.
    """

    prompt_tokens: int = 0
    generated_tokens: int = 0
    finished: Counter[str] = field(default_factory=Counter)
    first_s: Histogram = field(default_factory=lambda: Histogram(_FIRST_S))
    between_s: Histogram = field(default_factory=lambda: Histogram(_BETWEEN_S))
    whole_s: Histogram = field(default_factory=lambda: Histogram(_WHOLE_S))


class TimedSink:
    """A `TokenSink` that notes when tokens pass."""

    __slots__ = ("_clock", "_last_s", "_sink", "_start_s", "_timings", "is_over")

    def __init__(self, sink: TokenSink, timings: Timings, clock: Callable[[], float]) -> None:
        """Begin to measure a generation that is asked for now."""
        self._sink = sink
        self._timings = timings
        self._clock = clock
        self._start_s = clock()
        self._last_s: float | None = None
        self.is_over = False

    def tokens(self, token_ids: Sequence[int]) -> None:
        """Take the next tokens."""
        now, timings = self._clock(), self._timings
        timings.generated_tokens += len(token_ids)
        if self._last_s is not None:
            timings.between_s.add((now - self._last_s) / max(1, len(token_ids)), len(token_ids))
        elif token_ids:
            timings.first_s.add(now - self._start_s)
        self._last_s = now
        self._sink.tokens(token_ids)

    def finished(self, reason: FinishReason) -> None:
        """The generation ended by itself."""
        self._end(reason)
        self._sink.finished(reason)

    def failed(self, error: BaseException) -> None:
        """The generation ended by an error."""
        self._end("error")
        self._sink.failed(error)

    def cancelled(self) -> None:
        """Nobody wants the rest."""
        if not self.is_over:
            self._end("cancelled")

    def _end(self, reason: str) -> None:
        self.is_over = True
        self._timings.finished[reason] += 1
        self._timings.whole_s.add(self._clock() - self._start_s)
