"""A decode's penalties count its own prompt and output, whatever steps, guesses and pages it has."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scheduler.fake_device import FakeDevice, adjusted, make_info, noise
from tests.scheduler.harness import GREEDY, Collector, decode, feed, prompt, running
from tests.scheduler.oracle import History
from tests.scheduler.test_speculation import Oracle

from pie.adjustment import Adjustment
from pie.errors import RequestError
from pie.forward import DecodeRequest, Sampler

ADJUSTMENTS = st.builds(
    Adjustment,
    repetition_penalty=st.sampled_from([1.0, 1.3, 0.5]),
    frequency_penalty=st.sampled_from([0.0, 0.75, -0.5]),
    presence_penalty=st.sampled_from([0.0, 1.5]),
    logit_bias=st.sampled_from([(), ((3, 4.0), (90, -50.0))]),
)
STRONG = Adjustment(1.5, 0.5, 0.25, ((7, 3.0),))


def by_hand(text: tuple[int, ...], adjustment: Adjustment, count: int) -> list[int]:
    """The tokens after a text, from the definition."""
    history = History()
    output: list[int] = []
    history.extend(text)
    for _ in range(count):
        counts = dict.fromkeys(text, 0) if adjustment.repetition_penalty != 1 else {}
        counts |= {token: output.count(token) for token in output}
        output.append(int(adjusted(noise(history.states[-1], 97) * 8.0, adjustment, counts).argmax()))
        history.append(output[-1])
    return output


@settings(max_examples=30, deadline=None)
@given(
    wanted=st.lists(st.tuples(st.integers(1, 30), ADJUSTMENTS, st.integers(1, 40)), min_size=1, max_size=5),
    budget=st.sampled_from([8, 512]),
    seed=st.integers(0, 9),
)
def test_decodes_beside_each_other_are_those_made_by_hand(
    wanted: list[tuple[int, Adjustment, int]], budget: int, seed: int
) -> None:
    async def run() -> None:
        async with running(FakeDevice(), max_batch_tokens=budget) as scheduler:

            async def one(number: int, length: int, adjustment: Adjustment, count: int) -> None:
                start, owner = prompt(number, length), f"p{number}"
                for drafter in (None, Oracle(start, by_hand(start, adjustment, count), right=0.8, seed=seed)):
                    context = scheduler.create(owner, salt=owner)
                    made = await decode(
                        scheduler, context, start, max_tokens=count, adjustment=adjustment, drafter=drafter
                    )
                    assert made.token_ids == by_hand(start, adjustment, count)

            await asyncio.gather(*(one(number, *each) for number, each in enumerate(wanted)))

    asyncio.run(run())


async def test_what_the_context_held_before_and_a_fork_holds_is_prompt() -> None:
    async with running() as scheduler:
        first = scheduler.create("p")
        text = prompt(3, 10)
        await feed(scheduler, first, text)
        fork = await scheduler.fork(first, owner="p")
        for context, more in ((first, (5,)), (fork, (6, 8))):
            made = (await decode(scheduler, context, more, max_tokens=20, adjustment=STRONG)).token_ids
            assert made == by_hand(text + more, STRONG, 20)
        again = (await decode(scheduler, first, (9,), max_tokens=1, adjustment=STRONG)).token_ids
        assert len(again) == 1


@pytest.mark.parametrize("num_host_pages", [0, 40])
async def test_more_decodes_than_the_pages_hold_count_on_when_they_come_back(num_host_pages: int) -> None:
    device = FakeDevice(make_info(num_pages=24, num_host_pages=num_host_pages))
    async with running(device) as scheduler:

        async def one(number: int) -> Collector:
            context = scheduler.create(f"p{number}", salt=str(number))
            made = await decode(scheduler, context, prompt(number, 9), max_tokens=25, adjustment=STRONG)
            scheduler.destroy(context)
            return made

        made = await asyncio.gather(*(one(number) for number in range(12)))
    assert [one.token_ids for one in made] == [by_hand(prompt(number, 9), STRONG, 25) for number in range(12)]


@pytest.mark.parametrize(
    "adjustment",
    [
        Adjustment(repetition_penalty=0.0),
        Adjustment(frequency_penalty=float("nan")),
        Adjustment(logit_bias=((97, 1.0),)),
        Adjustment(logit_bias=((5, 1.0), (5, 2.0))),
        Adjustment(logit_bias=((5, 1000.0),)),
    ],
)
async def test_an_adjustment_that_is_none_is_refused(adjustment: Adjustment) -> None:
    async with running() as scheduler:
        request = DecodeRequest(
            context=scheduler.create("p"), token_ids=(5,), sampler=GREEDY, max_tokens=3, stop_ids=frozenset(), seed=0,
            adjustment=adjustment,
        )  # fmt: skip
        with pytest.raises(RequestError, match="bad-"):
            scheduler.decode(request, Collector())


async def test_a_decode_that_is_drawn_counts_its_tokens_too() -> None:
    async def made(adjustment: Adjustment | None) -> list[int]:
        async with running() as scheduler:
            context = scheduler.create("p")
            sampler = Sampler(1.0)
            return (
                await decode(scheduler, context, (5,), max_tokens=60, sampler=sampler, seed=3, adjustment=adjustment)
            ).token_ids

    never_twice = await made(Adjustment(presence_penalty=90.0))
    assert len(set(never_twice)) == 60
    assert len(set(await made(None))) < 60
