"""Contexts leave the device and come back: nobody can tell from their tokens, and nothing of them is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, Collector, decode, feed, prompt, running, stepwise
from tests.scheduler.oracle import History

from pie.errors import PieError
from pie.forward import ContextId, DecodeRequest, ForwardRequest, LogitMask, Readout, Sampler
from pie.scheduler.residency import ContextState
from pie.scheduler.scheduler import Scheduler

NUM_PAGES, NUM_PROGRAMS = 24, 12


def device(*, num_pages: int = NUM_PAGES, num_host_pages: int = 0) -> FakeDevice:
    return FakeDevice(make_info(num_pages=num_pages, num_host_pages=num_host_pages))


async def fill(scheduler: Scheduler) -> None:
    """Let somebody else use every page, so that nothing of suspended contexts stays on the device."""
    filler = scheduler.create("filler")
    scheduler.set_bid(filler, 5.0)
    await scheduler.reserve(filler, scheduler.ledger().total)
    scheduler.destroy(filler)


async def program(scheduler: Scheduler, number: int) -> list[int]:
    """Eight pages of tokens, made by turns as a decode and as single passes, in one context."""
    context = scheduler.create(f"p{number}", salt=str(number))
    made = (
        await decode(scheduler, context, prompt(number, 9), max_tokens=9, seed=number, sampler=Sampler(0.8))
    ).token_ids
    made += await stepwise(scheduler, context, [made[-1]], max_tokens=4)
    made += (await decode(scheduler, context, [made[-1]], max_tokens=9, seed=number)).token_ids
    scheduler.destroy(context)
    return made


@pytest.mark.parametrize("num_host_pages", [0, 20, 200])
async def test_a_working_set_four_times_the_pages_makes_the_tokens_of_an_unlimited_run(num_host_pages: int) -> None:
    async def run(pages: int) -> Sequence[list[int]]:
        async with running(device(num_pages=pages, num_host_pages=num_host_pages)) as scheduler:
            made = await asyncio.gather(*(program(scheduler, number) for number in range(NUM_PROGRAMS)))
            assert (scheduler.ledger().held, scheduler.ledger().stashed) == (0, 0)
            return made

    assert await run(NUM_PAGES) == await run(8 * NUM_PROGRAMS + 1)


async def test_contexts_that_stay_alive_and_idle_do_not_keep_others_from_ending() -> None:
    async with running(device(num_host_pages=40)) as scheduler:
        contexts = [scheduler.create(f"p{number}", salt=str(number)) for number in range(NUM_PROGRAMS)]
        histories = [History() for _ in contexts]
        for turn in range(3):
            for number, (context, history) in enumerate(zip(contexts, histories, strict=True)):
                tokens = prompt(number + 20 * turn, 8)
                history.extend(tokens)
                assert await feed(scheduler, context, tokens) == history.next_token()
        assert sum(scheduler.describe(context).num_tokens for context in contexts) == 3 * NUM_PAGES * 4


async def test_what_was_suspended_by_its_program_goes_on_when_it_is_used_again() -> None:
    fake = device(num_host_pages=40)
    async with running(fake) as scheduler:
        context, history = scheduler.create("a"), History()
        history.extend(prompt(1, 22))
        await feed(scheduler, context, prompt(1, 22))
        before = scheduler.describe(context)
        await scheduler.suspend(context)
        assert scheduler.state(context) is ContextState.STASHED
        assert scheduler.describe(context) == before
        assert scheduler.ledger().held == 0
        assert scheduler.ledger().stashed == 6
        await fill(scheduler)
        history.extend([5])
        assert await feed(scheduler, context, [5]) == history.next_token()
        assert scheduler.state(context) is ContextState.ACTIVE
        assert (fake.moves_out, fake.moves_home) == (6, 6)
        assert scheduler.ledger().stashed == 0


async def test_pages_that_nobody_took_meanwhile_are_not_copied_back() -> None:
    fake = device(num_host_pages=40)
    async with running(fake) as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 22))
        await scheduler.suspend(context)
        await feed(scheduler, context, [5])
        assert fake.moves_home == 1  # the working page


async def test_who_leaves_does_not_write_over_a_copy_that_is_about_to_be_read() -> None:
    fake = device(num_host_pages=6)
    async with running(fake) as scheduler:
        contexts, histories = [scheduler.create("a"), scheduler.create("b")], [History(), History()]
        for number, (context, history) in enumerate(zip(contexts, histories, strict=True)):
            history.extend(prompt(number, 22))
            await feed(scheduler, context, prompt(number, 22))
            await scheduler.suspend(contexts[0])
        await scheduler.reserve(contexts[1], NUM_PAGES - 6)  # nothing of the first one stays on the device
        scheduler.release(contexts[1], NUM_PAGES - 6)
        residency = scheduler._stepper.residency
        residency.restore(scheduler._contexts.get(contexts[0]))
        await scheduler.suspend(contexts[1])  # before the loop could hand over the copies of the first one
        scheduler.check()
        for context, history in zip(contexts, histories, strict=True):
            history.extend([5])
            assert await feed(scheduler, context, [5]) == history.next_token()
        assert (fake.moves_out, fake.moves_home) == (6, 6)
        await scheduler.suspend(contexts[0])  # the host pages can be had again
        assert scheduler.ledger().stashed == 6


async def test_without_host_memory_the_tokens_are_computed_again() -> None:
    async with running(device()) as scheduler:
        context, history = scheduler.create("a"), History()
        history.extend(prompt(1, 22))
        await feed(scheduler, context, prompt(1, 22))
        await scheduler.suspend(context)
        assert scheduler.state(context) is ContextState.SUSPENDED
        await fill(scheduler)
        computed = scheduler.stats().computed_tokens
        history.extend([5])
        assert await feed(scheduler, context, [5]) == history.next_token()
        assert scheduler.stats().computed_tokens == computed + 22 + 1


async def test_what_a_fork_still_holds_is_shared_again() -> None:
    async with running(device(num_host_pages=40)) as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 22))
        fork = await scheduler.fork(context, owner="b")
        await scheduler.suspend(context)
        assert scheduler.ledger().stashed == 1  # the working page alone, which the fork may write to
        await feed(scheduler, context, [5])
        assert scheduler.ledger().held == 7
        scheduler.destroy(fork)


async def test_a_suspended_context_can_be_forked_saved_cut_and_committed() -> None:
    async with running(device(num_host_pages=40)) as scheduler:
        context, history = scheduler.create("a"), History()
        tokens = prompt(1, 22)
        history.extend(tokens)
        await feed(scheduler, context, tokens)
        for change in ("fork", "save", "truncate", "commit"):
            await scheduler.suspend(context)
            await fill(scheduler)
            if change == "fork":
                fork = await scheduler.fork(context, owner="b")
                assert scheduler.describe(fork) == scheduler.describe(context)
                scheduler.destroy(context)
                context = fork
            elif change == "save":
                await scheduler.save(context, user="u", name="n")
                await scheduler.delete(user="u", name="n")
            elif change == "truncate":
                await scheduler.truncate(context, 1)
                history.drop(1)
            else:
                await scheduler.commit(context, 0)
        history.extend([5])
        assert await feed(scheduler, context, [5]) == history.next_token()


async def test_empty_pages_are_kept_and_can_be_given_back_while_away() -> None:
    async with running(device(num_host_pages=40)) as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 6))
        await scheduler.reserve(context, 5)
        await scheduler.suspend(context)
        assert scheduler.ledger().stashed == 2
        scheduler.release(context, 2)
        assert scheduler.describe(context).working_pages == 4
        await feed(scheduler, context, prompt(2, 14))
        assert scheduler.describe(context).num_tokens == 20
        assert len(scheduler._contexts.get(context).pages) == 5


class EvenTokens:
    """A constraint with a state: the even tokens after an even number of tokens, then the odd ones."""

    def __init__(self) -> None:
        self.count = 0

    def mask(self) -> LogitMask:
        bits = np.zeros(128, np.uint8)
        bits[self.count % 2 : 97 : 2] = 1
        return np.packbits(bits, bitorder="little").view(np.uint32)

    def accept(self, token_id: int) -> bool:
        assert token_id % 2 == self.count % 2
        self.count += 1
        return False

    def masks_ahead(self, token_ids: Sequence[int]) -> list[LogitMask | None]:
        return []


@pytest.mark.parametrize("num_host_pages", [0, 40])
@pytest.mark.parametrize("constrained", [False, True])
async def test_a_decode_suspended_in_the_middle_goes_on_where_it_was(num_host_pages: int, constrained: bool) -> None:
    async def run(*, suspend: bool) -> tuple[list[int], object]:
        async with running(device(num_host_pages=num_host_pages)) as scheduler:
            context, sink = scheduler.create("a"), Collector()
            constraint = EvenTokens() if constrained else None
            sampler = Sampler(0.9, top_k=50)
            request = DecodeRequest(context, prompt(1, 7), sampler, 40, frozenset(), 3, constraint=constraint)
            scheduler.decode(request, sink)
            for count in range(1, 40, 3) if suspend else ():
                while len(sink.token_ids) < count and not sink.done.is_set():
                    await asyncio.sleep(0)
                await scheduler.suspend(context)
            await sink.done.wait()
            return sink.token_ids, scheduler.describe(context)

    assert await run(suspend=True) == await run(suspend=False)


@pytest.mark.parametrize("num_host_pages", [2, 40])
async def test_tokens_under_attention_masks_come_back_from_host_memory_or_by_replay(num_host_pages: int) -> None:
    async with running(device(num_host_pages=num_host_pages)) as scheduler:
        context, history = scheduler.create("a"), History()
        tokens = prompt(1, 11)
        rows = tuple((0, index + 1) if index % 3 else (0, 1, index // 2, index - index // 2) for index in range(11))
        for index, token in enumerate(tokens):
            seen = np.repeat(np.arange(len(rows[index])) % 2, rows[index]).astype(bool).tolist()
            history.append(token, visible=None if all(seen) else seen)
        await scheduler.reserve(context, 3)
        request = ForwardRequest(context, tokens, tuple(range(11)), (Readout(10, GREEDY),), attention_mask=rows)
        assert (await scheduler.forward(request)).slots[0].tokens[0] == history.next_token()
        await scheduler.commit(context, 2)
        await scheduler.suspend(context)
        assert scheduler.ledger().stashed == (3 if num_host_pages > 3 else 0)
        await fill(scheduler)
        history.extend([5])
        assert await feed(scheduler, context, [5]) == history.next_token()


@pytest.mark.parametrize("num_host_pages", [4, 40])
async def test_a_context_that_discarded_pages_comes_back_from_host_memory_or_by_replay(num_host_pages: int) -> None:
    async with running(device(num_host_pages=num_host_pages)) as scheduler:
        context, history = scheduler.create("a"), History()
        history.extend(prompt(1, 30))
        await feed(scheduler, context, prompt(1, 30))
        await scheduler.discard(context, 1, 3)
        held = scheduler.ledger().held
        await scheduler.suspend(context)
        assert scheduler.ledger().stashed == (5 if num_host_pages > 4 else 0)
        await fill(scheduler)
        visible = (0, 4, 12, 15)
        seen = np.repeat(np.arange(4) % 2, visible).astype(bool).tolist()
        history.append(5, visible=seen)
        request = ForwardRequest(context, (5,), (30,), (Readout(0, GREEDY),), attention_mask=(visible,))
        assert (await scheduler.forward(request)).slots[0].tokens[0] == history.next_token()
        assert scheduler.ledger().held == held
        assert scheduler.ledger().stashed == 0


async def test_host_pages_go_to_the_higher_bid_and_to_whoever_left_first() -> None:
    async with running(device(num_pages=60, num_host_pages=12)) as scheduler:
        contexts = []
        for number, bid in enumerate((1.0, 1.0, 1.0, 0.5)):
            contexts.append(scheduler.create("a", salt=str(number)))
            scheduler.set_bid(contexts[-1], bid)
            await feed(scheduler, contexts[-1], prompt(number, 24))
        first, second, third, poor = contexts
        for context in (first, second):
            await scheduler.suspend(context)
        await scheduler.suspend(poor)
        assert scheduler.state(poor) is ContextState.SUSPENDED
        await scheduler.suspend(third)
        states = [scheduler.state(context) for context in contexts]
        assert states == [ContextState.STASHED, ContextState.SUSPENDED, ContextState.STASHED, ContextState.SUSPENDED]


async def test_copies_that_fail_cost_time_and_no_token() -> None:
    fake = device(num_host_pages=40)
    async with running(fake) as scheduler:
        context, history = scheduler.create("a"), History()
        history.extend(prompt(1, 22))
        await feed(scheduler, context, prompt(1, 22))
        for error_out, error_home in ((OSError("out"), None), (None, OSError("home"))):
            fake.fail_moves = error_out
            await scheduler.suspend(context)
            await fill(scheduler)
            fake.fail_moves = error_home
            history.extend([5])
            assert await feed(scheduler, context, [5]) == history.next_token()
        assert scheduler.ledger().stashed == 0


async def test_a_replay_that_fails_fails_the_pass_that_wanted_it_and_can_be_done_again() -> None:
    fake = device()
    async with running(fake) as scheduler:
        context, history = scheduler.create("a"), History()
        history.extend(prompt(1, 22))
        await feed(scheduler, context, prompt(1, 22))
        await scheduler.suspend(context)
        await fill(scheduler)
        fake.fail_next = OSError("gone")
        with pytest.raises(PieError, match="step-failed"):
            await scheduler.forward(ForwardRequest(context, (5,), (22,), (Readout(0, GREEDY),)))
        assert scheduler.state(context) is ContextState.SUSPENDED
        history.extend([5])
        assert await feed(scheduler, context, [5]) == history.next_token()


@pytest.mark.parametrize("end", ["destroy", "owner", "cancel"])
@pytest.mark.parametrize("num_host_pages", [0, 40])
@pytest.mark.parametrize("delay", range(8))
async def test_a_suspended_context_that_ends_leaves_nothing_behind(end: str, num_host_pages: int, delay: int) -> None:
    async with running(device(num_host_pages=num_host_pages)) as scheduler:
        context, sink = scheduler.create("a"), Collector()
        await feed(scheduler, context, prompt(1, 22))
        await scheduler.suspend(context)
        await fill(scheduler)
        handle = scheduler.decode(DecodeRequest(context, (5,), GREEDY, 30, frozenset(), 0), sink)
        for _ in range(delay):
            await asyncio.sleep(0)
        if end == "owner":
            scheduler.release_owner("a")
        elif end == "destroy":
            scheduler.destroy(context)
        else:
            handle.cancel()
            scheduler.destroy(context)
        await drained(scheduler)


async def test_a_scheduler_that_stops_answers_those_who_wait_for_suspended_contexts() -> None:
    sink = Collector()
    async with running(device(num_pages=10, num_host_pages=40)) as scheduler:
        holder, context = scheduler.create("a"), scheduler.create("b")
        scheduler.set_bid(holder, 1.0)
        await scheduler.reserve(holder, 9)
        scheduler.decode(DecodeRequest(context, prompt(1, 20), GREEDY, 30, frozenset(), 0), sink)
        waiting = asyncio.ensure_future(scheduler.reserve(scheduler.create("c"), 5))
        for _ in range(5):
            await asyncio.sleep(0)
    assert isinstance(sink.error, PieError)
    assert sink.error.code == "shutting-down"
    with pytest.raises(PieError, match="shutting-down"):
        await waiting


async def drained(scheduler: Scheduler) -> None:
    async with asyncio.timeout(5):
        while scheduler.ledger().held or scheduler.ledger().stashed:
            await asyncio.sleep(0)
    scheduler.check()


async def test_who_bids_more_keeps_the_pages() -> None:
    async def order(bids: Sequence[float]) -> list[ContextId]:
        async with running(device(num_pages=20, num_host_pages=100)) as scheduler:
            ended: list[int] = []

            async def one(number: int, bid: float) -> None:
                context = scheduler.create(f"o{number}", salt=str(number))
                scheduler.set_bid(context, bid)
                await decode(scheduler, context, prompt(number, 6), max_tokens=50)
                scheduler.destroy(context)
                ended.append(number)

            await asyncio.gather(*(one(number, bid) for number, bid in enumerate(bids)))
            return ended

    assert await order([0.0, 0.0, 0.0, 0.0]) == [0, 1, 2, 3]
    assert await order([0.0, 0.001, 0.002, 0.003]) == [3, 2, 1, 0]
