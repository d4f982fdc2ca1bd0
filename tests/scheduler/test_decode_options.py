"""A decode with any options together makes the tokens of its step-by-step loop and leaves the context as that does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scheduler.constraints import Cycle, Until
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, Collector, decode, discard_unseen, feed, prompt, running, stepwise

from pie.errors import ContextError, RequestError
from pie.forward import AdapterUse, DecodeRequest, Sampler
from pie.generation.drafter import NgramDrafter
from pie.mask import Window, bools_to_brle, brle_to_bitmask
from pie.scheduler.context import Context
from pie.scheduler.origins import RowOrigin
from pie.scheduler.scheduler import Scheduler

ODD = brle_to_bitmask(bools_to_brle(np.arange(97) % 2 == 1), 97)
ADAPTERS = [AdapterUse(1, "one"), AdapterUse(2, "two"), AdapterUse(1, "one", seed=5)]
SMALL = Window(9, sink=5)


@dataclass(frozen=True, slots=True)
class Case:
    """One decode.

    Attributes:
        prompt: number of the prompt.
        length: its tokens.
        made: limit of tokens.
        sampler, seed, odd, stops, adapter, window: options of both loops.
        cycle: tokens after which a constraint is complete; None is no constraint.
        until: divisor and count of a watch; None is no watch.
        guesses: whether the decode guesses.
        start: turns of the event loop before it begins.
    """

    prompt: int
    length: int
    made: int
    sampler: Sampler
    seed: int
    odd: bool
    stops: frozenset[int]
    adapter: AdapterUse | None
    window: Window | None
    cycle: int | None
    until: tuple[int, int] | None
    guesses: bool
    start: int

    def options(self) -> dict[str, Any]:
        return {
            "max_tokens": self.made,
            "sampler": self.sampler,
            "seed": self.seed,
            "mask": ODD if self.odd else None,
            "stop_ids": self.stops,
            "adapter": self.adapter,
            "window": self.window,
            "constraint": None if self.cycle is None else Cycle(self.cycle),
            "watch": None if self.until is None else Until(*self.until),
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: tokens, and what is in the context's pages."""

    tokens: list[int]
    in_context: list[int]
    committed: list[bytes]
    working: dict[int, RowOrigin]
    held: int
    discarded: set[int]

    @classmethod
    def of(cls, tokens: list[int], context: Context) -> Outcome:
        digests = [page.digest for page in context.committed()]
        held, discarded = context.num_held_pages, set(context.discarded)
        return cls(tokens, context.token_ids(), digests, dict(context.working_origins), held, discarded)


def in_place(scheduler: Scheduler, number: int) -> Context:
    return scheduler._contexts.get(number)


async def step_by_step(case: Case) -> Outcome:
    async with running(prefix_reuse=False) as scheduler:
        context = scheduler.create("a")
        tokens = await stepwise(scheduler, context, prompt(case.prompt, case.length), **case.options())
        return Outcome.of(tokens, in_place(scheduler, context))


async def offloaded(scheduler: Scheduler, case: Case, owner: str) -> Outcome:
    for _ in range(case.start):
        await asyncio.sleep(0)
    drafter = NgramDrafter(shortest=1) if case.guesses else None
    context = scheduler.create(owner)
    sink = await decode(scheduler, context, prompt(case.prompt, case.length), drafter=drafter, **case.options())
    if sink.error:
        raise sink.error
    scheduler.check()
    return Outcome.of(sink.token_ids, in_place(scheduler, context))


CASES = st.builds(
    Case,
    prompt=st.integers(1, 2),
    length=st.integers(1, 30),
    made=st.integers(1, 50),
    sampler=st.sampled_from([GREEDY, Sampler(1.5)]),
    seed=st.integers(0, 3),
    odd=st.booleans(),
    stops=st.frozensets(st.integers(0, 96), max_size=3),
    adapter=st.none() | st.sampled_from(ADAPTERS),
    window=st.none() | st.builds(Window, st.integers(1, 25), st.integers(0, 10)),
    cycle=st.none() | st.integers(1, 40),
    until=st.none() | st.tuples(st.integers(2, 20), st.integers(1, 3)),
    guesses=st.booleans(),
    start=st.integers(0, 30),
)


@given(
    cases=st.lists(CASES, min_size=1, max_size=5),
    budget=st.sampled_from([4, 7, 30, 512]),
    max_rows=st.sampled_from([2, 256]),
    reuse=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_decode_equals_its_step_by_step_loop_with_any_options_beside_any_others(
    cases: list[Case], budget: int, max_rows: int, reuse: bool
) -> None:
    async def together() -> list[Outcome]:
        async with running(max_batch_tokens=budget, max_batch_rows=max_rows, prefix_reuse=reuse) as scheduler:
            return list(await asyncio.gather(*(offloaded(scheduler, case, f"{i}") for i, case in enumerate(cases))))

    expected = [asyncio.run(step_by_step(case)) for case in cases]
    assert asyncio.run(together()) == expected


async def test_rows_with_a_watch_run_several_steps_at_once_and_end_where_it_says() -> None:
    device = FakeDevice()
    async with running(device) as scheduler:
        free = await decode(scheduler, scheduler.create("a"), prompt(1, 9), max_tokens=120)
        for index in (0, 1, 30, 31, 32, 100):
            count = sum(token % 3 == 0 for token in free.token_ids[: index + 1])
            watch = Until(3, count + (free.token_ids[index] % 3 != 0))
            device.batches.clear()
            sink = await decode(scheduler, scheduler.create("b"), prompt(1, 9), max_tokens=120, watch=watch)
            made = len(sink.token_ids)
            assert sink.token_ids == free.token_ids[:made] == watch.seen
            assert (sink.reason, watch.count) == ("complete", 0)
            assert made < 5 or max(batch.steps for batch in device.batches) > 1


async def test_a_watch_that_raises_ends_its_own_decode_alone() -> None:
    async with running() as scheduler:
        bad, good = await asyncio.gather(
            decode(scheduler, scheduler.create("a"), prompt(1, 9), max_tokens=40, watch=Until(2, fails=True)),
            decode(scheduler, scheduler.create("b"), prompt(2, 9), max_tokens=40),
        )
        assert isinstance(bad.error, RequestError)
        assert bad.error.code == "constraint-failed"
        assert len(good.token_ids) == 40


async def test_a_stop_token_is_not_shown_to_a_watch() -> None:
    async with running() as scheduler:
        free = await decode(scheduler, scheduler.create("a"), prompt(1, 9), max_tokens=60)
        for index in (0, 1, 17, 40):
            watch, stop = Until(97), free.token_ids[index]
            first = free.token_ids.index(stop)
            options = {"max_tokens": 60, "stop_ids": frozenset([stop]), "watch": watch}
            sink = await decode(scheduler, scheduler.create("b"), prompt(1, 9), **options)  # type: ignore[arg-type]
            assert watch.seen == sink.token_ids == free.token_ids[:first]


async def test_an_adapter_and_a_window_change_the_tokens() -> None:
    """Without this the comparison above could not fail."""
    made = []
    for options in ({}, {"adapter": ADAPTERS[0]}, {"window": SMALL}, {"adapter": ADAPTERS[0], "window": SMALL}):
        async with running() as scheduler:
            sink = await decode(scheduler, scheduler.create("a"), prompt(1, 20), max_tokens=10, **options)
            made.append(tuple(sink.token_ids))
    assert len(set(made)) == 4


async def test_rows_with_adapters_run_several_steps_at_once() -> None:
    device = FakeDevice()
    async with running(device) as scheduler:
        for _ in range(2):  # the first tells how long a step takes
            uses = [*ADAPTERS, None]
            await asyncio.gather(
                *(decode(scheduler, scheduler.create("a"), prompt(1, 3), max_tokens=60, adapter=use) for use in uses)
            )
    runs = [batch for batch in device.batches if batch.steps > 1]
    assert any(len(batch.adapters) == 3 and batch.num_rows == 4 for batch in runs)


async def test_a_window_that_does_not_bind_yet_lets_several_steps_run_at_once() -> None:
    device = FakeDevice()
    async with running(device) as scheduler:
        await decode(scheduler, scheduler.create("a"), prompt(2, 3), max_tokens=9)
        sink = await decode(scheduler, scheduler.create("a"), prompt(1, 3), max_tokens=60, window=Window(30))
    assert any(batch.steps > 1 for batch in device.batches)
    assert sum(batch.key_mask is not None for batch in device.batches) == 3 + 60 - 1 - 30
    assert len(sink.token_ids) == 60


async def test_an_endless_windowed_decode_holds_a_bounded_number_of_pages() -> None:
    async with running(FakeDevice(make_info(num_pages=12, max_positions=2000))) as scheduler:
        context = scheduler.create("a")
        first = await decode(scheduler, context, prompt(1, 9), max_tokens=400, window=Window(16, sink=3))
        held = scheduler.ledger().held
        second = await decode(scheduler, context, first.token_ids[-1:], max_tokens=400, window=Window(16, sink=3))
        assert held == scheduler.ledger().held <= 8
        assert len(second.token_ids) == 400


async def test_a_window_that_sees_discarded_pages_is_refused_and_a_narrower_one_goes_on() -> None:
    async with running() as scheduler:
        context = scheduler.create("a")
        await decode(scheduler, context, prompt(1, 40), max_tokens=9, window=SMALL)
        wide = await decode(scheduler, context, [1], max_tokens=5, window=Window(30, sink=5))
        assert isinstance(wide.error, ContextError)
        assert wide.error.code == "discarded-page"
        narrow = await decode(scheduler, context, [1], max_tokens=5, window=Window(7, sink=5))
        assert narrow.reason == "length"


async def test_a_windowed_decode_that_is_cut_short_goes_on_step_by_step() -> None:
    async with running() as scheduler:
        whole = await stepwise(scheduler, scheduler.create("a"), prompt(1, 20), max_tokens=40, window=SMALL)
        context, sink = scheduler.create("a"), Collector()
        request = DecodeRequest(context, prompt(1, 20), GREEDY, None, frozenset(), 0, window=SMALL)
        handle = scheduler.decode(request, sink)
        while len(sink.token_ids) < 15:
            await asyncio.sleep(0)
        fork = await scheduler.fork(context, owner="b")
        handle.cancel()
        in_fork = scheduler.describe(fork).num_tokens - 20
        await discard_unseen(scheduler, fork, SMALL)
        rest = await stepwise(scheduler, fork, [whole[in_fork]], max_tokens=40 - in_fork - 1, window=SMALL)
        assert rest == whole[in_fork + 1 :]


@pytest.mark.parametrize("num_host_pages", [0, 200])
async def test_decodes_with_windows_and_adapters_survive_a_suspension(num_host_pages: int) -> None:
    async with running(FakeDevice(make_info(num_host_pages=num_host_pages))) as scheduler:
        options: dict[str, Any] = {"adapter": ADAPTERS[1], "window": SMALL}
        expected = await stepwise(scheduler, scheduler.create("a"), prompt(1, 20), max_tokens=40, **options)
        context, sink = scheduler.create("a"), Collector()
        request = DecodeRequest(context, prompt(1, 20), GREEDY, 40, frozenset(), 0, **options)
        scheduler.decode(request, sink)
        for count in (3, 12, 30):
            while len(sink.token_ids) < count:
                await asyncio.sleep(0)
            await scheduler.suspend(context)
        await sink.done.wait()
        assert sink.token_ids == expected
        assert (scheduler.describe(context).num_tokens, await feed(scheduler, scheduler.create("b"), [1])) != (0, 0)


async def test_the_weights_of_a_decodes_adapter_are_kept_until_its_context_ends() -> None:
    device = FakeDevice()
    async with running(device) as scheduler:
        context, sink = scheduler.create("a"), Collector()
        use = ADAPTERS[0]
        scheduler.weights.retain(use.number)
        scheduler.decode(DecodeRequest(context, (1,), GREEDY, 30, frozenset(), 0, adapter=use), sink)
        scheduler.weights.release(use.number)
        await sink.done.wait()
        assert sink.reason == "length"
        assert device.freed == []
        scheduler.destroy(context)
        assert device.freed == [use.number]
