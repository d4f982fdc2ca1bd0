"""Rows see exactly the keys they may: any mixture of sequences, masks, positions and page orders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.batches import Feed, Held, make_batch
from tests.engine.conftest import IN_HALF_PRECISION, ON_CPU, ON_GPU, ON_LIBRARY, AnyBackend, MakeEngine, tolerance
from tests.engine.reference_model import reference_logits

from pie.engine.engine import Engine
from pie.forward import Logits
from pie.testing import Family

Models = Callable[[Family], Path]


@pytest.fixture(params=[*ON_CPU, ON_LIBRARY, ON_GPU])
def backend(request: pytest.FixtureRequest) -> AnyBackend:
    choice: AnyBackend = request.param
    return choice


def close(got: object, expected: npt.NDArray[np.float64], backend: AnyBackend) -> bool:
    return bool(np.abs(np.asarray(got) - expected).max() <= tolerance(backend) * np.abs(expected).max())


def all_logits(engine: Engine, feeds: list[Feed]) -> list[npt.NDArray[np.float32]]:
    """Logits of each feed's rows."""
    result = engine.step(make_batch(feeds, vocab_size=engine.info.vocab_size))
    flat = iter(result.probes)
    return [np.stack([np.asarray(next(flat), np.float32) for _ in feed.tokens]) for feed in feeds]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, 70), cut=st.integers(0, 69), share=st.floats(0, 1))
def test_masked_rows_see_what_their_masks_say(
    engine: Engine, models: Models, backend: AnyBackend, seed: int, length: int, cut: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 320, length).tolist()
    visible = np.tril(rng.random((length, length)) < share)
    cut = min(cut, length - 1)
    visible[:cut] = np.tril(np.ones((cut, length), np.bool_))  # the first part goes in without a mask
    held = Held(rng.permutation(64)[:5].tolist())
    got = [] if not cut else all_logits(engine, [Feed(held, tokens[:cut], probes=[Logits()], probe_rows="all")])
    masks = np.array([np.pad(row, (0, 3), constant_values=True) for row in visible[cut:]])  # what is beyond is unseen
    feed = Feed(held, tokens[cut:], probes=[Logits()], probe_rows="all", visible=masks)
    got += all_logits(engine, [feed])
    expected = reference_logits(models("qwen3"), tokens, list(range(length)), visible)
    assert close(np.concatenate(got), expected, backend)


def test_a_row_that_may_see_nothing_is_computed_from_itself_alone(
    engine: Engine, models: Models, backend: AnyBackend
) -> None:
    visible = np.tril(np.ones((20, 20), np.bool_))
    visible[7] = False
    feed = Feed(Held([3, 9]), list(range(20)), probes=[Logits()], probe_rows="all", visible=visible)
    expected = reference_logits(models("qwen3"), list(range(20)), list(range(20)), visible)
    assert close(all_logits(engine, [feed])[0], expected, backend)


def test_masked_and_causal_rows_share_a_batch(engine: Engine, models: Models, backend: AnyBackend) -> None:
    rng = np.random.default_rng(0)
    prompts = [rng.integers(0, 320, length).tolist() for length in (19, 40, 5, 33)]
    masks = [None, np.tril(rng.random((40, 40)) < 0.6), None, np.tril(rng.random((33, 33)) < 0.3)]
    feeds = [
        Feed(Held([4 * i, 4 * i + 2, 4 * i + 1]), prompt, probes=[Logits()], probe_rows="all", visible=mask)
        for i, (prompt, mask) in enumerate(zip(prompts, masks, strict=True))
    ]
    for got, prompt, mask in zip(all_logits(engine, feeds), prompts, masks, strict=True):
        length = len(prompt)
        visible = np.tril(np.ones((length, length), np.bool_)) if mask is None else mask
        assert close(got, reference_logits(models("qwen3"), prompt, list(range(length)), visible), backend)


def test_positions_may_have_gaps_and_repeat(engine: Engine, models: Models, backend: AnyBackend) -> None:
    positions = [0, 5, 5, 9, 3, 1000, 1000, 1001]
    tokens = [7, 8, 9, 10, 11, 12, 13, 14]
    feed = Feed(Held([1]), tokens, probes=[Logits()], probe_rows="all", positions=positions)
    expected = reference_logits(models("qwen3"), tokens, positions, np.tril(np.ones((8, 8), np.bool_)))
    assert close(all_logits(engine, [feed])[0], expected, backend)


def test_a_sequence_may_be_fed_in_any_order_of_rows_and_beside_another_of_the_same_pages(
    engine: Engine, models: Models, backend: AnyBackend
) -> None:
    tokens = list(range(50, 80))
    held = Held([6, 2])
    all_logits(engine, [Feed(held, tokens[:20], probes=[Logits()], probe_rows="all")])
    twins = [Held([6, 9], 20), Held([6, 11], 20)]  # both continue the shared first page and their own copy of the next
    batch = make_batch(
        [Feed(twin, tokens[20:], probes=[Logits()]) for twin in twins],
        vocab_size=320,
        page_copies=[(2, 9), (2, 11)],
    )
    expected = reference_logits(models("qwen3"), tokens, list(range(30)), np.tril(np.ones((30, 30), np.bool_)))
    for value in engine.step(batch).probes:
        assert close(value, expected[-1], backend)


@pytest.mark.parametrize("family", ["qwen3", "qwen2"])
def test_a_broken_neighbour_leaves_no_trace_in_pages_it_held_before(
    make_engine: MakeEngine, backend: AnyBackend, family: Family
) -> None:
    for dtype in ("float32", "bfloat16") if backend not in IN_HALF_PRECISION else ("bfloat16",):
        engine = make_engine(family, dtype=dtype)
        clean = all_logits(engine, [Feed(Held([0, 1]), list(range(17)), probes=[Logits()], probe_rows="all")])[0]
        shape = engine._backend.read_pages([2, 3]).shape
        poison = engine._backend.read_pages([2, 3]).new_full(shape, float("nan"))
        engine._backend.write_pages([2, 3], poison)
        got = all_logits(engine, [Feed(Held([2, 3]), list(range(17)), probes=[Logits()], probe_rows="all")])[0]
        np.testing.assert_array_equal(got, clean)
