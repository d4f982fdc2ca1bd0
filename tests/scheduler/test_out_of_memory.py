"""A step that does not fit into the device's memory is halved, and only what cannot be halved any more fails."""

from __future__ import annotations

import asyncio

import pytest
from tests.scheduler.constraints import Cycle
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, Collector, decode, feed, prompt, running

from pie.forward import DecodeRequest, Sampler
from pie.scheduler.scheduler import Scheduler

NUM_PROGRAMS = 8


async def program(scheduler: Scheduler, number: int) -> list[int]:
    """Two forks of a prompt, which write to a page that they share; one of them under a constraint."""
    context = scheduler.create(f"p{number}", salt=str(number))
    await feed(scheduler, context, prompt(number, 23))
    fork = await scheduler.fork(context, owner=f"p{number}")
    one, two = await asyncio.gather(
        decode(scheduler, context, prompt(number, 6), max_tokens=9, seed=number, sampler=Sampler(0.8)),
        decode(scheduler, fork, prompt(number, 4), max_tokens=12, constraint=Cycle()),
    )
    assert (one.error, two.error) == (None, None)
    scheduler.release_owner(f"p{number}")
    return [*one.token_ids, *two.token_ids]


@pytest.mark.parametrize("room", [1, 2, 5, 40])
async def test_steps_that_do_not_fit_are_halved_and_no_token_changes(room: int) -> None:
    async def run(room: int | None) -> list[list[int]]:
        device = FakeDevice()
        device.room = room
        async with running(device, max_batch_tokens=64) as scheduler:
            made = await asyncio.gather(*(program(scheduler, number) for number in range(NUM_PROGRAMS)))
            assert (scheduler.stats().splits > 0) == (room is not None)
            assert scheduler.ledger().held == 0
            return made

    assert await run(room) == await run(None)


async def test_steps_stay_small_for_a_while_and_then_grow_again() -> None:
    device = FakeDevice(make_info(num_pages=1024, max_positions=4096))
    device.room = 12
    async with running(device, max_batch_tokens=64) as scheduler:
        await feed(scheduler, scheduler.create("a"), prompt(1, 64))
        assert [batch.num_rows for batch in device.batches] == [64, 32, 16, 8, 8, 8, 8, 8, 8, 8, 8]
        device.room = None
        await feed(scheduler, scheduler.create("a"), prompt(2, 800))
        sizes = [batch.num_rows for batch in device.batches[11:]]
        assert sizes[:56] == [8] * 56
        assert sizes[56:] == [16] * 22


async def test_if_not_even_a_token_fits_who_asked_last_fails_first_and_the_others_when_it_does_not_help() -> None:
    device, order = FakeDevice(), []
    async with running(device) as scheduler:
        sinks = [Collector() for _ in range(3)]
        for number, sink in enumerate(sinks):
            scheduler.decode(DecodeRequest(scheduler.create("a"), prompt(number, 5), GREEDY, 400, frozenset(), 0), sink)

        async def note(number: int) -> None:
            await sinks[number].done.wait()
            order.append(number)

        waiting = asyncio.gather(*map(note, range(3)))
        while not all(sink.token_ids for sink in sinks):
            await asyncio.sleep(0)
        device.room = 0
        await waiting
        assert [getattr(sink.error, "code", None) for sink in sinks] == ["device-out-of-memory"] * 3
        assert order == [2, 1, 0]
        device.room = None
        sink = await decode(scheduler, scheduler.create("a"), prompt(1, 5), max_tokens=3)
        assert (sink.reason, len(sink.token_ids)) == ("length", 3)


async def test_who_asked_first_goes_on_if_it_helps_that_the_others_fail() -> None:
    device = FakeDevice()
    async with running(device) as scheduler:
        first, second = Collector(), Collector()
        device.gate = asyncio.Event()
        for number, sink in enumerate((first, second)):
            scheduler.decode(DecodeRequest(scheduler.create("a"), prompt(number, 5), GREEDY, 20, frozenset(), 0), sink)
        device.room = 0
        device.gate.set()
        while not second.done.is_set():
            await asyncio.sleep(0)
        device.room = None
        await first.done.wait()
        assert (first.reason, len(first.token_ids)) == ("length", 20)
        assert second.error is not None
