"""What a context held is computed again as it was: under its masks, with its adapters, and what it saw before it was
discarded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import Visible, feed, masked_pass, prompt, running, window
from tests.scheduler.oracle import History

from pie.forward import AdapterUse, ContextId
from pie.scheduler.residency import ContextState
from pie.scheduler.scheduler import Scheduler

ADAPTERS = [None, AdapterUse(1, "one"), AdapterUse(2, "two", seed=5)]


def everything(index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.ones(index + 1, np.bool_)


async def leave(scheduler: Scheduler, context: ContextId) -> None:
    """Suspend a context, and let somebody else use every page."""
    await scheduler.suspend(context)
    assert scheduler.state(context) in (ContextState.STASHED, ContextState.SUSPENDED)
    filler = scheduler.create("filler")
    await scheduler.reserve(filler, scheduler.ledger().total)
    scheduler.destroy(filler)


async def discard_unseen(scheduler: Scheduler, context: ContextId, history: History, size: int, sink: int) -> None:
    first = -(-sink // 4)
    end = min((len(history) + 1 - size) // 4, scheduler.describe(context).committed_pages)
    if end > first:
        await scheduler.discard(context, first, end - first)


@settings(max_examples=80, deadline=None)
@given(
    passes=st.lists(
        st.tuples(st.integers(1, 15), st.sampled_from(ADAPTERS), st.sampled_from(["window", "all"]), st.booleans()),
        min_size=1,
        max_size=8,
    ),
    size=st.integers(1, 12),
    sink=st.integers(0, 9),
    budget=st.sampled_from([4, 9, 512]),
    num_host_pages=st.sampled_from([0, 6, 80]),
    discards=st.booleans(),
)
def test_every_token_is_the_one_its_history_demands_however_often_its_context_leaves(
    passes: Sequence[tuple[int, AdapterUse | None, str, bool]],
    size: int,
    sink: int,
    budget: int,
    num_host_pages: int,
    discards: bool,
) -> None:
    async def run() -> None:
        device = FakeDevice(make_info(num_pages=34, num_host_pages=num_host_pages))
        async with running(device, max_batch_tokens=budget) as scheduler:
            context, history = scheduler.create("a"), History()
            for number, (length, adapter, sight, leaves) in enumerate(passes):
                sees_all = sight == "all" and not scheduler._contexts.get(context).discarded
                visible: Visible = everything if sees_all else window(size, sink)
                await masked_pass(scheduler, context, history, prompt(number, length), visible, adapter=adapter)
                if discards and not sees_all:
                    await discard_unseen(scheduler, context, history, size, sink)
                if leaves:
                    await scheduler.reserve(context, number % 3)
                    await leave(scheduler, context)
                    scheduler.release(context, number % 3)
            await leave(scheduler, context)
            await masked_pass(scheduler, context, history, prompt(99, 3), window(size, sink))
            scheduler.check()
            held = scheduler.ledger().held
            found = scheduler._contexts.get(context)
            assert held == len(set(found.pages)) == found.num_held_pages
            scheduler.release_owner("a")
            assert sorted(set(device.freed)) == sorted({a.number for _, a, _, _ in passes if a is not None})

    asyncio.run(run())


async def test_a_window_over_a_text_longer_than_the_device_comes_back_in_the_pages_it_had() -> None:
    async with running(FakeDevice(make_info(num_pages=9, max_positions=2000))) as scheduler:
        context, history, visible = scheduler.create("a"), History(), window(16, 3)
        token = await masked_pass(scheduler, context, history, prompt(1, 9), visible)
        for count in range(120):
            token = await masked_pass(scheduler, context, history, [token], visible)
            await discard_unseen(scheduler, context, history, 16, 3)
            if count % 40 == 39:
                await leave(scheduler, context)
        assert scheduler.describe(context).num_tokens == 129
        assert scheduler.ledger().held <= 8


async def test_empty_pages_come_back_in_places_that_the_replay_needed_before() -> None:
    async with running(FakeDevice(make_info(num_pages=8))) as scheduler:
        context, history = scheduler.create("a"), History()
        await masked_pass(scheduler, context, history, prompt(1, 12), everything)
        await scheduler.discard(context, 0, 2)
        await scheduler.reserve(context, 1)
        await leave(scheduler, context)
        await masked_pass(scheduler, context, history, prompt(3, 4), window(4, 0))
        assert scheduler.ledger().held == 3


async def test_many_windows_and_adapters_on_few_pages_without_host_memory_all_end() -> None:
    async with running(FakeDevice(make_info(num_pages=24))) as scheduler:

        async def one(number: int) -> None:
            context, history, visible = scheduler.create(f"p{number}"), History(), window(12, 2)
            adapter = ADAPTERS[number % 3]
            token = await masked_pass(scheduler, context, history, prompt(number, 30), visible, adapter=adapter)
            for _ in range(30):
                token = await masked_pass(scheduler, context, history, [token], visible, adapter=adapter)
                await discard_unseen(scheduler, context, history, 12, 2)
            scheduler.release_owner(f"p{number}")

        await asyncio.gather(*(one(number) for number in range(12)))
        assert scheduler.ledger().held == 0


async def test_adapters_are_kept_for_as_long_as_a_context_may_be_computed_again() -> None:
    device = FakeDevice(make_info())
    async with running(device) as scheduler:
        context, history = scheduler.create("a"), History()
        await masked_pass(scheduler, context, history, prompt(1, 9), everything, adapter=ADAPTERS[1])
        fork = await scheduler.fork(context, owner="b")
        await scheduler.suspend(context)
        scheduler.destroy(context)
        assert device.freed == []
        scheduler.destroy(fork)
        assert device.freed == [1]


@pytest.mark.parametrize("num_host_pages", [1, 20])
async def test_what_is_known_by_a_file_only_leaves_for_host_memory_or_stays(
    num_host_pages: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, history = tmp_path_factory.mktemp("snapshots"), History()
    async with running(FakeDevice(make_info()), snapshot_dir=folder) as scheduler:
        context = scheduler.create("a")
        await masked_pass(scheduler, context, history, prompt(1, 21), window(6, 2), adapter=ADAPTERS[1])
        await scheduler.save(context, user="u", name="n")
    async with running(
        FakeDevice(make_info(num_pages=20, num_host_pages=num_host_pages)), snapshot_dir=folder
    ) as scheduler:
        context = await scheduler.open(user="u", name="n", owner="a")
        await scheduler.suspend(context)
        there = ContextState.ACTIVE if num_host_pages == 1 else ContextState.STASHED
        assert scheduler.state(context) is there
        history.extend([5])
        assert await feed(scheduler, context, [5]) == history.next_token()
