"""Credits change hands and never appear or vanish; rent is paid only where pages are short."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import decode, prompt, running

from pie.scheduler.context import Context
from pie.scheduler.market import Market, Payer

ENDOWMENT = 64 * 1_000_000


def make_context(owner: str) -> Context:
    return Context(1, owner=owner, root=b"", page_size=4)


rents = st.tuples(st.integers(0, 6), st.floats(0, 1e6), st.floats(0, 1e300))


@given(joins=st.integers(1, 6), ticks=st.lists(st.tuples(st.lists(rents, max_size=6), st.integers(1, 32))))
def test_the_sum_of_all_balances_never_changes(
    joins: int, ticks: list[tuple[list[tuple[int, float, float]], int]]
) -> None:
    market = Market()
    for number in range(joins):
        market.join(str(number))
    for payers, steps in ticks:
        price = payers[0][2] if payers else 0.0
        market.tick([Payer(make_context(str(n)), pages) for n, pages, _ in payers], price=price, steps=steps)
        assert market.total == joins * ENDOWMENT
        assert all(market.balance(str(number)) >= 0 for number in range(joins))


class Credits(RuleBasedStateMachine):
    """Whatever owners do, what they brought is in the wallets or was taken along, to the last millionth."""

    @initialize()
    def begin(self) -> None:
        self.market = Market()

    @rule(number=st.integers(0, 5), endowment=st.integers(1, 10**6))
    def join(self, number: int, endowment: int) -> None:
        self.market.join(str(number), endowment=endowment)

    @rule(number=st.integers(0, 5))
    def leave(self, number: int) -> None:
        self.market.leave(str(number))

    @rule(payers=st.lists(rents, max_size=6), steps=st.integers(1, 32))
    def tick(self, payers: list[tuple[int, float, float]], steps: int) -> None:
        price = payers[0][2] if payers else 0.0
        self.market.tick([Payer(make_context(str(n)), pages) for n, pages, _ in payers], price=price, steps=steps)

    @invariant()
    def nothing_appears_or_vanishes(self) -> None:
        self.market.check()


TestCredits = Credits.TestCase
TestCredits.settings = settings(max_examples=60, deadline=None)


def test_credits_that_vanish_are_noticed() -> None:
    market = Market()
    market.join("a")
    market._wallets["a"].balance -= 1
    with pytest.raises(RuntimeError, match="are not 64000000"):
        market.check()


def test_rent_is_shared_out_by_endowment() -> None:
    market = Market()
    for owner in "abcd":
        market.join(owner)
    context = make_context("a")
    for _ in range(5):
        market.tick([Payer(context, 2.0)], price=2.0)
    assert market.rent == 2.0
    assert [market.dividend(owner) for owner in "abcd"] == [1.0] * 4
    assert [market.balance(owner) for owner in "abcd"] == [64 - 5 * 3.0, 69.0, 69.0, 69.0]


def test_numbers_are_published_every_fifth_step() -> None:
    market = Market()
    market.join("a")
    market.join("b")
    seen = []
    for _ in range(10):
        market.tick([Payer(make_context("a"), 1.0)], price=2.0)
        seen.append(market.balance("a"))
    assert seen == [64.0] * 4 + [59.0] * 5 + [54.0]


def test_who_cannot_pay_is_defaulted_until_it_has_paid_again() -> None:
    market = Market()
    market.join("a")
    market.join("b")
    context = make_context("a")
    market.tick([Payer(context, 1000.0)], price=1.0)
    assert context.defaulted
    market.tick([Payer(context, 1.0)], price=1.0)
    assert not context.defaulted


def test_an_owner_takes_its_credits_along_and_the_next_one_starts_anew() -> None:
    market = Market()
    market.join("a")
    market.join("b")
    market.tick([Payer(make_context("a"), 10.0)], price=1.0)
    market.leave("a")
    assert market.join("a") == 3
    assert market.balance("a") == 64.0


async def test_rent_is_asked_for_only_where_pages_are_short() -> None:
    async def run(num_pages: int) -> float:
        async with running(FakeDevice(make_info(num_pages=num_pages))) as scheduler:
            contexts = [scheduler.create(f"o{number}", salt=str(number)) for number in range(6)]
            for number, context in enumerate(contexts):
                scheduler.set_bid(context, 0.1 + number)
            decodes = [
                asyncio.ensure_future(decode(scheduler, context, prompt(number, 6), max_tokens=60))
                for number, context in enumerate(contexts)
            ]
            most = 0.0
            while not all(task.done() for task in decodes):
                await asyncio.sleep(0)
                most = max(most, scheduler.owners.rent)
                assert scheduler.owners.market.total == 6 * ENDOWMENT
            assert {sink.reason for sink in await asyncio.gather(*decodes)} == {"length"}
            return most

    assert await run(24) > 0
    assert await run(200) == 0
