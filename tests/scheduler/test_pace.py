"""Prompts are computed in steps that do not hold up running generations for long, however fast the device is."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, Collector, feed, prompt, running
from tests.scheduler.virtual_time import run_in_virtual_time

from pie.forward import Batch, DecodeRequest, Progress, StepResult
from pie.scheduler.pace import Pace

MOST = 512


@given(base_s=st.floats(0, 0.15), token_s=st.floats(1e-5, 1e-2))
def test_steps_come_near_the_time_that_they_may_last_and_stay_there(base_s: float, token_s: float) -> None:
    pace = Pace(most_tokens=MOST, step_s=0.2)
    fitting = max(16, min(MOST, int((0.2 - base_s) / token_s)))
    for _ in range(60):
        pace.timed(pace.num_tokens, base_s + token_s * pace.num_tokens)
    assert 0.8 * fitting - 2 <= pace.num_tokens <= 1.2 * fitting + 2


def test_short_prompts_tell_nothing_of_long_ones() -> None:
    pace = Pace(most_tokens=MOST, step_s=0.2)
    pace.timed(3, 0.1)
    assert pace.num_tokens == MOST
    pace.timed(MOST, 2.0)
    assert pace.num_tokens == 51
    pace.timed(3, 0.001)
    assert pace.num_tokens == 51
    pace.timed(51, 0.001)
    assert pace.num_tokens == 102


def test_without_a_time_steps_are_as_large_as_they_may_be() -> None:
    pace = Pace(most_tokens=MOST, step_s=None)
    pace.timed(MOST, 100.0)
    assert pace.num_tokens == MOST


class SlowDevice(FakeDevice):
    """Each token takes 10 ms, on the clock of the loop."""

    async def step(self, batch: Batch, progress: Progress | None = None) -> StepResult:
        await asyncio.sleep(0.01 * batch.num_rows)
        return await super().step(batch, progress)


@pytest.mark.parametrize("prompt_step_s", [None, 0.3])
def test_a_running_generation_gets_its_tokens_in_time_beside_a_long_prompt(
    prompt_step_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        device, sink = SlowDevice(make_info(num_pages=1024, max_positions=4096)), Collector()
        async with running(device, prompt_step_s=prompt_step_s) as scheduler:
            request = DecodeRequest(scheduler.create("a"), prompt(1, 5), GREEDY, 200, frozenset(), 0)
            scheduler.decode(request, sink)
            while len(sink.token_ids) < 3:
                await asyncio.sleep(0.001)
            await feed(scheduler, scheduler.create("b"), prompt(2, 1500))
            assert not sink.done.is_set() or prompt_step_s is not None
            beside = [batch.num_rows for batch in device.batches if batch.num_rows > 5]
            await sink.done.wait()
        if prompt_step_s is None:
            assert max(beside) == MOST
        else:  # one step finds out how slow the device is
            assert max(beside[1:]) <= 40
            assert sum(rows > 20 for rows in beside[1:]) > len(beside) // 2

    run_in_virtual_time(main, seed=1, monkeypatch=monkeypatch)
