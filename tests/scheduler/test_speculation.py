"""Decodes that guess make the tokens, and leave the context, of decodes that do not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scheduler.constraints import Cycle
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, Collector, decode, feed, prompt, running

from pie.errors import ContextError, RequestError
from pie.forward import Batch, DecodeRequest, Progress, Sampler, StepResult
from pie.generation.drafter import NgramDrafter
from pie.scheduler.scheduler import Scheduler

HOT = Sampler(1.5)


class Oracle:
    """Guesses from a known output, wrong with some probability."""

    def __init__(
        self, start: Sequence[int], output: Sequence[int], *, right: float = 1.0, seed: int = 0, steady: bool = False
    ) -> None:
        self.steady = steady
        self.text = [*start, *output]
        self.fed: list[int] = []
        self.right = right
        self.rng = random.Random(seed)

    def feed(self, token_ids: Sequence[int]) -> None:
        self.fed += token_ids
        assert self.fed == self.text[: len(self.fed)]

    def propose(self, most: int) -> list[int]:
        count = min(most, 4 if self.steady else self.rng.randrange(8))
        ahead = self.text[len(self.fed) : len(self.fed) + count]
        return [token if self.rng.random() < self.right else (token + 1) % 97 for token in ahead]


class FailsOneDraw(FakeDevice):
    """A device on which one sampler fails in each step that has guesses."""

    def __init__(self, sampler: int) -> None:
        super().__init__()
        self.sampler = sampler

    async def step(self, batch: Batch, progress: Progress | None = None) -> StepResult:
        self.fail_samplers = {self.sampler: "not a number"} if len(batch.sampler_rows) > 2 else {}
        return await super().step(batch, progress)


async def both(
    *,
    length: int = 11,
    right: float = 0.8,
    seed: int = 0,
    cycle: int | None = None,
    budget: int = 512,
    steady: bool = False,
    **options: Any,
) -> tuple[Scheduler, FakeDevice]:
    """Decode without and with guesses, and compare everything."""
    device = FakeDevice()
    async with running(device, max_batch_tokens=budget) as scheduler:
        start = prompt(1, length)

        async def one(owner: str, drafter: Oracle | None) -> tuple[Collector, int]:
            context = scheduler.create(owner, salt=owner)
            constraint = Cycle(cycle) if cycle else None
            sink = await decode(scheduler, context, start, seed=seed, drafter=drafter, constraint=constraint, **options)
            return sink, context

        plain, first = await one("plain", None)
        quick, second = await one("quick", Oracle(start, plain.token_ids, right=right, seed=seed, steady=steady))
        assert quick.token_ids == plain.token_ids
        assert quick.reason == plain.reason
        assert scheduler.describe(first) == scheduler.describe(second)
        assert await feed(scheduler, first, [5, 6]) == await feed(scheduler, second, [5, 6])
    return scheduler, device


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 30),
    made=st.integers(1, 60),
    right=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 1 << 64),
    hot=st.booleans(),
    stops=st.sets(st.integers(0, 96), max_size=3),
    cycle=st.none() | st.integers(1, 40),
    budget=st.sampled_from([4, 9, 512]),
)
def test_guesses_change_no_token_no_page_and_no_end(
    length: int, made: int, right: float, seed: int, hot: bool, stops: set[int], cycle: int | None, budget: int
) -> None:
    sampler = HOT if hot else GREEDY
    asyncio.run(
        both(
            length=length,
            right=right,
            seed=seed,
            cycle=cycle,
            budget=budget,
            max_tokens=made,
            sampler=sampler,
            stop_ids=frozenset(stops),
        )
    )


async def test_right_guesses_save_steps_and_are_counted() -> None:
    scheduler, device = await both(right=1.0, max_tokens=200, steady=True)
    stats = scheduler.stats()
    assert stats.accepted_tokens == stats.proposed_tokens > 100
    assert sum(1 for batch in device.batches if len(batch.sampler_rows) > 1) == 40
    scheduler, _ = await both(right=0.0, max_tokens=50, steady=True)
    assert scheduler.stats().accepted_tokens == 0 < scheduler.stats().proposed_tokens


async def test_a_stop_token_among_the_guesses_leaves_nothing_after_it() -> None:
    async with running() as scheduler:
        start = prompt(1, 9)
        free = await decode(scheduler, scheduler.create("a"), start, max_tokens=60)
        for index in (1, 17, 40):
            stop = free.token_ids[index]
            first = free.token_ids.index(stop)
            context = scheduler.create("b", salt="b")
            oracle = Oracle(start, free.token_ids, seed=index)
            sink = await decode(scheduler, context, start, max_tokens=60, stop_ids=frozenset({stop}), drafter=oracle)
            assert (sink.token_ids, sink.reason) == (free.token_ids[:first], "stop")
            assert scheduler.describe(context).num_tokens == 9 + first


async def test_the_drafter_hears_the_whole_context_first() -> None:
    async with running() as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(2, 10))
        plain = await decode(scheduler, await scheduler.fork(context, owner="a"), prompt(1, 3), max_tokens=20)
        oracle = Oracle([*prompt(2, 10), *prompt(1, 3)], plain.token_ids)
        sink = await decode(scheduler, context, prompt(1, 3), max_tokens=20, drafter=oracle)
    assert sink.token_ids == plain.token_ids
    assert oracle.fed == oracle.text[: len(oracle.fed)]


@pytest.mark.parametrize("right", [0.0, 1.0])
async def test_a_failed_draw_at_a_guess_is_drawn_again(right: float) -> None:
    start = prompt(1, 9)
    async with running() as scheduler:
        whole = await decode(scheduler, scheduler.create("a"), start, max_tokens=40)
    async with running(FailsOneDraw(2)) as scheduler:
        oracle = Oracle(start, whole.token_ids, right=right, steady=True)
        sink = await decode(scheduler, scheduler.create("a"), start, max_tokens=40, drafter=oracle)
    assert (sink.reason, sink.token_ids) == ("length", whole.token_ids)


async def test_a_failed_draw_before_all_guesses_ends_the_decode() -> None:
    start = prompt(1, 9)
    async with running() as scheduler:
        whole = await decode(scheduler, scheduler.create("a"), start, max_tokens=40)
    async with running(FailsOneDraw(0)) as scheduler:
        context = scheduler.create("a")
        sink = await decode(
            scheduler, context, start, max_tokens=40, drafter=Oracle(start, whole.token_ids, steady=True)
        )
        assert isinstance(sink.error, RequestError)
        assert sink.error.code == "readout-failed"
        assert sink.token_ids == whole.token_ids[: len(sink.token_ids)]
        assert scheduler.describe(context).num_tokens == 9 + len(sink.token_ids) - 1


async def test_a_constraint_that_cannot_look_ahead_ends_its_own_decode_alone() -> None:
    async with running() as scheduler:
        bad, good = await asyncio.gather(
            decode(
                scheduler,
                scheduler.create("a"),
                [1, 2, 1, 2, 1, 2],
                max_tokens=9,
                constraint=Cycle(fails_ahead=True),
                drafter=Oracle([], [0] * 90, steady=True),
            ),
            decode(scheduler, scheduler.create("b"), prompt(1, 9), max_tokens=40),
        )
    assert isinstance(bad.error, RequestError)
    assert bad.error.code == "constraint-failed"
    assert good.reason == "length"


async def test_a_cancelled_decode_that_guesses_is_silent_and_its_context_goes_on() -> None:
    start = prompt(1, 9)
    async with running() as scheduler:
        whole = await decode(scheduler, scheduler.create("b"), start, max_tokens=40)
        context, sink = scheduler.create("a"), Collector()
        oracle = Oracle(start, whole.token_ids, right=0.7)
        handle = scheduler.decode(DecodeRequest(context, start, GREEDY, 40, frozenset(), 0, drafter=oracle), sink)
        while len(sink.token_ids) < 12:
            await asyncio.sleep(0)
        with pytest.raises(ContextError, match="context-busy"):
            await scheduler.truncate(context, 1)
        fork = await scheduler.fork(context, owner="a")
        handle.cancel()
        made = list(sink.token_ids)
        rest = await decode(scheduler, context, [made[-1]], max_tokens=40 - len(made))
        assert made + rest.token_ids == whole.token_ids
        in_fork = scheduler.describe(fork).num_tokens - 9
        rest = await decode(scheduler, fork, whole.token_ids[in_fork : in_fork + 1], max_tokens=39 - in_fork)
        assert whole.token_ids[: in_fork + 1] + rest.token_ids == whole.token_ids


async def test_decodes_that_guess_finish_where_pages_are_short() -> None:
    async with running(FakeDevice(make_info(num_pages=24)), page_timeout_s=0.2) as scheduler:
        whole = await decode(scheduler, scheduler.create("w"), prompt(1, 9), max_tokens=50)
        scheduler.release_owner("w")

        async def one(number: int) -> Collector:
            owner = f"o{number}"
            oracle = Oracle(prompt(1, 9), whole.token_ids, right=0.8, seed=number) if number % 2 else None
            sink = await decode(scheduler, scheduler.create(owner), prompt(1, 9), max_tokens=50, drafter=oracle)
            scheduler.release_owner(owner)
            return sink

        sinks = await asyncio.gather(*(one(number) for number in range(6)))
        finished = [sink for sink in sinks if sink.reason == "length"]
        assert finished
        for sink in sinks:
            assert sink.token_ids == whole.token_ids[: len(sink.token_ids)]
            if sink.error is not None:
                assert isinstance(sink.error, ContextError)
                assert sink.error.code == "out-of-pages"


async def test_lookup_finds_what_followed_the_longest_match_most_recently() -> None:
    drafter = NgramDrafter()
    drafter.feed([1, 2, 3, 4, 9, 9, 2, 3, 5, 7, 7, 1, 2, 3])
    assert drafter.propose(2) == [4, 9]
    assert drafter.propose(0) == []
    drafter = NgramDrafter()
    drafter.feed([1, 2, 3])
    assert drafter.propose(4) == []
    drafter.feed([1, 2, 3, 1, 2])
    assert drafter.propose(4) == [3, 1, 2, 3]


async def test_lookup_guesses_more_while_it_is_right_and_fewer_when_it_is_not() -> None:
    drafter = NgramDrafter()
    drafter.feed([1, 2] * 20)
    lengths = []
    for _ in range(4):
        guesses = drafter.propose(99)
        lengths.append(len(guesses))
        drafter.feed([*guesses, 1 if guesses[-1] == 2 else 2])
    assert lengths == [4, 8, 16, 16]
    drafter.propose(99)
    drafter.feed([50, 1, 2, 1])
    assert drafter.propose(99) == []
    drafter.feed([2, 1, 2, 1])
    assert len(drafter.propose(99)) == 2


async def test_a_decode_without_guesses_runs_several_steps_per_hand_over() -> None:
    device, start = FakeDevice(), prompt(1, 9)
    async with running(device) as scheduler:
        plain = await decode(scheduler, scheduler.create("a"), start, max_tokens=200)
        silent = NgramDrafter(longest=40, shortest=40)
        device.batches.clear()
        sink = await decode(scheduler, scheduler.create("b", salt="b"), start, max_tokens=200, drafter=silent)
    assert sink.token_ids == plain.token_ids
    assert scheduler.stats().proposed_tokens == 0
    assert max(batch.steps for batch in device.batches) > 1
