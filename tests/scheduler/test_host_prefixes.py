"""Evicted prefixes move to host memory and come back instead of being computed: nobody can tell but by the counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, Collector, decode, feed, prompt, running
from tests.scheduler.oracle import History

from pie.forward import DecodeRequest, DeviceInfo, HostPageId, PageId
from pie.scheduler.residency import ContextState
from pie.scheduler.scheduler import Scheduler

Moves = Sequence[tuple[PageId, HostPageId]]
NUM_PAGES = 24
LENGTH = 41
"""Tokens of a prompt: ten pages that can be reused, and one token."""


class NotingDevice(FakeDevice):
    """Notes how many pages each call moves out and home."""

    def __init__(self, info: DeviceInfo) -> None:
        super().__init__(info)
        self.calls: list[tuple[int, int]] = []

    async def move_pages(self, outward: Moves, homeward: Moves) -> None:
        self.calls.append((len(outward), len(homeward)))
        await super().move_pages(outward, homeward)


def device(*, num_pages: int = NUM_PAGES, num_host_pages: int = 60) -> FakeDevice:
    return FakeDevice(make_info(num_pages=num_pages, num_host_pages=num_host_pages))


def right_tokens(token_ids: Sequence[int], count: int) -> list[int]:
    history = History()
    history.extend(token_ids)
    made = []
    for _ in range(count):
        made.append(history.next_token())
        history.append(made[-1])
    return made


async def ask(scheduler: Scheduler, number: int, *, count: int = 2) -> None:
    """A generation from the prompt of this number, in a context of its own."""
    context = scheduler.create(f"p{number}")
    sink = await decode(scheduler, context, prompt(number, LENGTH), max_tokens=count)
    assert sink.token_ids == right_tokens(prompt(number, LENGTH), count)
    scheduler.destroy(context)


async def fill(scheduler: Scheduler, keep: int = 0) -> None:
    """Let somebody else use every page, or all but a few, so that nothing stays on the device."""
    filler = scheduler.create("filler")
    await scheduler.reserve(filler, scheduler.ledger().total - keep)
    scheduler.destroy(filler)


async def computed_in_rounds(num_host_pages: int, *, num_prompts: int, num_rounds: int) -> list[int]:
    """Tokens computed in each round over some prompts, one after another."""
    computed = []
    async with running(device(num_host_pages=num_host_pages)) as scheduler:
        for _ in range(num_rounds):
            before = scheduler.stats().computed_tokens
            for number in range(num_prompts):
                await ask(scheduler, number, count=1)
            computed.append(scheduler.stats().computed_tokens - before)
    return computed


async def test_a_working_set_larger_than_the_pages_is_computed_once_if_host_memory_holds_the_rest() -> None:
    """Sixty pages of prompts on a device of 24."""
    assert await computed_in_rounds(0, num_prompts=6, num_rounds=3) == [6 * LENGTH] * 3
    assert await computed_in_rounds(60, num_prompts=6, num_rounds=3) == [6 * LENGTH, 6, 6]


async def test_what_comes_back_is_counted_as_reused() -> None:
    fake = device()
    async with running(fake) as scheduler:
        await ask(scheduler, 1)
        await fill(scheduler)
        ledger = scheduler.ledger()
        assert (ledger.cached, ledger.host_cached, ledger.stashed) == (0, 10, 0)
        context = scheduler.create("a")
        await decode(scheduler, context, prompt(1, LENGTH), max_tokens=1)
        assert scheduler.describe(context).reused_tokens == 40
        assert (scheduler.stats().reused_tokens, scheduler.stats().fetched_tokens) == (40, 40)
        assert (fake.moves_out, fake.moves_home) == (10, 10)
        assert (scheduler.ledger().host_cached, scheduler.ledger().host_free) == (0, 60)


async def test_a_prompt_that_goes_on_differently_brings_back_what_it_shares() -> None:
    fake = device()
    async with running(fake) as scheduler:
        await ask(scheduler, 1)
        await fill(scheduler)
        tokens = [*prompt(1, 18), *prompt(2, 20)]
        sink = await decode(scheduler, scheduler.create("a"), tokens, max_tokens=3)
        assert sink.token_ids == right_tokens(tokens, 3)
        assert (fake.moves_home, scheduler.ledger().host_cached) == (4, 6)


async def test_what_comes_back_does_not_evict_what_it_continues() -> None:
    fake = device()
    async with running(fake) as scheduler:
        await ask(scheduler, 1)
        other = scheduler.create("a")
        await feed(scheduler, other, prompt(2, 4 * 19))
        scheduler.destroy(other)
        assert (scheduler.ledger().cached, scheduler.ledger().host_cached) == (24, 5)
        computed = scheduler.stats().computed_tokens
        await ask(scheduler, 1, count=1)  # its beginning is the least recently used on the device
        assert scheduler.stats().computed_tokens == computed + 1
        assert fake.moves_home == 5


async def test_the_oldest_prefixes_leave_host_memory_first() -> None:
    assert await computed_in_rounds(10, num_prompts=6, num_rounds=2) == [6 * LENGTH] * 2
    fake = device(num_host_pages=15)
    async with running(fake) as scheduler:
        for number in (1, 2):
            await ask(scheduler, number)
            await fill(scheduler)
        assert scheduler.ledger().host_cached == 15
        for number, left in ((2, 5), (1, 0)):
            await ask(scheduler, number, count=1)
            assert scheduler.ledger().host_cached == left
        assert scheduler.stats().fetched_tokens == 4 * 15  # of the older prompt its beginning is left


async def test_a_call_to_the_device_moves_so_much_that_others_need_not_wait_for_long() -> None:
    fake = NotingDevice(replace(make_info(num_pages=150, num_host_pages=300), page_bytes=4 << 20))
    async with running(fake) as scheduler:
        tokens = prompt(1, 4 * 100 + 1)
        context, running_on = scheduler.create("a"), Collector()
        await decode(scheduler, context, tokens, max_tokens=1)
        scheduler.destroy(context)
        for _ in range(4):
            filler = scheduler.create("filler")
            await scheduler.reserve(filler, scheduler.ledger().free + 25)
            scheduler.destroy(filler)
        assert scheduler.ledger().host_cached == 100
        scheduler.decode(DecodeRequest(scheduler.create("b"), (3,), GREEDY, 60, frozenset(), 0), running_on)
        sink = await decode(scheduler, scheduler.create("a"), tokens, max_tokens=2)
        assert sink.token_ids == right_tokens(tokens, 2)
        assert sum(home for _, home in fake.calls) == 100
        assert all(out <= 32 and home <= 32 for out, home in fake.calls)
        await running_on.done.wait()
        scheduler.release_owner("a")
        scheduler.release_owner("b")
        before = scheduler.ledger().host_cached
        await fill(scheduler)  # of more than a call moves the last to be evicted are kept
        assert scheduler.ledger().host_cached - before == 32


async def test_requests_that_come_at_once_bring_a_beginning_back_once() -> None:
    fake = device(num_pages=60)
    async with running(fake) as scheduler:
        await ask(scheduler, 1)
        await fill(scheduler)
        computed = scheduler.stats().computed_tokens
        await asyncio.gather(*(ask(scheduler, 1, count=1) for _ in range(8)))
        assert fake.moves_home == 10
        assert scheduler.stats().computed_tokens == computed + 8


async def test_a_pass_with_pages_of_its_own_brings_back_as_many_as_there_is_room_for() -> None:
    fake = device(num_pages=16)
    async with running(fake) as scheduler:
        await ask(scheduler, 1)
        await fill(scheduler)
        context = scheduler.create("a")
        assert await feed(scheduler, context, prompt(1, LENGTH)) == right_tokens(prompt(1, LENGTH), 1)[0]
        assert fake.moves_home == 5  # eleven of sixteen pages are reserved
        assert scheduler.describe(context).reused_tokens == 20


async def test_suspended_contexts_take_host_pages_from_prefixes() -> None:
    async with running(device(num_host_pages=12)) as scheduler:
        await ask(scheduler, 1)
        await fill(scheduler)
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(2, 22))
        await scheduler.suspend(context)
        ledger = scheduler.ledger()
        assert (ledger.stashed, ledger.host_cached, ledger.host_free) == (6, 6, 0)
        await fill(scheduler)  # prefixes never take host pages from contexts
        assert scheduler.state(context) is ContextState.STASHED
        assert scheduler.ledger().stashed == 6


async def test_what_a_suspended_context_has_in_host_memory_is_found_by_others_and_not_copied_twice() -> None:
    fake = device()
    async with running(fake) as scheduler:
        context, history = scheduler.create("a"), History()
        history.extend(prompt(1, LENGTH))
        await feed(scheduler, context, prompt(1, LENGTH))
        await scheduler.suspend(context)
        await fill(scheduler)
        assert (scheduler.ledger().stashed, scheduler.ledger().host_cached, fake.moves_out) == (11, 0, 11)
        await ask(scheduler, 1)
        assert (scheduler.stats().reused_tokens, fake.moves_home) == (40, 10)
        await fill(scheduler)
        history.extend([5])
        assert await feed(scheduler, context, [5]) == history.next_token()
        assert scheduler.ledger().stashed == 0


async def test_a_copy_that_fails_does_not_count_against_who_has_its_host_page_by_then() -> None:
    fake = device(num_host_pages=10)
    async with running(fake) as scheduler:
        context, history = scheduler.create("a"), History()
        history.extend(prompt(2, 22))
        await feed(scheduler, context, prompt(2, 22))
        await ask(scheduler, 1)
        filler = scheduler.create("filler")
        await scheduler.reserve(filler, NUM_PAGES - 6)
        scheduler.destroy(filler)
        fake.yields, fake.fail_moves = 20, OSError("full")
        waiting = asyncio.ensure_future(scheduler.reserve(scheduler.create("b"), 1))  # lets the copies begin
        for _ in range(5):
            await asyncio.sleep(0)
        assert scheduler.ledger().host_cached == 10
        await scheduler.suspend(context)
        while scheduler.ledger().host_cached:
            await asyncio.sleep(0)
        fake.fail_moves = None
        await waiting
        assert scheduler.state(context) is ContextState.STASHED
        await fill(scheduler, 5)
        history.extend([5])
        assert await feed(scheduler, context, [5]) == history.next_token()
        assert scheduler.stats().replayed_tokens == 0


async def test_host_pages_that_are_about_to_be_read_are_not_had_by_who_leaves() -> None:
    async with running(device(num_host_pages=10)) as scheduler:
        context, history = scheduler.create("a"), History()
        history.extend(prompt(1, 40))
        await feed(scheduler, context, prompt(1, 40))
        fork = await scheduler.fork(context, owner="b")
        await scheduler.suspend(context)
        scheduler.destroy(fork)
        await fill(scheduler)
        other, of_other = scheduler.create("c"), History()
        of_other.extend(prompt(2, 22))
        await feed(scheduler, other, prompt(2, 22))
        scheduler._stepper.residency.restore(scheduler._contexts.get(context))
        await scheduler.suspend(other)  # before the loop could hand over the copies of the first one
        assert scheduler.state(other) is ContextState.SUSPENDED
        scheduler.check()
        for each, text in ((context, history), (other, of_other)):
            text.extend([5])
            assert await feed(scheduler, each, [5]) == text.next_token()


async def test_a_context_that_comes_back_takes_its_prefix_from_host_memory() -> None:
    fake = device()
    async with running(fake) as scheduler:
        context, history = scheduler.create("a"), History()
        history.extend(prompt(1, 40))
        await feed(scheduler, context, prompt(1, 40))
        fork = await scheduler.fork(context, owner="b")
        await scheduler.suspend(context)  # what it shares is not copied
        assert scheduler.state(context) is ContextState.SUSPENDED
        scheduler.destroy(fork)
        await fill(scheduler)
        history.extend([5])
        assert await feed(scheduler, context, [5]) == history.next_token()
        assert (scheduler.stats().replayed_tokens, fake.moves_home) == (0, 10)


async def test_contexts_of_one_prefix_that_come_back_at_once_have_it() -> None:
    async with running(device(num_pages=60)) as scheduler:
        first, history = scheduler.create("a"), History()
        history.extend(prompt(1, 40))
        await feed(scheduler, first, prompt(1, 40))
        others = [await scheduler.fork(first, owner="a") for _ in range(3)]
        fork = await scheduler.fork(first, owner="b")
        for context in (first, *others):
            await scheduler.suspend(context)
        scheduler.destroy(fork)
        await fill(scheduler)
        assert scheduler.ledger().host_cached == 10
        history.extend([5])
        drawn = await asyncio.gather(*(feed(scheduler, context, [5]) for context in (first, *others)))
        assert drawn == [history.next_token()] * 4
        assert scheduler.stats().replayed_tokens == 0
        assert (scheduler.ledger().host_cached, scheduler.ledger().held) == (0, 14)


@pytest.mark.parametrize("when", ["out", "home"])
async def test_copies_that_fail_cost_the_reuse_and_no_token(when: str) -> None:
    fake = device()
    async with running(fake) as scheduler:
        await ask(scheduler, 1)
        if when == "out":
            fake.fail_moves = OSError("full")
        await fill(scheduler)
        await ask(scheduler, 2)
        fake.fail_moves = OSError("full") if when == "home" else None
        await ask(scheduler, 1)
        assert scheduler.ledger().host_cached == 0
        fake.fail_moves = None
        assert scheduler.stats().fetched_tokens == 0
        await fill(scheduler)
        await ask(scheduler, 1)
        assert scheduler.stats().fetched_tokens == 40


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("end", ["cancel", "owner"])
@pytest.mark.parametrize("delay", range(10))
async def test_who_ends_while_its_prefix_comes_back_leaves_nothing_behind(delay: int, end: str, fails: bool) -> None:
    fake = device()
    async with running(fake) as scheduler:
        await ask(scheduler, 1)
        await fill(scheduler)
        fake.fail_moves = OSError("gone") if fails else None
        context, sink = scheduler.create("a"), Collector()
        request = DecodeRequest(context, prompt(1, LENGTH), GREEDY, 30, frozenset(), 0)
        handle = scheduler.decode(request, sink)
        for _ in range(delay):
            await asyncio.sleep(0)
            scheduler.check()
        if end == "owner":
            scheduler.release_owner("a")
        else:
            handle.cancel()
            scheduler.destroy(context)
        while scheduler.ledger().held:
            await asyncio.sleep(0)
        fake.fail_moves = None
        scheduler.check()
        await ask(scheduler, 1)


@pytest.mark.parametrize("delay", range(6))
async def test_a_scheduler_that_stops_while_a_prefix_comes_back_holds_nothing_for_it(delay: int) -> None:
    async with running(device()) as scheduler:
        await ask(scheduler, 1)
        await fill(scheduler)
        request = DecodeRequest(scheduler.create("a"), prompt(1, LENGTH), GREEDY, 30, frozenset(), 0)
        scheduler.decode(request, Collector())
        for _ in range(delay):
            await asyncio.sleep(0)
    scheduler.release_owner("a")
    assert scheduler.ledger().held == 0


async def test_a_step_that_fails_loses_no_prefix() -> None:
    fake = device()
    async with running(fake) as scheduler:
        await ask(scheduler, 1)
        await fill(scheduler)
        fake.fail_next = OSError("gone")
        sink = await decode(scheduler, scheduler.create("a"), prompt(1, LENGTH), max_tokens=2)
        assert sink.error is not None
        scheduler.release_owner("a")
        computed = scheduler.stats().computed_tokens
        await ask(scheduler, 1, count=1)
        assert scheduler.stats().computed_tokens == computed + 1


async def test_a_saved_context_that_is_read_into_evicted_pages_spoils_no_copy(tmp_path: Path) -> None:
    async with running(device(), snapshot_dir=tmp_path) as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(3, 80))
        await scheduler.save(context, user="a", name="x")
    fake = device()
    async with running(fake, snapshot_dir=tmp_path) as scheduler:
        await ask(scheduler, 1)
        await ask(scheduler, 2)
        opened = await scheduler.open(user="a", name="x", owner="a")  # takes cached pages, while nothing runs
        scheduler.destroy(opened)
        for number in (1, 2):
            await ask(scheduler, number)


async def test_without_prefix_reuse_nothing_is_kept() -> None:
    fake = device()
    async with running(fake, prefix_reuse=False) as scheduler:
        await ask(scheduler, 1)
        await fill(scheduler)
        await ask(scheduler, 1)
        assert (scheduler.ledger().host_cached, fake.moves_out, fake.moves_home) == (0, 0, 0)
