"""A run of decode rows goes on until somebody needs the device; its tokens are told as they come."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import Collector, decode, feed, prompt, running, stepwise
from tests.scheduler.virtual_time import run_in_virtual_time

from pie.errors import DeviceOutOfMemory
from pie.forward import DecodeRequest, Sampler
from pie.scheduler.scheduler import Scheduler

STEP_S = 0.1
HOT = Sampler(1.2)


class TimedCollector(Collector):
    """Remembers when tokens and the end came."""

    def __init__(self) -> None:
        super().__init__()
        self.came_s: list[float] = []
        self.ended_s = 0.0

    def tokens(self, token_ids: Sequence[int]) -> None:
        super().tokens(token_ids)
        self.came_s += [time.monotonic()] * len(token_ids)

    def finished(self, reason: str) -> None:
        super().finished(reason)
        self.ended_s = time.monotonic()


def slow_device(*, num_pages: int = 256) -> FakeDevice:
    device = FakeDevice(make_info(num_pages=num_pages, max_positions=2048))
    device.step_s = STEP_S
    return device


def begin(
    scheduler: Scheduler,
    context: int,
    *,
    max_tokens: int,
    seed: int = 0,
    stop_ids: frozenset[int] = frozenset(),
) -> tuple[TimedCollector, Callable[[], None]]:
    """Begin a decode; returns its sink and what cancels it."""
    sink = TimedCollector()
    request = DecodeRequest(context, prompt(context, 6), HOT, max_tokens, stop_ids, seed)
    return sink, scheduler.decode(request, sink).cancel


@pytest.fixture(params=[3, 4, 5])
def run(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], Awaitable[None]]], None]:
    """Runs a test in virtual time."""
    seed: int = request.param
    return lambda main: run_in_virtual_time(main, seed=seed, monkeypatch=monkeypatch)


Run = Callable[[Callable[[], Awaitable[None]]], None]


def test_tokens_come_one_by_one_and_are_those_of_the_loop(run: Run) -> None:
    async def main() -> None:
        device = slow_device()
        async with running(device) as scheduler:
            contexts = [scheduler.create("a") for _ in range(3)]
            sinks = [begin(scheduler, context, max_tokens=100, seed=context)[0] for context in contexts]
            await asyncio.gather(*(sink.done.wait() for sink in sinks))
            num_batches = len(device.batches)
            device.step_s = 0.0
            for context, sink in zip(contexts, sinks, strict=True):
                again = scheduler.create("b")
                expected = await stepwise(
                    scheduler, again, prompt(context, 6), max_tokens=100, sampler=HOT, seed=context
                )
                assert sink.token_ids == expected
        assert num_batches < 15  # 100 steps
        for sink in sinks:
            gaps = [after - before for before, after in itertools.pairwise(sink.came_s)]
            assert max(gaps[2:]) < 1.5 * STEP_S

    run(main)


def test_tokens_come_one_by_one_also_when_steps_become_faster(run: Run) -> None:
    async def main() -> None:
        device = slow_device()
        async with running(device) as scheduler:
            sink, _ = begin(scheduler, scheduler.create("a"), max_tokens=120)
            await asyncio.sleep(10 * STEP_S)
            device.step_s = STEP_S / 2
            heard = len(sink.came_s) + 40  # from the run after this one on
            await sink.done.wait()
            late = sink.came_s[heard:]
            gaps = [after - before for before, after in itertools.pairwise(late)]
            assert 0.35 * STEP_S < min(gaps) <= max(gaps) < 0.7 * STEP_S

    run(main)


def test_who_comes_waits_for_the_step_in_work_alone(run: Run) -> None:
    async def main() -> None:
        device = slow_device()
        async with running(device) as scheduler:
            sink, cancel = begin(scheduler, scheduler.create("a"), max_tokens=200)
            for _ in range(8):
                await asyncio.sleep(7.3 * STEP_S)
                context, asked_s = scheduler.create("b"), time.monotonic()
                await feed(scheduler, context, prompt(9, 5))
                assert time.monotonic() - asked_s < 2.2 * STEP_S  # the one in work, and its own
            assert device.runs
            assert len(sink.token_ids) > 40
            cancel()

    run(main)


def test_the_loop_is_not_said_to_hang_unless_a_step_does(run: Run) -> None:
    async def main() -> None:
        device = slow_device()
        async with running(device) as scheduler:
            scheduler._loop.heartbeat._clock = time.monotonic  # that of the test
            _, cancel = begin(scheduler, scheduler.create("a"), max_tokens=400)
            await asyncio.sleep(12 * STEP_S)
            longest_s = 0.0
            for _ in range(100):
                await asyncio.sleep(STEP_S / 10)
                longest_s = max(longest_s, scheduler.busy_s)
            assert len(device.runs) == 1
            assert longest_s < 2 * STEP_S
            device.step_s = 50.0
            await asyncio.sleep(40.0)
            assert scheduler.busy_s > 35.0
            device.step_s = STEP_S
            cancel()

    run(main)


@pytest.mark.parametrize("by", ["limit", "stop"])
def test_who_ends_hears_of_it_within_a_step(run: Run, by: str) -> None:
    async def main() -> None:
        device = slow_device()
        async with running(device) as scheduler:
            reference = await decode(scheduler, scheduler.create("a"), prompt(2, 6), max_tokens=60, sampler=HOT, seed=5)
            place = next(n for n in range(20, 60) if reference.token_ids[n] not in reference.token_ids[:n])
            stop_ids = frozenset({reference.token_ids[place]}) if by == "stop" else frozenset()
            long, _ = begin(scheduler, scheduler.create("a"), max_tokens=90)
            sink = TimedCollector()
            request = DecodeRequest(scheduler.create("b"), prompt(2, 6), HOT, 60 if stop_ids else place, stop_ids, 5)
            scheduler.decode(request, sink)
            await sink.done.wait()
            assert sink.token_ids == reference.token_ids[:place]
            assert sink.reason == ("stop" if stop_ids else "length")
            assert sink.ended_s - sink.came_s[-1] < 2.2 * STEP_S
            assert not long.done.is_set()
            await long.done.wait()
            assert len(long.token_ids) == 90

    run(main)


@pytest.mark.parametrize("way", ["cancel", "destroy", "shut down", "raise"])
def test_a_run_lands_when_nobody_wants_it_any_more(run: Run, way: str) -> None:
    async def main() -> None:
        device = slow_device()
        async with running(device) as scheduler:
            context = scheduler.create("a")
            sink, cancel = begin(scheduler, context, max_tokens=400)
            await asyncio.sleep(20 * STEP_S)
            heard = len(sink.token_ids)
            assert heard > 10
            if way == "cancel":
                cancel()
            elif way == "destroy":
                scheduler.destroy(context)
            elif way == "raise":
                sink.done.set()  # it raises at the next token
            if way != "shut down":
                await asyncio.sleep(3 * STEP_S)
                assert scheduler.load().running == 0
                assert len(sink.token_ids) == heard
        assert all(progress.landing[0] for progress in device.runs)
        ledger = scheduler.ledger()
        assert ledger.held == (0 if way == "destroy" else ledger.held)

    run(main)


def test_what_a_run_drew_before_it_was_cut_off_is_in_its_context(run: Run) -> None:
    async def main() -> None:
        device = slow_device()
        async with running(device) as scheduler:
            context = scheduler.create("a")
            sink, cancel = begin(scheduler, context, max_tokens=400)
            await asyncio.sleep(20 * STEP_S)
            cancel()
            await scheduler.commit(context, 0)  # when nothing extends it
            device.step_s = 0.0
            held = scheduler.describe(context).num_tokens
            assert 6 <= held <= 6 + len(sink.token_ids)
            following = await feed(scheduler, context, [1, 2, 3])
            again = scheduler.create("b")
            tokens = [*prompt(context, 6), *sink.token_ids][:held]
            assert await feed(scheduler, again, [*tokens, 1, 2, 3]) == following

    run(main)


@pytest.mark.parametrize("error", [OSError("the device is gone"), DeviceOutOfMemory("a late step")])
def test_a_run_that_fails_ends_its_decodes_with_what_they_have_heard(run: Run, error: Exception) -> None:
    async def main() -> None:
        device = slow_device()
        device.fail_late = error
        async with running(device) as scheduler:
            sink, _ = begin(scheduler, scheduler.create("a"), max_tokens=400)
            await sink.done.wait()
            assert sink.error is not None
            assert "device" in str(sink.error)
            assert len(sink.token_ids) > 10

    run(main)


def test_a_run_that_does_not_fit_into_memory_is_made_smaller(run: Run) -> None:
    async def main() -> None:
        device = slow_device()
        async with running(device) as scheduler:
            sinks = [begin(scheduler, scheduler.create("a"), max_tokens=60, seed=n)[0] for n in range(6)]
            while not device.runs:
                await asyncio.sleep(STEP_S)
            device.fail_next = DeviceOutOfMemory("a run")
            await asyncio.gather(*(sink.done.wait() for sink in sinks))
            assert [len(sink.token_ids) for sink in sinks] == [60] * 6
            assert scheduler.stats().splits == 1

    run(main)
