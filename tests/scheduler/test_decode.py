"""Whole generations: runs of several steps, stops, constraints, cancellation and the end of the context."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, Collector, decode, feed, prompt, running, stepwise
from tests.scheduler.oracle import History

from pie.errors import ContextError, RequestError
from pie.forward import DecodeRequest, LogitMask, Sampler
from pie.mask import brle_to_bitmask
from pie.scheduler.scheduler import Scheduler


class Only:
    """A constraint that allows one set of tokens after another, and nothing after the last."""

    def __init__(self, *allowed: set[int], fails_at: int | None = None) -> None:
        self.allowed = allowed
        self.accepted: list[int] = []
        self.fails_at = fails_at

    def mask(self) -> LogitMask | None:
        if len(self.accepted) == self.fails_at:
            raise ValueError("no such rule")
        bits = np.zeros(128, np.uint8)
        bits[list(self.allowed[len(self.accepted)])] = 1
        return np.packbits(bits, bitorder="little").view(np.uint32)

    def accept(self, token_id: int) -> bool:
        self.accepted.append(token_id)
        return len(self.accepted) == len(self.allowed)

    def masks_ahead(self, token_ids: Sequence[int]) -> list[LogitMask | None]:
        return []


async def test_decodes_alone_run_several_steps_per_hand_over() -> None:
    device = FakeDevice()
    async with running(device) as scheduler:
        sink = await decode(scheduler, scheduler.create("a"), prompt(1, 5), max_tokens=200)
        assert max(batch.steps for batch in device.batches) > 1
        assert scheduler.stats().steps == 200
        assert scheduler.stats().batches < 150
        history = History()
        history.extend(prompt(1, 5))
        for token in sink.token_ids:
            assert token == history.next_token()
            history.append(token)


async def test_a_stop_token_ends_a_decode_and_is_not_passed_on() -> None:
    async with running() as scheduler:
        free = await decode(scheduler, scheduler.create("a"), prompt(1, 9), max_tokens=60)
        for index in (0, 1, 17, 40):
            stop = free.token_ids[index]
            first = free.token_ids.index(stop)
            context = scheduler.create("a")
            sink = await decode(scheduler, context, prompt(1, 9), max_tokens=60, stop_ids=frozenset({stop, 96}))
            assert (sink.token_ids, sink.reason) == (free.token_ids[:first], "stop")
            assert scheduler.describe(context).num_tokens == 9 + first


async def test_a_decode_without_limit_ends_at_the_end_of_the_context() -> None:
    async with running(FakeDevice(make_info(max_positions=50))) as scheduler:
        context = scheduler.create("a")
        sink = await decode(scheduler, context, prompt(1, 9), max_tokens=None)
        assert sink.reason == "length"
        assert len(sink.token_ids) == 50 - 9 + 1
        assert scheduler.describe(context).num_tokens == 50
        again = await decode(scheduler, context, [1], max_tokens=3)
        assert isinstance(again.error, RequestError)
        assert again.error.code == "prompt-too-long"


async def test_sampled_decodes_equal_the_loop_draw_by_draw() -> None:
    hot = Sampler(1.5)
    async with running() as scheduler:
        sink = await decode(scheduler, scheduler.create("a"), prompt(1, 9), max_tokens=50, sampler=hot, seed=4)
        loop = await stepwise(scheduler, scheduler.create("b"), prompt(1, 9), max_tokens=50, sampler=hot, seed=4)
        other = await decode(scheduler, scheduler.create("c"), prompt(1, 9), max_tokens=50, sampler=hot, seed=5)
    assert sink.token_ids == loop
    assert sink.token_ids != other.token_ids


async def test_a_static_mask_holds_in_every_step_and_for_its_decode_only() -> None:
    mask = brle_to_bitmask([20, 5], 97)
    async with running() as scheduler:
        masked, free = await asyncio.gather(
            decode(scheduler, scheduler.create("a"), prompt(1, 9), max_tokens=40, mask=mask),
            decode(scheduler, scheduler.create("a"), prompt(1, 9), max_tokens=40),
        )
        alone = await decode(scheduler, scheduler.create("a"), prompt(1, 9), max_tokens=40)
    assert set(masked.token_ids) <= set(range(20, 25))
    assert free.token_ids == alone.token_ids


async def test_a_constraint_moves_with_the_tokens_and_ends_the_decode() -> None:
    constraint = Only({1, 2}, {3}, {4, 5}, {90})
    async with running() as scheduler:
        sink = await decode(scheduler, scheduler.create("a"), prompt(1, 9), max_tokens=40, constraint=constraint)
        free = await decode(scheduler, scheduler.create("a"), prompt(1, 9), max_tokens=40)
    assert sink.reason == "complete"
    assert sink.token_ids == constraint.accepted
    assert sink.token_ids[1::2] == [3, 90]
    assert len(free.token_ids) == 40


async def test_a_mask_and_a_constraint_both_hold() -> None:
    mask = brle_to_bitmask([2, 2], 97)
    constraint = Only(*[{1, 2, 50}] * 5)
    async with running() as scheduler:
        sink = await decode(
            scheduler, scheduler.create("a"), prompt(1, 9), max_tokens=40, constraint=constraint, mask=mask
        )
    assert sink.token_ids == [2] * 5


@pytest.mark.parametrize("fails_at", [0, 1, 3])
async def test_a_constraint_that_raises_ends_its_own_decode_alone(fails_at: int) -> None:
    constraint = Only(*[{7}] * 9, fails_at=fails_at)
    async with running() as scheduler:
        context = scheduler.create("a")
        bad, good = await asyncio.gather(
            decode(scheduler, context, prompt(1, 9), max_tokens=40, constraint=constraint),
            decode(scheduler, scheduler.create("b"), prompt(1, 9), max_tokens=40),
        )
        assert isinstance(bad.error, RequestError)
        assert bad.error.code == "constraint-failed"
        assert "no such rule" in bad.error.cause
        assert bad.token_ids == [7] * fails_at
        assert good.reason == "length"
        await feed(scheduler, context, prompt(2, 3))


async def test_a_constraint_of_the_wrong_size_ends_its_decode() -> None:
    class Short:
        def mask(self) -> LogitMask | None:
            return np.ones(1, np.uint32)

        def accept(self, token_id: int) -> bool:
            return False

        def masks_ahead(self, token_ids: Sequence[int]) -> list[LogitMask | None]:
            return []

    async with running() as scheduler:
        sink = await decode(scheduler, scheduler.create("a"), prompt(1, 9), max_tokens=40, constraint=Short())
    assert isinstance(sink.error, RequestError)
    assert sink.error.code == "bad-mask"


async def test_a_sink_that_raises_ends_its_own_decode_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Collector):
        def tokens(self, token_ids: Sequence[int]) -> None:
            raise RuntimeError("cannot take it")

    async with running() as scheduler:
        context = scheduler.create("a")
        request = DecodeRequest(context, prompt(1, 9), GREEDY, 40, frozenset(), 0)
        scheduler.decode(request, Broken())
        good = await decode(scheduler, scheduler.create("b"), prompt(1, 9), max_tokens=40)
        assert good.reason == "length"
        await feed(scheduler, context, prompt(2, 3))
    assert "cannot take it" in caplog.text


async def test_a_failed_draw_ends_its_decode_alone() -> None:
    device = FakeDevice()
    async with running(device) as scheduler:
        sinks = [Collector(), Collector()]
        for owner, sink in zip("ab", sinks, strict=True):
            request = DecodeRequest(scheduler.create(owner), prompt(1, 9), GREEDY, 40, frozenset(), 0)
            scheduler.decode(request, sink)
        while len(sinks[0].token_ids) < 5:
            await asyncio.sleep(0)
        device.fail_samplers = {0: "not a number"}
        await asyncio.gather(*(sink.done.wait() for sink in sinks))
    assert isinstance(sinks[0].error, RequestError)
    assert sinks[0].error.code == "readout-failed"
    assert sinks[1].reason == "length"
    assert sinks[1].token_ids[: len(sinks[0].token_ids)] == sinks[0].token_ids


async def test_a_failed_step_ends_its_decodes_and_their_contexts_stay_whole() -> None:
    device = FakeDevice()
    async with running(device) as scheduler:
        context, sink = scheduler.create("a"), Collector()
        scheduler.decode(DecodeRequest(context, prompt(1, 9), GREEDY, 40, frozenset(), 0), sink)
        while len(sink.token_ids) < 5:
            await asyncio.sleep(0)
        device.fail_next = OSError("gone")
        await sink.done.wait()
        assert isinstance(sink.error, RequestError)
        assert sink.error.code == "step-failed"
        made = len(sink.token_ids)
        assert scheduler.describe(context).num_tokens == 9 + made - 1
        rest = await decode(scheduler, context, [sink.token_ids[-1]], max_tokens=40 - made)
        whole = await decode(scheduler, scheduler.create("b"), prompt(1, 9), max_tokens=40)
        assert sink.token_ids + rest.token_ids == whole.token_ids


async def test_a_cancelled_decode_is_silent_and_its_context_goes_on() -> None:
    async with running() as scheduler:
        whole = await decode(scheduler, scheduler.create("b"), prompt(1, 9), max_tokens=40)
        context, sink = scheduler.create("a"), Collector()
        handle = scheduler.decode(DecodeRequest(context, prompt(1, 9), GREEDY, 40, frozenset(), 0), sink)
        while len(sink.token_ids) < 12:
            await asyncio.sleep(0)
        handle.cancel()
        handle.cancel()
        made = list(sink.token_ids)
        rest = await decode(scheduler, context, [made[-1]], max_tokens=40 - len(made))
        assert sink.token_ids == made
        assert not sink.done.is_set()
        assert made + rest.token_ids == whole.token_ids


async def test_a_decode_may_be_cancelled_by_its_own_sink() -> None:
    class Enough(Collector):
        def tokens(self, token_ids: Sequence[int]) -> None:
            super().tokens(token_ids)
            if len(self.token_ids) >= 3:
                handle.cancel()

    async with running() as scheduler:
        context, sink = scheduler.create("a"), Enough()
        handle = scheduler.decode(DecodeRequest(context, prompt(1, 9), GREEDY, 40, frozenset(), 0), sink)
        while len(sink.token_ids) < 3:
            await asyncio.sleep(0)
        await scheduler.truncate(context, 0)
        assert not sink.done.is_set()


async def test_a_context_may_be_destroyed_while_a_step_extends_it() -> None:
    device = FakeDevice()
    async with running(device) as scheduler:
        context, sink = scheduler.create("a"), Collector()
        scheduler.decode(DecodeRequest(context, prompt(1, 9), GREEDY, 40, frozenset(), 0), sink)
        while not sink.token_ids:
            await asyncio.sleep(0)
        device.gate = asyncio.Event()
        while not scheduler._stepper._flight:
            await asyncio.sleep(0)
        fork = asyncio.ensure_future(scheduler.fork(context, owner="b"))
        await asyncio.sleep(0)
        scheduler.release_owner("a")
        assert scheduler.ledger().held > 0
        scheduler.check()
        device.gate.set()
        with pytest.raises(ContextError, match="context-destroyed"):
            await fork
        await sink.done.wait()
        assert isinstance(sink.error, ContextError)
        while scheduler.ledger().held:
            await asyncio.sleep(0)


async def test_what_a_decode_extends_cannot_be_truncated() -> None:
    async with running() as scheduler:
        context, sink = scheduler.create("a"), Collector()
        handle = scheduler.decode(DecodeRequest(context, prompt(1, 9), GREEDY, None, frozenset(), 0), sink)
        while not sink.token_ids:
            await asyncio.sleep(0)
        with pytest.raises(ContextError, match="context-busy"):
            await scheduler.truncate(context, 1)
        handle.cancel()


async def test_pages_reserved_before_a_decode_are_kept_after_it() -> None:
    async with running() as scheduler:
        context = scheduler.create("a")
        await scheduler.reserve(context, 12)
        await decode(scheduler, context, prompt(1, 9), max_tokens=4)
        info = scheduler.describe(context)
        assert info.committed_pages + info.working_pages == 12


async def test_more_decodes_than_rows_take_turns() -> None:
    async with running(max_batch_rows=3) as scheduler:
        sinks = [Collector() for _ in range(10)]
        for number, sink in enumerate(sinks):
            request = DecodeRequest(scheduler.create(f"o{number}"), (number,), GREEDY, 60, frozenset(), 0)
            scheduler.decode(request, sink)
        while not all(len(sink.token_ids) > 20 for sink in sinks):
            await asyncio.sleep(0)
            lengths = [len(sink.token_ids) for sink in sinks if sink.token_ids]
            assert not lengths or max(lengths) - min(lengths) <= 64
        await asyncio.gather(*(sink.done.wait() for sink in sinks))


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("empty-pass", {"token_ids": ()}),
        ("bad-token", {"token_ids": (97,)}),
        ("bad-request", {"max_tokens": 0}),
        ("bad-request", {"sampler": Sampler(0.0, draws=2)}),
        ("bad-request", {"counter": -1}),
        ("bad-mask", {"mask": np.zeros(1, np.uint32)}),
    ],
)
async def test_a_decode_that_is_not_well_formed_is_refused_at_once(code: str, changes: dict[str, object]) -> None:
    async with running() as scheduler:
        values: dict[str, object] = {
            "context": scheduler.create("a"),
            "token_ids": (1,),
            "sampler": GREEDY,
            "max_tokens": 3,
            "stop_ids": frozenset(),
            "seed": 0,
        }
        with pytest.raises(RequestError, match=code):
            scheduler.decode(DecodeRequest(**{**values, **changes}), Collector())  # type: ignore[arg-type]


async def test_everything_fails_with_a_clear_error_when_the_server_ends() -> None:
    device = FakeDevice()
    scheduler = Scheduler(device, snapshot_dir=None)
    loop = asyncio.ensure_future(scheduler.run())
    sinks = [Collector() for _ in range(3)]
    context = scheduler.create("a")
    for sink in sinks:
        scheduler.decode(DecodeRequest(context, prompt(1, 9), GREEDY, None, frozenset(), 0), sink)
    while not sinks[0].token_ids:
        await asyncio.sleep(0)
    waiting = asyncio.ensure_future(feed(scheduler, scheduler.create("b"), prompt(1, 9)))
    await asyncio.sleep(0)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    for sink in sinks:
        assert isinstance(sink.error, RequestError)
        assert sink.error.code == "shutting-down"
    with pytest.raises(RequestError, match="shutting-down"):
        await waiting
    with pytest.raises(RequestError, match="shutting-down"):
        await feed(scheduler, scheduler.create("b"), prompt(1, 9))
    scheduler.check()


async def test_a_decode_that_stops_early_gives_back_the_pages_it_took_ahead() -> None:
    async with running() as scheduler:
        free = await decode(scheduler, scheduler.create("a"), prompt(1, 9), max_tokens=100)
        stop = free.token_ids[70]
        length = free.token_ids.index(stop)
        context, other = scheduler.create("a"), scheduler.create("b", salt="other")
        await decode(scheduler, context, prompt(1, 9), max_tokens=400, stop_ids=frozenset({stop}))
        assert len(await stepwise(scheduler, other, prompt(1, 9), max_tokens=400, stop_ids=frozenset({stop}))) == length
        assert scheduler.describe(context) == scheduler.describe(other)


async def test_pages_reserved_and_released_during_a_decode_are_counted_after_it() -> None:
    async with running() as scheduler:
        context, sink = scheduler.create("a"), Collector()
        scheduler.decode(DecodeRequest(context, prompt(1, 9), GREEDY, 30, frozenset(), 0), sink)
        while not sink.token_ids:
            await asyncio.sleep(0)
        await scheduler.reserve(context, 40)
        while len(sink.token_ids) < 20:
            await asyncio.sleep(0)
        scheduler.release(context, 5)
        await sink.done.wait()
        info = scheduler.describe(context)
        assert info.committed_pages + info.working_pages == 35 + 0


async def test_pages_released_under_a_decode_are_not_written_by_it() -> None:
    async with running() as scheduler:
        whole = await decode(scheduler, scheduler.create("w", salt="w"), prompt(1, 9), max_tokens=60)
        context, sink, other = scheduler.create("a"), Collector(), scheduler.create("b")
        await scheduler.reserve(context, 25)
        scheduler.decode(DecodeRequest(context, prompt(1, 9), GREEDY, 60, frozenset(), 0), sink)
        history, num_released = History(), 0
        while not sink.done.is_set():
            await asyncio.sleep(0)
            if sink.token_ids and not num_released:
                scheduler.release(context, 8)
                num_released = 8
            if len(history) < 60:
                history.extend(prompt(len(history), 3))
                assert await feed(scheduler, other, prompt(len(history) - 3, 3)) == history.next_token()
        assert num_released == 8
        assert sink.token_ids == whole.token_ids


async def test_any_seed_counter_and_stop_token_is_taken() -> None:
    async with running() as scheduler:
        for seed, counter in ((-1, 0), (1 << 70, (1 << 64) - 3)):
            sink = Collector()
            stop_ids = frozenset({-5, 1 << 40})
            request = DecodeRequest(scheduler.create("a"), (1,), Sampler(1.0), 9, stop_ids, seed, counter)
            scheduler.decode(request, sink)
            await sink.done.wait()
            assert sink.reason == "length"
