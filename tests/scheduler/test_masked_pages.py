"""Pages that every row is masked from are not looked at, and may be given back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, decode, feed, masked_pass, prompt, running, window
from tests.scheduler.oracle import History

from pie.errors import ContextError
from pie.forward import ForwardRequest, Readout


async def test_what_a_row_does_not_reach_is_hidden_and_an_empty_row_sees_all() -> None:
    async with running() as scheduler:
        context, history = scheduler.create("a"), History()
        await scheduler.reserve(context, 3)
        rows = (
            (),
            (0, 1),
            (1, 1),
            (),
            (2, 1, 1, 1),
            (0, 6),
        )  # token 1 sees key 0 only, token 2 key 1, token 4 keys 2, 4
        request = ForwardRequest(context, prompt(1, 6), tuple(range(6)), (Readout(5, GREEDY),), attention_mask=rows)
        drawn = (await scheduler.forward(request)).slots[0].tokens[0]
        seen = [None, [0], [1], None, [2, 4], None]
        for index, (token, keys) in enumerate(zip(prompt(1, 6), seen, strict=True)):
            visible = None if keys is None else [key in keys for key in range(index + 1)]
            history.append(token, index, visible)
        assert drawn == history.next_token()


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 23), min_size=1, max_size=9),
    size=st.integers(1, 12),
    sink=st.integers(0, 9),
    budget=st.sampled_from([4, 7, 512]),
    discards=st.booleans(),
)
def test_every_token_is_the_one_its_visible_keys_demand(
    lengths: list[int], size: int, sink: int, budget: int, discards: bool
) -> None:
    async def run() -> None:
        async with running(max_batch_tokens=budget) as scheduler:
            context, history, visible = scheduler.create("a"), History(), window(size, sink)
            for number, length in enumerate(lengths):
                await masked_pass(scheduler, context, history, prompt(number, length), visible)
                first = -(-sink // 4)
                end = min((len(history) + 1 - size) // 4, scheduler.describe(context).committed_pages)
                if discards and end > first:
                    await scheduler.discard(context, first, end - first)
                    scheduler.check()
                    assert scheduler.ledger().held <= first + 1 + -(-(size + 23) // 4) + 1

    asyncio.run(run())


async def test_pages_that_no_row_sees_are_not_walked() -> None:
    async with running() as scheduler:
        context, history = scheduler.create("a"), History()
        await masked_pass(scheduler, context, history, prompt(1, 80), lambda index: np.ones(index + 1, np.bool_))
        assert scheduler.stats().walked_pages == 20
        assert scheduler.stats().skipped_pages == 0
        await masked_pass(scheduler, context, history, prompt(2, 2), window(8, 3))
        # Of pages 0 … 20: page 0 has the sink, rows 80 and 81 see keys from 73 on, which begin in page 18.
        assert scheduler.stats().walked_pages - 20 == 4
        assert scheduler.stats().skipped_pages == 17


async def test_a_page_that_one_row_sees_is_walked() -> None:
    async with running() as scheduler:
        context, history = scheduler.create("a"), History()
        await masked_pass(scheduler, context, history, prompt(1, 40), lambda index: np.ones(index + 1, np.bool_))

        def visible(index: int) -> npt.NDArray[np.bool_]:
            keys = np.arange(index + 1)
            return np.isin(keys, [17, index] if index == 41 else [index])

        await masked_pass(scheduler, context, history, prompt(2, 3), visible)
        assert scheduler.stats().skipped_pages == 9


async def test_a_text_without_end_holds_a_bounded_number_of_pages() -> None:
    async with running(FakeDevice(make_info(num_pages=12, max_positions=2000))) as scheduler:
        context, history, visible = scheduler.create("a"), History(), window(16, 3)
        token = await masked_pass(scheduler, context, history, prompt(1, 9), visible)
        for _ in range(400):
            token = await masked_pass(scheduler, context, history, [token], visible)
            end = (len(history) + 1 - 16) // 4
            if end > 1:
                await scheduler.discard(context, 1, end - 1)
        assert scheduler.describe(context).num_tokens == 409
        assert scheduler.ledger().held <= 8


async def test_discarded_pages_stay_forbidden_in_forks_and_saved_contexts(tmp_path: Path) -> None:
    async with running(snapshot_dir=tmp_path) as scheduler:
        context, history, visible = scheduler.create("a"), History(), window(8, 3)
        await masked_pass(scheduler, context, history, prompt(1, 50), visible)
        await scheduler.discard(context, 1, 9)
        await scheduler.discard(context, 3, 2)
        await scheduler.save(context, user="u", name="n")
        fork = await scheduler.fork(context, owner="a")
        scheduler.destroy(context)
        await masked_pass(scheduler, fork, history.copy(), prompt(2, 5), visible)
    async with running(snapshot_dir=tmp_path) as scheduler:
        opened = await scheduler.open(user="u", name="n", owner="b")
        scheduler.check()
        assert scheduler.ledger().held == 13 - 8
        with pytest.raises(ContextError, match="discarded-page"):
            await feed(scheduler, opened, [1])
        await masked_pass(scheduler, opened, history, prompt(2, 5), visible)
        other = await decode(scheduler, scheduler.create("b"), prompt(1, 50), max_tokens=5)
        fresh = History()
        fresh.extend(prompt(1, 50))
        assert other.token_ids[0] == fresh.next_token()  # what was discarded is not found as a known prefix


async def test_what_may_see_a_discarded_page_is_refused_and_leaves_the_context_usable() -> None:
    async with running() as scheduler:
        context, history, visible = scheduler.create("a"), History(), window(8, 3)
        await masked_pass(scheduler, context, history, prompt(1, 50), visible)
        for first, count in ((0, 13), (12, 1), (-1, 1)):
            with pytest.raises(ContextError, match="not-discardable"):
                await scheduler.discard(context, first, count)
        await scheduler.discard(context, 1, 9)
        with pytest.raises(ContextError, match=r"discarded-page.*token 0.*page 1 "):
            await feed(scheduler, context, [1])
        with pytest.raises(ContextError, match=r"discarded-page.*page 7 "):
            await masked_pass(scheduler, context, History(), [1], window(20, 3))
        sink = await decode(scheduler, context, [1], max_tokens=5)
        assert isinstance(sink.error, ContextError)
        assert sink.error.code == "discarded-page"
        await masked_pass(scheduler, context, history, prompt(2, 5), visible)
