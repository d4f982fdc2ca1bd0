"""What the host does for a step does not grow with the length of contexts; counted in lines of the scheduler's code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, Collector, feed, prompt, running

import pie.scheduler
from pie.forward import Batch, ContextId, DecodeRequest, StepResult
from pie.scheduler.scheduler import Scheduler

FOLDER = str(Path(pie.scheduler.__file__).parent)
Steps = Callable[[Scheduler, ContextId], Awaitable[None]]
LENGTHS = (200, 3200)
STEPS = 64


class Lines:
    """Counts the lines of the scheduler that run, none of the device's."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(FOLDER) else None

    def _line(self, _frame: FrameType, event: str, _argument: Any) -> Any:
        self.count += event == "line"
        return self._line


class QuickDevice(FakeDevice):
    """Draws the same token always and looks at nothing."""

    def _run(self, batch: Batch) -> StepResult:
        count = len(batch.sampler_rows)
        return StepResult(np.full((count, batch.steps), 7, np.int32), np.full(count, batch.steps, np.int32), ())


async def decode_on(scheduler: Scheduler, context: ContextId) -> None:
    """Steps of a generation on the host."""
    sink = Collector()
    scheduler.decode(DecodeRequest(context, (1,), GREEDY, STEPS, frozenset(), 0), sink)
    await sink.done.wait()


async def pass_by_pass(scheduler: Scheduler, context: ContextId) -> None:
    """The same, asked for one by one."""
    for _ in range(STEPS):
        await feed(scheduler, context, [1])


async def steps_of(make_steps: Steps, length: int) -> tuple[int, list[Batch]]:
    """Lines that run in some steps after so many tokens, and the batches."""
    device, lines = QuickDevice(make_info(num_pages=1024, max_positions=4096)), Lines()
    async with running(device) as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, length))
        device.batches.clear()
        sys.settrace(lines)
        try:
            await asyncio.ensure_future(make_steps(scheduler, context))
        finally:
            sys.settrace(None)
    return lines.count, device.batches


@pytest.mark.parametrize("make_steps", [decode_on, pass_by_pass])
async def test_a_step_costs_the_host_as_much_in_a_long_context_as_in_a_short_one(make_steps: Steps) -> None:
    short, long = [(await steps_of(make_steps, length))[0] for length in LENGTHS]
    assert short == pytest.approx(long, rel=0.02)
    assert short > 10 * STEPS


async def test_the_page_tables_of_running_generations_are_not_copied() -> None:
    _, batches = await steps_of(decode_on, LENGTHS[-1])
    decodes = [batch for batch in batches if batch.num_rows == 1]
    assert len(decodes) >= 2
    assert all(batch.page_table.base is not None for batch in decodes[1:])
