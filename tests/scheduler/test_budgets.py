"""Token budgets: passes begin while there is something left, and each costs what it puts into its context."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from tests.scheduler.constraints import Until
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, Collector, decode, feed, prompt, running

from pie.errors import PieError, ProcessError, UsageError
from pie.forward import ContextId, DecodeRequest, ForwardRequest
from pie.scheduler.budgets import TokenBudget
from pie.scheduler.scheduler import Scheduler


class Echo:
    """Guesses what the text said after the same token before."""

    def __init__(self) -> None:
        self.token_ids: list[int] = []

    def feed(self, token_ids: Sequence[int]) -> None:
        self.token_ids += token_ids

    def propose(self, most: int) -> Sequence[int]:
        return [(self.token_ids[-1] + step) % 97 for step in range(1, min(most, 3) + 1)]


async def admitted(scheduler: Scheduler, owner: str, budget: TokenBudget) -> ContextId:
    await scheduler.owners.admit(owner, budget=budget)
    return scheduler.create(owner)


@pytest.mark.parametrize("num_tokens", [1, 6, 7, 8, 20, 45])
@pytest.mark.parametrize("guesses", [False, True])
async def test_a_decode_ends_where_the_loop_of_passes_would_be_refused(num_tokens: int, guesses: bool) -> None:
    async with running() as scheduler:
        budget, made = TokenBudget(num_tokens), list[int]()
        context, pending = await admitted(scheduler, "steps", budget), list(prompt(1, 7))
        while budget.left:
            made.append(await feed(scheduler, context, pending))
            pending = made[-1:]
        with pytest.raises(ProcessError, match=f"token-budget-spent: the token budget of {num_tokens} is used up"):
            await feed(scheduler, context, pending)
        again = await admitted(scheduler, "decode", TokenBudget(num_tokens))
        sink = await decode(scheduler, again, prompt(1, 7), max_tokens=None, drafter=Echo() if guesses else None)
        assert isinstance(sink.error, ProcessError)
        assert sink.error.code == "token-budget-spent"
        assert sink.token_ids == made
        assert scheduler.token_ids(again) == scheduler.token_ids(context)


async def test_a_budget_that_suffices_to_the_last_token_is_no_error() -> None:
    async with running() as scheduler:
        budget = TokenBudget(7 + 19)
        context = await admitted(scheduler, "a", budget)
        sink = await decode(scheduler, context, prompt(1, 7), max_tokens=20)
        assert sink.reason == "length"
        assert budget.left == 0


async def test_tokens_after_the_end_that_a_watch_sees_cost_nothing() -> None:
    async with running() as scheduler:
        budget = TokenBudget(1000)
        context = await admitted(scheduler, "a", budget)
        sink = await decode(scheduler, context, prompt(1, 7), max_tokens=200, watch=Until(2, count=11))
        assert sink.reason == "complete"
        assert budget.spent == len(scheduler.token_ids(context)) == 7 + len(sink.token_ids) - 1


async def test_owners_that_share_a_budget_stop_together_and_others_go_on() -> None:
    async with running() as scheduler:
        budget = TokenBudget(60)
        contexts = [await admitted(scheduler, owner, budget) for owner in ("parent", "child")]
        free = scheduler.create("free")
        sinks = await asyncio.gather(
            *(decode(scheduler, context, prompt(number, 7), max_tokens=80) for number, context in enumerate(contexts)),
            decode(scheduler, free, prompt(5, 7), max_tokens=80),
        )
        assert [sink.error.code if isinstance(sink.error, PieError) else None for sink in sinks] == [
            "token-budget-spent",
            "token-budget-spent",
            None,
        ]
        assert 60 <= sum(scheduler.describe(context).num_tokens for context in contexts) <= 61


async def test_what_waits_when_a_budget_is_spent_fails_and_what_has_begun_is_finished() -> None:
    async with running(max_batch_tokens=8) as scheduler:
        budget = TokenBudget(1)
        long, short = await admitted(scheduler, "a", budget), scheduler.create("a")
        await scheduler.reserve(long, 10)
        await scheduler.reserve(short, 2)
        begun = scheduler.submit(ForwardRequest(long, prompt(1, 40), tuple(range(40))))
        await asyncio.sleep(0)
        behind = scheduler.submit(ForwardRequest(long, (1,), (40,)))
        spends = scheduler.submit(ForwardRequest(short, (2,), (0,)))
        await spends
        assert budget.left == 0
        assert not begun.done()
        with pytest.raises(ProcessError, match="token-budget-spent"):
            await behind
        await begun
        assert scheduler.describe(long).num_tokens == 40
        with pytest.raises(ProcessError, match="token-budget-spent"):
            scheduler.decode(DecodeRequest(short, (1,), GREEDY, 5, frozenset(), 0), Collector())


async def test_what_is_computed_again_costs_nothing() -> None:
    async with running(FakeDevice(make_info(num_pages=20))) as scheduler:
        budget = TokenBudget(100)
        context = await admitted(scheduler, "a", budget)
        await feed(scheduler, context, prompt(1, 22))
        await scheduler.suspend(context)
        filler = scheduler.create("filler")
        await scheduler.reserve(filler, 20)
        scheduler.destroy(filler)
        await feed(scheduler, context, [5])
        assert scheduler.stats().replayed_tokens == 22
        assert budget.left == 100 - 23


def test_a_budget_allows_at_least_one_token() -> None:
    with pytest.raises(UsageError, match="bad-token-budget: a token budget of 0"):
        TokenBudget(0)


async def test_a_budget_without_a_total_counts_and_changes_nothing() -> None:
    async with running() as scheduler:
        budget = TokenBudget(None)
        counted, free = await admitted(scheduler, "a", budget), scheduler.create("b")
        sinks = [await decode(scheduler, context, prompt(1, 7), max_tokens=20) for context in (counted, free)]
        assert sinks[0].token_ids == sinks[1].token_ids
        assert [sink.reason for sink in sinks] == ["length", "length"]
        assert budget.spent == 7 + 19
        assert budget.left is None
        assert scheduler.owners.balance("a") == scheduler.owners.balance("b")
