"""What is counted of generations: tokens, times and how they ended."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scheduler.harness import GREEDY, Collector, decode, prompt, running

from pie.forward import DecodeRequest
from pie.scheduler.timings import Histogram, TimedSink, Timings


@given(st.lists(st.floats(0, 10), max_size=30))
def test_each_value_is_in_the_first_bucket_that_holds_it(values: list[float]) -> None:
    histogram = Histogram((0.5, 1, 5))
    for value in values:
        histogram.add(value)
    so_far = 0
    for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
        so_far += count
        assert so_far == sum(value <= bound for value in values)
    assert sum(histogram.counts) == len(values)
    assert histogram.total == pytest.approx(sum(values))


def test_times_are_between_what_is_handed_over() -> None:
    now = iter((10.0, 10.5, 10.7, 11.0))
    timings, collector = Timings(), Collector()
    sink = TimedSink(collector, timings, lambda: next(now))
    sink.tokens([1])
    sink.tokens([2, 3])
    sink.finished("stop")
    sink.cancelled()
    assert (timings.first_s.total, sum(timings.first_s.counts)) == (0.5, 1)
    assert timings.between_s.total == pytest.approx(0.2)
    assert sum(timings.between_s.counts) == 2
    assert timings.whole_s.total == pytest.approx(1.0)
    assert dict(timings.finished) == {"stop": 1}
    assert (collector.token_ids, collector.reason) == ([1, 2, 3], "stop")


async def test_generations_are_counted_by_how_they_end() -> None:
    async with running() as scheduler:
        await decode(scheduler, scheduler.create("a"), prompt(1, 9), max_tokens=20)
        endless = Collector()
        request = DecodeRequest(scheduler.create("a"), prompt(2, 5), GREEDY, 10_000, frozenset(), 0)
        handle = scheduler.decode(request, endless)
        while not endless.token_ids:
            await asyncio.sleep(0)
        assert scheduler.load().running == 1
        handle.cancel()
        handle.cancel()
        timings = scheduler.stats().timings
        assert timings.prompt_tokens == 14
        assert timings.generated_tokens >= 20
        assert dict(timings.finished) == {"length": 1, "cancelled": 1}
        assert sum(timings.first_s.counts) == 2
