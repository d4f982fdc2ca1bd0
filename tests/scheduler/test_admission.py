"""Who is let in, in which order, and that a place is never lost."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import running

from pie.scheduler.admission import Admission
from pie.scheduler.budgets import TokenBudget


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_claims_fill_the_pages_and_a_sixteenth_more() -> None:
    admission = Admission(num_pages=3200, wave=100)  # shares of 32 pages, 100 of slack: room for 3300
    entering = [asyncio.ensure_future(admission.enter(f"o{number}", endowment=64)) for number in range(105)]
    await turns()
    assert sum(task.done() for task in entering) == 103
    admission.leave("o5")
    await turns()
    assert entering[103].done()
    assert not entering[104].done()
    entering[104].cancel()


async def test_a_small_endowment_claims_less() -> None:
    admission = Admission(num_pages=3200, wave=100)
    entering = [asyncio.ensure_future(admission.enter(f"o{number}", endowment=3)) for number in range(1101)]
    await turns()
    assert sum(task.done() for task in entering) == 1100
    entering[1100].cancel()


async def test_nobody_overtakes_and_those_who_are_waited_for_do_not_wait() -> None:
    admission = Admission(num_pages=100, wave=10)  # shares of 10 pages, room for 107
    for number in range(10):
        await admission.enter(f"o{number}", endowment=64)
    large = asyncio.ensure_future(admission.enter("large", endowment=64))
    await turns()
    small = asyncio.ensure_future(admission.enter("small", endowment=1))
    await turns()
    assert not large.done()
    assert not small.done()
    admission.enter_now("child", endowment=64)
    admission.leave("o0")
    await turns()
    assert not large.done()
    admission.leave("child")
    await turns()
    assert large.done()
    assert small.done()


@settings(max_examples=150, deadline=None)
@given(
    num_pages=st.integers(1, 40),
    wave=st.integers(1, 20),
    moves=st.lists(st.tuples(st.sampled_from(["enter", "leave", "cancel", "turn"]), st.integers(0, 30)), max_size=60),
)
def test_whoever_waits_comes_in_once_those_before_have_gone(
    num_pages: int, wave: int, moves: list[tuple[str, int]]
) -> None:
    async def run() -> None:
        admission = Admission(num_pages=num_pages, wave=wave)
        tasks: dict[str, asyncio.Task[None]] = {}
        for number, (move, argument) in enumerate(moves):
            names = list(tasks)
            if move == "enter":
                owner = f"o{number}"
                tasks[owner] = asyncio.ensure_future(admission.enter(owner, endowment=argument + 1))
            elif move == "turn":
                await turns(argument % 3)
            elif names:
                owner = names[argument % len(names)]
                task = tasks.pop(owner)
                if task.done():
                    admission.leave(owner)
                task.cancel()  # and whoever is told that it is in before it hears of this has left as well
                if move == "leave":
                    await asyncio.gather(task, return_exceptions=True)
        for owner, task in tasks.items():  # in the order of asking
            await asyncio.wait_for(task, 5)
            admission.leave(owner)
        assert admission.num_waiting == 0
        await admission.enter("last", endowment=64)

    asyncio.run(run())


async def test_an_owner_is_endowed_by_its_budget_and_gives_its_place_back() -> None:
    async with running(FakeDevice(make_info(num_pages=1)), max_batch_rows=1) as scheduler:
        await scheduler.owners.admit("a", budget=TokenBudget(9))
        assert scheduler.owners.balance("a") == 3  # pages of 4 tokens
        await scheduler.owners.admit("b")
        assert scheduler.owners.balance("b") == 64
        third = asyncio.ensure_future(scheduler.owners.admit("c"))
        await turns()
        assert not third.done()
        scheduler.release_owner("a")
        await turns()
        assert third.done()
        for owner in "bc":
            scheduler.release_owner(owner)
