"""A step begins at once, or waits a little for more requests, as its policy says; no token depends on it."""

from __future__ import annotations

import asyncio
import statistics
from functools import partial
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scheduler.fake_device import FakeDevice
from tests.scheduler.harness import feed, prompt, running
from tests.scheduler.virtual_time import run_in_virtual_time

from pie.config import BatchPolicy
from pie.forward import Batch, Progress, StepResult
from pie.scheduler.gathering import Gathering

POLICIES: tuple[BatchPolicy, ...] = get_args(BatchPolicy)
STEP_S = 0.1


def after(policy: BatchPolicy, *sizes: int) -> Gathering:
    """What has seen steps of so many requests."""
    gathering = Gathering(policy, most_requests=8)
    for size in sizes:
        gathering.began(size)
        gathering.ended(STEP_S)
    return gathering


def test_greedy_never_waits() -> None:
    assert after("greedy", 5, 5).wait_s(1, 0.0) == 0


@pytest.mark.parametrize("policy", ["adaptive", "eager"])
def test_the_first_step_and_the_one_after_it_begin_at_once(policy: BatchPolicy) -> None:
    assert after(policy).wait_s(1, 0.0) == 0
    assert after(policy, 5).wait_s(1, 0.0) == 0


@pytest.mark.parametrize("policy", ["adaptive", "eager"])
def test_a_step_waits_for_what_is_expected_for_the_time_of_a_step_at_most(policy: BatchPolicy) -> None:
    gathering = after(policy, 5, 5)
    assert gathering.wait_s(3, 0.04) == pytest.approx(0.06)
    assert gathering.wait_s(3, 0.1) == 0
    assert gathering.wait_s(5, 0.0) == 0
    assert after(policy, 20, 20).wait_s(8, 0.0) == 0  # as many as fit


def test_adaptive_expects_one_less_each_time_and_eager_as_many_as_came() -> None:
    assert [after("adaptive", 5, 5, *[2] * steps).wait_s(3, 0.0) > 0 for steps in range(4)] == [
        True,
        True,
        False,
        False,
    ]
    assert [after("eager", 5, 5, *[2] * steps).wait_s(3, 0.0) > 0 for steps in range(2)] == [True, False]


@given(st.sampled_from(POLICIES), st.lists(st.integers(1, 12)), st.integers(1, 12), st.floats(0, 1))
def test_nobody_waits_longer_than_a_step(policy: BatchPolicy, sizes: list[int], size: int, waited_s: float) -> None:
    assert 0 <= after(policy, *sizes).wait_s(size, waited_s) <= max(0.0, STEP_S - waited_s)


class SlowDevice(FakeDevice):
    """Each step takes as long, on the clock of the loop."""

    async def step(self, batch: Batch, progress: Progress | None = None) -> StepResult:
        await asyncio.sleep(STEP_S)
        return await super().step(batch, progress)


def test_programs_that_think_between_their_steps_share_them_if_steps_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[BatchPolicy, float] = {}
    made: dict[BatchPolicy, list[list[int]]] = {}

    async def main(policy: BatchPolicy) -> None:
        device = SlowDevice()

        async def program(number: int) -> list[int]:
            context, tokens = scheduler.create(f"p{number}"), [*prompt(number, 5)]
            drawn = []
            for turn in range(12):
                tokens = [await feed(scheduler, context, tokens)]
                drawn += tokens
                await asyncio.sleep(STEP_S * ((number + turn) % 5) / 10)
            return drawn

        async with running(device, batch_policy=policy) as scheduler:
            made[policy] = await asyncio.gather(*map(program, range(6)))
        sizes[policy] = statistics.mean(len(batch.page_table) for batch in device.batches[:40])

    for policy in POLICIES:
        run_in_virtual_time(partial(main, policy), seed=1, monkeypatch=monkeypatch)
    assert made["adaptive"] == made["eager"] == made["greedy"]
    assert sizes["adaptive"] > sizes["greedy"]
    assert sizes["eager"] > sizes["greedy"]
