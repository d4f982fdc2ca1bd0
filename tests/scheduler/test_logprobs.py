"""A decode tells how likely each of its tokens was, whatever steps, guesses and neighbours it has."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scheduler.fake_device import FakeDevice, likely, make_info, noise
from tests.scheduler.harness import GREEDY, Collector, decode, prompt, running
from tests.scheduler.oracle import History
from tests.scheduler.test_speculation import Oracle

from pie.adjustment import Adjustment
from pie.errors import RequestError
from pie.forward import DecodeRequest, LogprobsWanted, Sampler, TokenLogprobs

ADJUSTMENTS = st.sampled_from([None, Adjustment(1.5, 0.5, 0.25, ((7, 3.0),))])
SAMPLERS = st.sampled_from([GREEDY, Sampler(temperature=2.0)])


def by_hand(text: tuple[int, ...], made: list[int], num_top: int) -> list[TokenLogprobs]:
    """What the logits say of the tokens that were made after a text."""
    history = History()
    history.extend(text)
    told = []
    for token in made:
        told.append(likely(noise(history.states[-1], 97) * 8.0, token, num_top))
        history.append(token)
    return told


@settings(max_examples=30, deadline=None)
@given(
    wanted=st.lists(
        st.tuples(st.integers(1, 30), st.none() | st.integers(0, 20), ADJUSTMENTS, SAMPLERS, st.integers(1, 30)),
        min_size=1,
        max_size=5,
    ),
    budget=st.sampled_from([8, 512]),
)
def test_decodes_beside_each_other_each_tell_what_they_were_asked(
    wanted: list[tuple[int, int | None, Adjustment | None, Sampler, int]], budget: int
) -> None:
    async def run() -> None:
        async with running(FakeDevice(), max_batch_tokens=budget) as scheduler:

            async def one(
                number: int,
                length: int,
                num_top: int | None,
                adjustment: Adjustment | None,
                sampler: Sampler,
                count: int,
            ) -> None:
                start, owner, alone = prompt(number, length), f"p{number}", Collector()
                for guessed in (False, True):
                    drafter = Oracle(start, alone.token_ids, right=0.8, seed=number) if guessed else None
                    made = await decode(
                        scheduler,
                        scheduler.create(owner, salt=owner),
                        start,
                        max_tokens=count,
                        sampler=sampler,
                        adjustment=adjustment,
                        drafter=drafter,
                        num_top=num_top,
                    )
                    assert not guessed or made.token_ids == alone.token_ids
                    assert made.logprobs == ([] if num_top is None else by_hand(start, made.token_ids, num_top))
                    alone = made

            await asyncio.gather(*(one(number, *each) for number, each in enumerate(wanted)))

    asyncio.run(run())


async def test_a_stop_token_is_not_told() -> None:
    async with running() as scheduler:
        text = prompt(4, 9)
        free = (await decode(scheduler, scheduler.create("p"), text, max_tokens=12)).token_ids
        stop = free[8]
        made = await decode(
            scheduler, scheduler.create("p"), text, max_tokens=12, stop_ids=frozenset({stop}), num_top=2
        )
        assert made.token_ids == free[: free.index(stop)]
        assert made.logprobs == by_hand(text, made.token_ids, 2)


@pytest.mark.parametrize("num_host_pages", [0, 40])
async def test_more_decodes_than_the_pages_hold_tell_on_when_they_come_back(num_host_pages: int) -> None:
    device = FakeDevice(make_info(num_pages=24, num_host_pages=num_host_pages))
    async with running(device) as scheduler:

        async def one(number: int) -> Collector:
            context = scheduler.create(f"p{number}", salt=str(number))
            made = await decode(scheduler, context, prompt(number, 9), max_tokens=25, num_top=1)
            scheduler.destroy(context)
            return made

        for number, made in enumerate(await asyncio.gather(*(one(number) for number in range(6)))):
            assert len(made.token_ids) == 25
            assert made.logprobs == by_hand(prompt(number, 9), made.token_ids, 1)


@pytest.mark.parametrize("num_top", [-1, 98])
async def test_a_number_of_most_likely_tokens_that_cannot_be_is_refused(num_top: int) -> None:
    async with running() as scheduler:
        request = DecodeRequest(
            context=scheduler.create("p"),
            token_ids=(1,),
            sampler=GREEDY,
            max_tokens=1,
            stop_ids=frozenset(),
            seed=0,
            logprobs=LogprobsWanted(num_top, lambda _values: None),
        )
        with pytest.raises(RequestError, match=f"{num_top} most likely of 97") as caught:
            scheduler.decode(request, Collector())
        assert caught.value.code == "bad-request"
