"""When pages run short: who waits, who is served first, who is refused; and that nobody waits for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, Collector, decode, feed, prompt, running

from pie.errors import ContextError
from pie.forward import DecodeRequest, ForwardRequest, Readout
from pie.scheduler.residency import ContextState


async def test_a_reservation_waits_until_pages_come_back() -> None:
    async with running(FakeDevice(make_info(num_pages=10))) as scheduler:
        one, two = scheduler.create("a"), scheduler.create("b")
        await scheduler.reserve(one, 8)
        waiting = asyncio.ensure_future(scheduler.reserve(two, 5))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        scheduler.release(one, 3)
        await waiting
        assert scheduler.describe(two).working_pages == 5
        assert scheduler.ledger().free == 0


async def test_a_cancelled_reservation_takes_nothing_and_lets_others_pass() -> None:
    async with running(FakeDevice(make_info(num_pages=10))) as scheduler:
        holder = scheduler.create("a")
        await scheduler.reserve(holder, 8)
        first = asyncio.ensure_future(scheduler.reserve(scheduler.create("b"), 5))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(scheduler.reserve(scheduler.create("c"), 2))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not second.done()
        first.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        scheduler.release(holder, 0)
        await second
        assert scheduler.ledger().held == 10


async def test_cached_pages_are_given_out_before_anybody_waits() -> None:
    async with running(FakeDevice(make_info(num_pages=10))) as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 36))
        scheduler.destroy(context)
        assert scheduler.ledger().cached == 9
        await scheduler.reserve(scheduler.create("a"), 10)
        assert scheduler.ledger().cached == 0


async def test_what_can_never_fit_is_refused_at_once_with_the_numbers() -> None:
    async with running(FakeDevice(make_info(num_pages=10))) as scheduler:
        context = scheduler.create("a")
        with pytest.raises(ContextError, match="out-of-pages: 11 KV pages are needed, 10 of 10") as caught:
            await scheduler.reserve(context, 11)
        assert caught.value.remedy
        sink = await decode(scheduler, context, prompt(1, 41), max_tokens=3)
        assert isinstance(sink.error, ContextError)
        assert sink.error.code == "out-of-pages"


async def test_if_all_holders_wait_the_newer_one_leaves_until_there_is_room() -> None:
    async with running(FakeDevice(make_info(num_pages=10))) as scheduler:
        one, two = scheduler.create("a"), scheduler.create("b")
        await scheduler.reserve(one, 5)
        await scheduler.reserve(two, 5)
        newer = asyncio.ensure_future(scheduler.reserve(two, 2))
        await scheduler.reserve(one, 2)
        assert not newer.done()
        assert scheduler.state(two) is ContextState.SUSPENDED
        scheduler.destroy(one)
        await newer
        assert scheduler.describe(two).working_pages == 7


async def test_idle_holders_leave_for_whoever_needs_their_pages() -> None:
    async with running(FakeDevice(make_info(num_pages=10))) as scheduler:
        idle = scheduler.create("idle")
        scheduler.set_bid(idle, 9.0)
        await scheduler.reserve(idle, 9)
        await scheduler.reserve(scheduler.create("b"), 2)
        assert scheduler.state(idle) is ContextState.SUSPENDED
        assert scheduler.describe(idle).working_pages == 9


async def test_what_saved_contexts_hold_in_memory_only_can_be_waited_for_but_not_for_ever() -> None:
    async with running(FakeDevice(make_info(num_pages=10)), page_timeout_s=0.1) as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 36))
        await scheduler.save(context, user="u", name="n")
        scheduler.destroy(context)
        with pytest.raises(ContextError, match="out-of-pages: 2 KV pages are needed, 1 of 10"):
            await scheduler.reserve(scheduler.create("b"), 2)


async def test_decodes_that_fill_the_cache_all_end() -> None:
    async with running(FakeDevice(make_info(num_pages=20)), page_timeout_s=0.1) as scheduler:

        async def one(number: int) -> Collector:
            context = scheduler.create(f"o{number}")
            sink = await decode(scheduler, context, prompt(number, 6), max_tokens=60)
            scheduler.destroy(context)
            return sink

        sinks = await asyncio.gather(*(one(number) for number in range(8)))
        assert [sink.reason for sink in sinks] == ["length"] * 8
        assert scheduler.ledger().held == 0


async def test_a_decode_goes_on_when_its_page_comes_free() -> None:
    async with running(FakeDevice(make_info(num_pages=10))) as scheduler:
        holder = scheduler.create("idle")
        await scheduler.reserve(holder, 6)
        context, sink = scheduler.create("b"), Collector()
        scheduler.decode(DecodeRequest(context, prompt(1, 6), GREEDY, 30, frozenset(), 0), sink)
        while len(sink.token_ids) < 11:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(sink.token_ids) == 11
        scheduler.destroy(holder)
        await sink.done.wait()
        assert len(sink.token_ids) == 30


async def test_a_fork_that_writes_waits_for_the_copy_of_its_page() -> None:
    async with running(FakeDevice(make_info(num_pages=3))) as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 6))
        fork = await scheduler.fork(context, owner="b")
        filler = scheduler.create("idle")
        scheduler.set_bid(filler, 1.0)
        await scheduler.reserve(filler, 1)
        request = ForwardRequest(fork, (5,), (6,), (Readout(0, GREEDY),))
        waiting = asyncio.ensure_future(scheduler.forward(request))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        scheduler.destroy(filler)
        await waiting
        assert scheduler.ledger().held == 3


async def test_saved_contexts_leave_memory_when_pages_run_short(tmp_path: Path) -> None:
    async with running(FakeDevice(make_info(num_pages=10)), snapshot_dir=tmp_path) as scheduler:
        context = scheduler.create("a")
        token = await feed(scheduler, context, prompt(1, 22))
        await scheduler.save(context, user="u", name="n")
        scheduler.destroy(context)
        assert scheduler.ledger().held == 6
        filler = scheduler.create("a")
        await scheduler.reserve(filler, 10)
        scheduler.destroy(filler)
        again = await scheduler.open(user="u", name="n", owner="a")
        fresh = scheduler.create("a", salt="fresh")
        expected = await decode(scheduler, again, [token], max_tokens=5)
        scheduler.destroy(again)
        await feed(scheduler, fresh, prompt(1, 22))
        assert (await decode(scheduler, fresh, [token], max_tokens=5)).token_ids == expected.token_ids


async def test_one_owner_with_many_requests_does_not_hold_up_another() -> None:
    device = FakeDevice()
    async with running(device, max_batch_tokens=16) as scheduler:
        many = [asyncio.ensure_future(feed(scheduler, scheduler.create("many"), [n % 97])) for n in range(200)]
        await asyncio.sleep(0)
        await feed(scheduler, scheduler.create("one"), [5])
        assert sum(task.done() for task in many) < 40
        await asyncio.gather(*many)


async def test_a_long_prompt_does_not_hold_up_short_ones_nor_they_it() -> None:
    async with running(FakeDevice(make_info(num_pages=900, max_positions=4096)), max_batch_tokens=32) as scheduler:
        long = asyncio.ensure_future(feed(scheduler, scheduler.create("a"), prompt(1, 600)))
        await asyncio.sleep(0)
        await feed(scheduler, scheduler.create("a"), prompt(2, 4))
        assert not long.done()
        for number in range(200):
            await feed(scheduler, scheduler.create("b"), [number % 97])
            if long.done():
                break
        assert long.done()


async def test_running_decodes_do_not_hold_up_a_new_prompt() -> None:
    async with running(max_batch_tokens=8, max_batch_rows=8) as scheduler:
        sinks = [Collector() for _ in range(20)]
        handles = [
            scheduler.decode(DecodeRequest(scheduler.create(f"o{n}"), (n,), GREEDY, None, frozenset(), 0), sink)
            for n, sink in enumerate(sinks)
        ]
        while not all(sink.token_ids for sink in sinks):
            await asyncio.sleep(0)
        await feed(scheduler, scheduler.create("new"), prompt(3, 30))
        assert not any(sink.done.is_set() for sink in sinks)
        for handle in handles:
            handle.cancel()


async def test_more_generations_than_a_step_takes_get_on_alike() -> None:
    async with running(max_batch_rows=3) as scheduler:
        sinks = [Collector() for _ in range(8)]
        handles = [
            scheduler.decode(DecodeRequest(scheduler.create(f"o{n}"), (n,), GREEDY, None, frozenset(), 0), sink)
            for n, sink in enumerate(sinks)
        ]
        while min(len(sink.token_ids) for sink in sinks) < 12:
            await asyncio.sleep(0)
        counts = sorted(len(sink.token_ids) for sink in sinks)
        for handle in handles:
            handle.cancel()
        # Those that began first had their steps alone for a while, and a run may be 32 steps.
        assert counts[-1] - counts[0] <= 2 * 32


async def test_a_known_prefix_that_fits_only_without_the_rest_waits() -> None:
    async with running(FakeDevice(make_info(num_pages=10))) as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 32))
        scheduler.destroy(context)
        holder = scheduler.create("idle")
        await scheduler.reserve(holder, 2)
        assert scheduler.ledger().cached == 8
        sink, waiter = Collector(), scheduler.create("b")
        request = DecodeRequest(waiter, (*prompt(1, 32), 1, 2, 3), GREEDY, 1, frozenset(), 0)
        scheduler.decode(request, sink)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not sink.done.is_set()
        scheduler.destroy(holder)
        await sink.done.wait()
        assert sink.reason == "length"
        assert scheduler.stats().reused_tokens == 32


async def test_pages_of_a_known_prefix_are_not_promised_twice() -> None:
    async with running(FakeDevice(make_info(num_pages=7))) as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 16))
        scheduler.destroy(context)
        assert scheduler.ledger().cached == 4

        async def one(owner: str, tokens: tuple[int, ...]) -> Collector:
            context = scheduler.create(owner)
            sink = await decode(scheduler, context, tokens, max_tokens=1)
            scheduler.destroy(context)
            return sink

        sinks = await asyncio.gather(one("b", (*prompt(1, 16), *prompt(3, 8))), one("c", prompt(2, 12)))
        assert [sink.reason for sink in sinks] == ["length", "length"]
        assert scheduler.stats().reused_tokens == 16
