"""A decode run equals the same steps taken one by one: tokens, stops, limits, pages and failures."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.batches import Draw, Feed, Held, decode_batch, make_batch
from tests.engine.conftest import MakeEngine

from pie.engine.engine import Engine
from pie.errors import DeviceOutOfMemory
from pie.forward import Batch, Progress, Sampler, StepResult

SAMPLERS = [Sampler(0), Sampler(1.0), Sampler(0.8, top_k=20), Sampler(1.2, top_p=0.9), Sampler(1.5, min_p=0.05)]
SAMPLERS_OF_RUN = st.lists(st.sampled_from(SAMPLERS), min_size=1, max_size=7)


def feeds_of(samplers: list[Sampler], *, first_page: int) -> list[Feed]:
    odd_only = np.full(10, 0xAAAAAAAA, np.uint32)
    return [
        Feed(
            Held([first_page + 3 * i, first_page + 3 * i + 1, first_page + 3 * i + 2], length=0),
            [30 + i],
            [Draw(sampler, seed=1000 + i, counter=5, mask=odd_only if i % 3 == 2 else None)],
        )
        for i, sampler in enumerate(samplers)
    ]


def one_by_one(
    engine: Engine, feeds: list[Feed], steps: int, limits: list[int], stops: list[list[int]]
) -> list[list[int]]:
    made: list[list[int]] = [[] for _ in feeds]
    going = list(range(len(feeds)))
    for _ in range(steps):
        batch = make_batch([feeds[i] for i in going], vocab_size=320)
        for i, token in zip(going, engine.step(batch).tokens[:, 0].tolist(), strict=True):
            made[i].append(token)
            draw = feeds[i].draws[0]
            feeds[i] = replace(feeds[i], tokens=[token], draws=[replace(draw, counter=draw.counter + 1)])
        going = [i for i in going if len(made[i]) < limits[i] and made[i][-1] not in stops[i]]
        if not going:
            break
    return made


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(samplers=SAMPLERS_OF_RUN, steps=st.integers(2, 30), data=st.data())
def test_a_decode_run_equals_single_steps(
    engine: Engine, samplers: list[Sampler], steps: int, data: st.DataObject
) -> None:
    count = len(samplers)
    limits = data.draw(st.lists(st.integers(1, 40), min_size=count, max_size=count))
    stops = data.draw(st.lists(st.lists(st.integers(0, 319), max_size=60), min_size=count, max_size=count))
    single, run = feeds_of(samplers, first_page=0), feeds_of(samplers, first_page=30)
    expected = one_by_one(engine, list(single), steps, limits, stops)
    result = engine.step(decode_batch(run, vocab_size=320, steps=steps, limits=limits, stops=stops))
    got = [row[:num].tolist() for row, num in zip(result.tokens, result.num_tokens, strict=True)]
    assert got == expected
    assert result.tokens.shape == (count, steps)
    for one, other, tokens in zip(single, run, expected, strict=True):
        kept = [
            engine._backend.read_pages(feed.sequence.pages).flatten(2, 3)[:, :, : len(tokens)] for feed in (one, other)
        ]
        assert torch.equal(*kept)


def test_samplers_and_rows_of_a_run_may_stand_in_any_order(engine: Engine) -> None:
    feeds = feeds_of(SAMPLERS, first_page=0)
    plain = decode_batch(feeds, vocab_size=320, steps=6, limits=[6, 5, 4, 3, 2], stops=[[]] * 5)
    order = np.array([3, 0, 4, 1, 2])
    mixed = replace(plain, logit_rows=order.astype(np.int32), sampler_rows=np.argsort(order).astype(np.int32))
    expected, got = engine.step(plain), engine.step(mixed)
    np.testing.assert_array_equal(got.tokens, expected.tokens)
    np.testing.assert_array_equal(got.num_tokens, [6, 5, 4, 3, 2])


def test_a_row_that_fails_in_a_run_fails_alone(engine: Engine) -> None:
    feeds = feeds_of([Sampler(0), Sampler(-1.0), Sampler(0)], first_page=0)
    result = engine.step(decode_batch(feeds, vocab_size=320, steps=4, limits=[4] * 3, stops=[[]] * 3))
    assert list(result.failures) == [1]
    assert result.num_tokens.tolist() == [4, 0, 4]


def test_a_run_that_must_land_ends_with_the_step_in_work_and_goes_on_from_there(engine: Engine) -> None:
    """What it has drawn is what the whole run would have, and a second run draws the rest."""
    limits = [9, 1, 9, 6, 9]
    stops: list[list[int]] = [[]] * 5
    whole = engine.step(
        decode_batch(feeds_of(SAMPLERS, first_page=0), vocab_size=320, steps=9, limits=limits, stops=stops)
    )
    feeds = feeds_of(SAMPLERS, first_page=30)
    progress = Progress.of(5, 9)
    progress.landing[0] = 1
    first = engine.step(decode_batch(feeds, vocab_size=320, steps=9, limits=limits, stops=stops), progress)
    assert first.tokens.tolist() == whole.tokens[:, :1].tolist()
    assert first.num_tokens.tolist() == progress.num_tokens.tolist() == [1] * 5
    assert progress.num_steps.tolist() == [1]
    rest = [
        replace(feed, tokens=[int(token)], draws=[replace(feed.draws[0], counter=feed.draws[0].counter + 1)])
        for feed, token in zip(feeds, first.tokens[:, 0], strict=True)
    ]
    going = [0, 2, 3, 4]
    batch = decode_batch([rest[i] for i in going], vocab_size=320, steps=8, limits=[8, 8, 5, 8], stops=[[]] * 4)
    second = engine.step(batch, Progress.of(4, 8))
    assert second.num_tokens.tolist() == [8, 8, 5, 8]
    for row, number in enumerate(going):
        count = limits[number] - 1
        assert second.tokens[row, :count].tolist() == whole.tokens[number, 1 : 1 + count].tolist()


def test_a_run_tells_how_far_it_is_while_it_lasts(engine: Engine) -> None:
    feeds = feeds_of(SAMPLERS, first_page=0)
    batch = decode_batch(feeds, vocab_size=320, steps=40, limits=[40] * 5, stops=[[]] * 5)
    expected = engine.step(batch).tokens
    progress, results = Progress.of(5, 40), list[StepResult]()
    worker = threading.Thread(target=lambda: results.append(engine.step(batch, progress)))
    worker.start()
    seen = 0
    while worker.is_alive() and seen < 5:
        seen = int(progress.num_steps[0])
        assert (progress.num_tokens >= seen).all()
        np.testing.assert_array_equal(progress.tokens[:, :seen], expected[:, :seen])
    progress.landing[0] = 1
    worker.join()
    (result,) = results
    done = int(progress.num_steps[0])
    assert seen <= done <= 40
    assert result.num_tokens.tolist() == [done] * 5
    np.testing.assert_array_equal(result.tokens, expected[:, :done])


def test_a_run_that_runs_short_of_memory_late_gives_what_it_has(make_engine: MakeEngine) -> None:
    engine = make_engine()
    if engine.backend == "native":
        pytest.skip("it takes all its memory in the first step")
    feeds = feeds_of(SAMPLERS, first_page=0)
    batch = decode_batch(feeds, vocab_size=320, steps=9, limits=[9] * 5, stops=[[]] * 5)
    expected = engine.step(batch).tokens
    name = "_launch" if engine.backend == "flashinfer" else "forward"
    real, calls = getattr(engine._backend, name), list[object]()

    def short(*args: object) -> object:
        calls.append(args)
        if len(calls) == 4:
            raise MemoryError
        return real(*args)

    setattr(engine._backend, name, short)
    result = engine.step(batch, Progress.of(5, 9))
    assert result.num_tokens.tolist() == [3] * 5
    np.testing.assert_array_equal(result.tokens, expected[:, :3])
    calls.clear()
    with pytest.raises(DeviceOutOfMemory):
        engine.step(batch)


def run_of_one(engine: Engine, **changes: object) -> Batch:
    feed = Feed(Held([0, 1], length=20), [5], [Draw()])
    batch = decode_batch([feed], vocab_size=320, steps=4, limits=[4], stops=[[]])
    return replace(batch, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"step_limits": np.array([0], np.int32)},
        {"step_limits": np.array([4, 4], np.int32)},
        {"stop_ids": ()},
        {"kv_index": np.array([29], np.int32)},  # the third token would need another page
        {"positions": np.array([1021], np.int32)},
        {"steps": 0},
    ],
)
def test_a_run_that_would_leave_its_pages_or_positions_is_refused(
    make_engine: MakeEngine, changes: dict[str, object]
) -> None:
    from pie.errors import RequestError

    engine = make_engine()
    engine.step(run_of_one(engine))
    with pytest.raises(RequestError, match="bad-batch"):
        engine.step(run_of_one(engine, **changes))
