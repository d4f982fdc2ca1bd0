"""Single forward passes: what they read, which keys they see, and what prefix reuse saves them."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, feed, prompt, running
from tests.scheduler.oracle import History

from pie.errors import ContextError, RequestError
from pie.forward import Distribution, Entropy, ForwardRequest, ForwardResult, Logits, Logprobs, Readout, Sampler
from pie.mask import bools_to_brle, brle_to_bitmask
from pie.scheduler.scheduler import Scheduler


async def run_pass(
    scheduler: Scheduler, tokens: tuple[int, ...], *readouts: Readout, rows: tuple[tuple[int, ...], ...] | None = None
) -> ForwardResult:
    context = scheduler.create("a")
    await scheduler.reserve(context, -(-len(tokens) // 4))
    return await scheduler.forward(
        ForwardRequest(context, tokens, tuple(range(len(tokens))), readouts, attention_mask=rows)
    )


async def test_slots_come_back_in_the_order_of_the_readouts_whatever_the_chunks() -> None:
    tokens = prompt(3, 20)
    readouts = [
        Readout(19, GREEDY),
        Readout(2, Logprobs((5, 4))),
        Readout(11, Sampler(0.8, draws=3)),
        Readout(19, Entropy()),
        Readout(0, Distribution(1.0, 4)),
        Readout(19, Logits()),
    ]
    results = []
    for budget in (512, 6):
        async with running(max_batch_tokens=budget) as scheduler:
            results.append(await run_pass(scheduler, tokens, *readouts))
    whole, chunked = results
    assert [len(slot.tokens) for slot in whole.slots] == [1, 0, 3, 0, 0, 0]
    assert [slot.tokens for slot in whole.slots] == [slot.tokens for slot in chunked.slots]
    logits = whole.slots[5].value
    assert isinstance(logits, np.ndarray)
    assert int(logits.argmax()) == whole.slots[0].tokens[0]
    for one, other in zip(whole.slots, chunked.slots, strict=True):
        assert str(one.value) == str(other.value)


async def test_a_pass_uses_one_index_of_its_random_stream_per_draw() -> None:
    tokens, hot = prompt(3, 8), Sampler(5.0)
    async with running() as scheduler:
        together = await run_pass(scheduler, tokens, Readout(7, Sampler(5.0, draws=2)), Readout(7, hot))
        context = scheduler.create("b")
        await scheduler.reserve(context, 2)
        positions = tuple(range(8))
        third = await scheduler.forward(ForwardRequest(context, tokens, positions, (Readout(7, hot),), counter=2))
    assert together.slots[1].tokens == third.slots[0].tokens
    assert len({*together.slots[0].tokens, *third.slots[0].tokens}) == 3


async def test_a_masked_draw_gives_only_allowed_tokens() -> None:
    mask = brle_to_bitmask([13, 2], 97)
    async with running() as scheduler:
        result = await run_pass(scheduler, prompt(1, 9), Readout(8, Sampler(3.0, draws=12), mask), Readout(8, GREEDY))
    assert set(result.slots[0].tokens) <= {13, 14}
    assert result.slots[1].tokens[0] not in {13, 14}


@pytest.mark.parametrize("budget", [4, 7, 512])
async def test_a_row_sees_the_keys_of_its_attention_mask(budget: int) -> None:
    tokens, history = prompt(5, 18), History()
    rows = []
    for index, token in enumerate(tokens):
        visible = [key < 2 or key > index - 4 for key in range(index + 1)]
        history.append(token, visible=None if all(visible) else visible)
        rows.append(tuple(bools_to_brle(np.array(visible))))
    async with running(max_batch_tokens=budget) as scheduler:
        result = await run_pass(scheduler, tokens, Readout(17, GREEDY), rows=tuple(rows))
    assert result.slots[0].tokens[0] == history.next_token()


async def test_an_empty_attention_row_is_causal() -> None:
    tokens = prompt(5, 6)
    async with running() as scheduler:
        masked = await run_pass(scheduler, tokens, Readout(5, GREEDY), rows=((),) * 6)
        causal = await run_pass(scheduler, tokens, Readout(5, GREEDY))
    assert masked.slots[0].tokens == causal.slots[0].tokens


async def test_positions_with_gaps_are_passed_on() -> None:
    history = History()
    for token, position in ((4, 3), (5, 10), (6, 11)):
        history.append(token, position)
    async with running() as scheduler:
        context = scheduler.create("a")
        await scheduler.reserve(context, 1)
        result = await scheduler.forward(ForwardRequest(context, (4, 5, 6), (3, 10, 11), (Readout(2, GREEDY),)))
    assert result.slots[0].tokens[0] == history.next_token()


async def test_a_known_prefix_is_not_computed_again() -> None:
    tokens = prompt(1, 30)
    async with running() as scheduler:
        first = await feed(scheduler, scheduler.create("a"), tokens)
        assert scheduler.stats().computed_tokens == 30
        context = scheduler.create("b")
        assert await feed(scheduler, context, tokens) == first
        assert scheduler.stats().computed_tokens == 32
        assert scheduler.stats().reused_tokens == 28
        assert scheduler.describe(context).committed_pages == 7
        assert scheduler.ledger().held == 7 + 2


async def test_reuse_stops_before_the_first_row_that_is_read() -> None:
    tokens = prompt(1, 30)
    async with running() as scheduler:
        await feed(scheduler, scheduler.create("a"), tokens)
        result = await run_pass(scheduler, tokens, Readout(9, GREEDY), Readout(29, GREEDY))
        assert scheduler.stats().reused_tokens == 8
    history = History()
    history.extend(tokens[:10])
    assert result.slots[0].tokens[0] == history.next_token()


async def test_reuse_continues_a_context_that_ends_on_a_page() -> None:
    tokens = prompt(1, 30)
    async with running() as scheduler:
        first = await feed(scheduler, scheduler.create("a"), tokens)
        context = scheduler.create("a")
        await feed(scheduler, context, tokens[:8])
        assert scheduler.stats().reused_tokens == 4
        assert await feed(scheduler, context, tokens[8:]) == first
        assert scheduler.stats().reused_tokens == 4 + 20


@pytest.mark.parametrize("case", ["other tenant", "other positions", "masked", "switched off"])
async def test_what_differs_is_not_reused(case: str) -> None:
    tokens = prompt(1, 12)
    async with running(prefix_reuse=case != "switched off") as scheduler:
        await feed(scheduler, scheduler.create("a"), tokens)
        context = scheduler.create("b", salt="another" if case == "other tenant" else "")
        await scheduler.reserve(context, 3)
        shift = int(case == "other positions")
        rows = ((0, 1), *((index, 1) for index in range(1, 12))) if case == "masked" else None
        positions = tuple(range(shift, 12 + shift))
        await scheduler.forward(ForwardRequest(context, tokens, positions, (Readout(11, GREEDY),), attention_mask=rows))
        assert scheduler.stats().reused_tokens == 0


async def test_passes_of_one_context_run_in_the_order_of_asking() -> None:
    tokens = prompt(1, 12)
    async with running() as scheduler:
        context = scheduler.create("a")
        await scheduler.reserve(context, 3)
        passes = [
            scheduler.forward(ForwardRequest(context, (token,), (index,), (Readout(0, GREEDY),)))
            for index, token in enumerate(tokens)
        ]
        results = await asyncio.gather(*passes)
    history = History()
    for token, result in zip(tokens, results, strict=True):
        history.append(token)
        assert result.slots[0].tokens[0] == history.next_token()


async def test_passes_of_many_contexts_share_a_step() -> None:
    device = FakeDevice()
    async with running(device) as scheduler:
        await asyncio.gather(*(feed(scheduler, scheduler.create(f"o{n}"), prompt(n, 5)) for n in range(30)))
    assert max(batch.num_rows for batch in device.batches) == 150
    assert len(device.batches) <= 2


async def test_a_failed_readout_fails_its_pass_alone_and_leaves_no_token() -> None:
    device = FakeDevice()
    async with running(device) as scheduler:
        one, two = scheduler.create("a"), scheduler.create("b")
        device.fail_samplers = {0: "the mask allows nothing"}
        results = await asyncio.gather(
            feed(scheduler, one, prompt(1, 5)), feed(scheduler, two, prompt(2, 5)), return_exceptions=True
        )
        error = results[0]
        assert isinstance(error, RequestError)
        assert error.code == "readout-failed"
        assert "the mask allows nothing" in error.cause
        history = History()
        history.extend(prompt(2, 5))
        assert results[1] == history.next_token()
        assert scheduler.describe(one).num_tokens == 0


async def test_a_failed_step_fails_what_was_in_it_and_the_next_one_runs() -> None:
    device = FakeDevice()
    async with running(device) as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 6))
        device.fail_next = OSError("the device fell over")
        with pytest.raises(RequestError, match=r"step-failed: .*OSError: the device fell over"):
            await feed(scheduler, context, prompt(2, 6))
        assert scheduler.describe(context).num_tokens == 6
        history = History()
        history.extend([*prompt(1, 6), *prompt(2, 6)])
        assert await feed(scheduler, context, prompt(2, 6)) == history.next_token()


ERRORS = [
    ("empty-pass", (), (), (), None),
    ("bad-token", (97,), (0,), (), None),
    ("bad-token", (-1,), (0,), (), None),
    ("bad-positions", (1, 2), (0,), (), None),
    ("bad-positions", (1,), (-1,), (), None),
    ("prompt-too-long", (1,), (512,), (), None),
    ("bad-index", (1,), (0,), (Readout(1, GREEDY),), None),
    ("bad-index", (1,), (0,), (Readout(-1, Entropy()),), None),
    ("bad-token", (1,), (0,), (Readout(0, Logprobs((3, 97))),), None),
    ("bad-request", (1,), (0,), (Readout(0, Sampler(-1.0)),), None),
    ("bad-request", (1,), (0,), (Readout(0, Sampler(float("nan"))),), None),
    ("bad-request", (1,), (0,), (Readout(0, Sampler(0.0, draws=0)),), None),
    ("bad-mask", (1,), (0,), (Readout(0, GREEDY, np.zeros(9, np.uint32)),), None),
    ("bad-mask", (1, 2), (0, 1), (), ((0, 1),)),
    ("bad-mask", (1, 2), (0, 1), (), ((0, 2), (0, 2))),
    ("bad-mask", (1, 2), (0, 1), (), ((0, 1), (3, -1))),
    ("bad-request", (1,), (0,), (Readout(0, Sampler(0.0, top_k=1 << 31)),), None),
    ("bad-request", (1,), (0,), (Readout(0, Sampler(0.0, draws=1 << 31)),), None),
    ("no-room", (1,) * 9, tuple(range(9)), (), None),
]


@pytest.mark.parametrize(("code", "tokens", "positions", "readouts", "mask"), ERRORS)
async def test_a_pass_that_is_not_well_formed_is_refused_with_its_code(
    code: str,
    tokens: tuple[int, ...],
    positions: tuple[int, ...],
    readouts: tuple[Readout, ...],
    mask: tuple[tuple[int, ...], ...] | None,
) -> None:
    async with running() as scheduler:
        context = scheduler.create("a")
        await scheduler.reserve(context, 2)
        with pytest.raises((RequestError, ContextError)) as caught:
            await scheduler.forward(ForwardRequest(context, tokens, positions, readouts, attention_mask=mask))
        assert caught.value.code == code
        assert caught.value.remedy
        assert scheduler.describe(context).num_tokens == 0
        await feed(scheduler, context, prompt(1, 5))


async def test_calls_on_a_context_that_is_gone_name_it() -> None:
    async with running() as scheduler:
        context = scheduler.create("a")
        scheduler.destroy(context)
        scheduler.destroy(context)
        for call in (
            lambda: scheduler.fork(context, owner="a"),
            lambda: scheduler.reserve(context, 1),
            lambda: scheduler.commit(context, 1),
            lambda: scheduler.truncate(context, 1),
            lambda: scheduler.save(context, user="u", name="n"),
            lambda: scheduler.forward(ForwardRequest(context, (1,), (0,))),
        ):
            with pytest.raises(ContextError, match=f"context-destroyed: there is no context {context}"):
                await call()


async def test_page_calls_out_of_range_are_refused() -> None:
    async with running() as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 6))
        cases = (
            ("not-committable", scheduler.commit(context, 1)),
            ("bad-request", scheduler.reserve(context, -1)),
            ("out-of-pages", scheduler.reserve(context, 256)),
        )
        for code, call in cases:
            with pytest.raises((ContextError, RequestError), match=code):
                await call


async def test_of_more_pages_and_tokens_than_there_are_all_are_given_back() -> None:
    async with running() as scheduler:
        context = scheduler.create("a")
        await feed(scheduler, context, prompt(1, 6))
        await scheduler.reserve(context, 2)
        scheduler.release(context, 9)  # of which those with tokens stay
        assert scheduler.describe(context).working_pages == 1
        await scheduler.truncate(context, 9)
        assert scheduler.describe(context).num_tokens == 4, "committed tokens stay"


async def test_a_batch_too_small_to_share_is_refused() -> None:
    with pytest.raises(RequestError, match="max_batch_tokens to at least 4"):
        Scheduler(FakeDevice(make_info()), snapshot_dir=None, max_batch_tokens=3)


async def test_a_reused_page_is_copied_before_it_is_written() -> None:
    tokens = prompt(1, 30)
    async with running() as scheduler:
        first = scheduler.create("a")
        drawn = await feed(scheduler, first, tokens)
        scheduler.destroy(first)
        context = scheduler.create("a")
        await scheduler.reserve(context, 8)
        await scheduler.forward(ForwardRequest(context, tokens, tuple(range(30)), (Readout(29, GREEDY),)))
        await scheduler.truncate(context, 5)
        history = History()
        history.extend([*tokens[:25], 9])
        result = await scheduler.forward(ForwardRequest(context, (9,), (25,), (Readout(0, GREEDY),)))
        assert result.slots[0].tokens[0] == history.next_token()
        assert await feed(scheduler, scheduler.create("a"), tokens) == drawn
        assert scheduler.stats().reused_tokens == 56
