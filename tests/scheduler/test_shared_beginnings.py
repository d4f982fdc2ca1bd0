"""Requests that come at once and share a beginning compute it once, whatever becomes of who computes it."""

from __future__ import annotations

import asyncio

import pytest
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, Collector, decode, feed, prompt, running
from tests.scheduler.oracle import History

from pie.forward import DecodeRequest
from pie.scheduler.scheduler import Scheduler

NUM_REQUESTS = 12
BEGINNING = prompt(1, 200)
"""Fifty pages, which takes several steps."""


def device() -> FakeDevice:
    return FakeDevice(make_info(num_pages=1024, max_positions=1024))


def ending(number: int) -> tuple[int, ...]:
    return (number, *prompt(number, 6))


def right_token(number: int) -> int:
    history = History()
    history.extend([*BEGINNING, *ending(number)])
    return history.next_token()


async def ask(scheduler: Scheduler, number: int, *, salt: str = "") -> int:
    """A generation of one token."""
    context = scheduler.create(f"p{number}", salt=salt)
    sink = await decode(scheduler, context, [*BEGINNING, *ending(number)], max_tokens=1)
    if sink.error:
        raise sink.error
    return sink.token_ids[0]


async def ask_by_a_pass(scheduler: Scheduler, number: int) -> int:
    return await feed(scheduler, scheduler.create(f"p{number}"), [*BEGINNING, *ending(number)])


async def test_all_but_the_first_compute_their_endings_alone() -> None:
    async with running(device(), max_batch_tokens=64) as scheduler:
        drawn = await asyncio.gather(*(ask(scheduler, number) for number in range(NUM_REQUESTS)))
        assert drawn == [right_token(number) for number in range(NUM_REQUESTS)]
        assert scheduler.stats().computed_tokens == len(BEGINNING) + 7 * NUM_REQUESTS


async def test_passes_wait_for_the_beginning_that_a_generation_computes() -> None:
    async with running(device(), max_batch_tokens=64) as scheduler:
        first = asyncio.ensure_future(ask(scheduler, 0))
        await asyncio.sleep(0)
        rest = await asyncio.gather(*(ask_by_a_pass(scheduler, number) for number in range(1, NUM_REQUESTS)))
        assert [await first, *rest] == [right_token(number) for number in range(NUM_REQUESTS)]
        assert scheduler.stats().computed_tokens == len(BEGINNING) + 7 * NUM_REQUESTS


async def test_who_shares_half_of_it_waits_for_that_alone() -> None:
    async with running(device(), max_batch_tokens=32) as scheduler:
        long = asyncio.ensure_future(decode(scheduler, scheduler.create("a"), prompt(1, 800), max_tokens=1))
        await asyncio.sleep(0)
        short = await decode(scheduler, scheduler.create("b"), [*BEGINNING[:100], 7, 8], max_tokens=1)
        assert (short.reason, long.done()) == ("length", False)
        await long
        assert scheduler.stats().reused_tokens == 100


@pytest.mark.parametrize("steps", range(6))
async def test_if_who_computes_it_is_cancelled_another_one_goes_on_from_there(steps: int) -> None:
    fake = device()
    async with running(fake, max_batch_tokens=64) as scheduler:
        handle = scheduler.decode(
            DecodeRequest(scheduler.create("first"), BEGINNING, GREEDY, 5, frozenset(), 0), Collector()
        )
        rest = [asyncio.ensure_future(ask(scheduler, number)) for number in range(NUM_REQUESTS)]
        while len(fake.batches) < steps:
            await asyncio.sleep(0)
        handle.cancel()
        assert await asyncio.gather(*rest) == [right_token(number) for number in range(NUM_REQUESTS)]
        # What was in flight when it was cancelled is computed again.
        assert scheduler.stats().computed_tokens <= len(BEGINNING) + 7 * NUM_REQUESTS + 64 + 5


async def test_a_device_that_fails_ends_who_computes_it_and_nobody_who_waits() -> None:
    fake = device()
    async with running(fake, max_batch_tokens=64) as scheduler:
        asks = [asyncio.ensure_future(ask(scheduler, number)) for number in range(NUM_REQUESTS)]
        while len(fake.batches) < 2:
            await asyncio.sleep(0)
        fake.fail_next = RuntimeError("broken")
        outcomes = await asyncio.gather(*asks, return_exceptions=True)
        assert [isinstance(outcome, Exception) for outcome in outcomes] == [True] + [False] * (NUM_REQUESTS - 1)
        assert outcomes[1:] == [right_token(number) for number in range(1, NUM_REQUESTS)]


async def test_tenants_neither_share_nor_wait() -> None:
    async with running(device(), max_batch_tokens=64) as scheduler:
        drawn = await asyncio.gather(*(ask(scheduler, number, salt=str(number % 2)) for number in range(4)))
        assert drawn == [right_token(number) for number in range(4)]
        assert scheduler.stats().computed_tokens == 2 * len(BEGINNING) + 7 * 4


async def test_without_reuse_nobody_waits() -> None:
    async with running(device(), max_batch_tokens=64, prefix_reuse=False) as scheduler:
        drawn = await asyncio.gather(*(ask(scheduler, number) for number in range(3)))
        assert drawn == [right_token(number) for number in range(3)]
        assert scheduler.stats().computed_tokens == 3 * (len(BEGINNING) + 7)
