"""Penalties and biases do what their definitions say, in both samplers, and in a run as in single steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.batches import Draw, Feed, Held, adjustments_of, decode_batch, make_batch
from tests.engine.test_decode_run import SAMPLERS
from tests.engine.test_sampling import NativeSampler, draws_of, native

from pie.adjustment import Adjustment
from pie.engine.adjusting import adjust
from pie.engine.backend import DrawStatus
from pie.engine.engine import Engine
from pie.engine.sampling import draw_tokens
from pie.errors import RequestError
from pie.forward import Sampler

__all__ = ["native"]

VOCAB = 60
TOKENS = st.integers(0, VOCAB - 1)
PENALTIES = st.floats(-2, 2, width=32)
ADJUSTMENTS = st.builds(
    Adjustment,
    repetition_penalty=st.floats(0.5, 4, width=32),
    frequency_penalty=PENALTIES,
    presence_penalty=PENALTIES,
    logit_bias=st.dictionaries(TOKENS, st.floats(-100, 100, width=32), max_size=5).map(
        lambda biases: tuple(biases.items())
    ),
)
COUNTS = st.dictionaries(TOKENS, st.integers(0, 30), max_size=20)


def by_the_words(logits: list[float], adjustment: Adjustment, counts: dict[int, int]) -> npt.NDArray[np.float32]:
    """The adjusted row, token by token, from the words of `Adjustment`."""
    row = np.array(logits, np.float32)
    for token, count in counts.items():
        value = float(row[token])
        value = value / adjustment.repetition_penalty if value > 0 else value * adjustment.repetition_penalty
        value -= count * adjustment.frequency_penalty + (count > 0) * adjustment.presence_penalty
        row[token] = value
    for token, bias in adjustment.logit_bias:
        row[token] = float(row[token]) + bias
    return row


@given(st.lists(st.floats(-30, 30, width=32), min_size=VOCAB, max_size=VOCAB), ADJUSTMENTS, COUNTS)
def test_each_number_does_what_its_definition_says(
    logits: list[float], adjustment: Adjustment, counts: dict[int, int]
) -> None:
    rows = np.array([logits, logits], np.float32)
    adjustments = adjustments_of([Draw(), Draw(adjustment=adjustment, counts=counts)])
    assert adjustments is not None
    adjust(rows, adjustments)
    np.testing.assert_array_equal(rows[0], np.array(logits, np.float32))
    np.testing.assert_array_equal(rows[1], by_the_words(logits, adjustment, counts))


@settings(max_examples=60, deadline=None)
@given(
    logits=st.lists(
        st.floats(-30, 30, width=32) | st.sampled_from([-np.inf, 0.0, -0.0, 3e38]), min_size=VOCAB, max_size=VOCAB
    ),
    samplers=st.lists(st.tuples(st.sampled_from(SAMPLERS), st.none() | ADJUSTMENTS, COUNTS), min_size=1, max_size=5),
    masked=st.booleans(),
)
def test_both_samplers_draw_the_same_adjusted_tokens(
    native: NativeSampler,
    logits: list[float],
    samplers: list[tuple[Sampler, Adjustment | None, dict[int, int]]],
    masked: bool,
) -> None:
    masks: list[list[int] | None] = [list(range(0, VOCAB, 3)) if masked else None] * len(samplers)
    draws = draws_of([sampler for sampler, *_ in samplers], masks=masks, vocab_size=VOCAB)
    adjustments = adjustments_of([Draw(adjustment=one, counts=counts) for _, one, counts in samplers])
    rows = np.array([logits] * len(samplers), np.float32)
    expected = draw_tokens(rows, replace(draws, adjustments=adjustments))
    got = native(rows, replace(draws, adjustments=adjustments))
    np.testing.assert_array_equal(got.status, expected.status)
    np.testing.assert_array_equal(got.tokens, expected.tokens)
    plain = [number for number, (_, one, _) in enumerate(samplers) if one is None]
    np.testing.assert_array_equal(got.tokens[plain], native(rows, draws).tokens[plain])


def test_a_sampler_whose_logits_leave_the_floats_fails_alone(native: NativeSampler) -> None:
    rows = np.full((2, VOCAB), 3e38, np.float32)
    adjustments = adjustments_of([Draw(), Draw(adjustment=Adjustment(0.01), counts={3: 0})])
    for draw in (native, draw_tokens):
        status = draw(rows, replace(draws_of([Sampler(1.0)] * 2, vocab_size=VOCAB), adjustments=adjustments)).status
        assert status.tolist() == [DrawStatus.DRAWN, DrawStatus.NOT_FINITE]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    samplers=st.lists(st.tuples(st.sampled_from(SAMPLERS), st.none() | ADJUSTMENTS, COUNTS), min_size=1, max_size=6),
    steps=st.integers(2, 20),
)
def test_a_run_counts_what_it_draws(
    engine: Engine, samplers: list[tuple[Sampler, Adjustment | None, dict[int, int]]], steps: int
) -> None:
    def feeds(first_page: int) -> list[Feed]:
        return [
            Feed(
                Held([first_page + 2 * i, first_page + 2 * i + 1]),
                [30 + i],
                [Draw(one, i, 5, None, adjustment, counts)],
            )
            for i, (one, adjustment, counts) in enumerate(samplers)
        ]

    count = len(samplers)
    limits = [steps - i % 2 for i in range(count)]
    run = engine.step(decode_batch(feeds(0), vocab_size=320, steps=steps, limits=limits, stops=[[]] * count))
    for i, alone in enumerate(feeds(30)):
        made: list[int] = []
        while len(made) < limits[i]:
            made.append(int(engine.step(make_batch([alone], vocab_size=320)).tokens[0, 0]))
            (draw,) = alone.draws
            counts = dict(draw.counts) | {made[-1]: draw.counts.get(made[-1], 0) + 1}
            alone = replace(alone, tokens=made[-1:], draws=[replace(draw, counter=draw.counter + 1, counts=counts)])
        assert run.tokens[i, : run.num_tokens[i]].tolist() == made


@pytest.mark.parametrize(
    "changes",
    [
        {"samplers": np.array([1], np.int32)},
        {"token_ids": np.array([320, 1], np.int32)},
        {"bias_ids": np.array([-1], np.int32)},
        {"token_starts": np.array([0, 3], np.int32)},
        {"token_starts": np.array([1, 2], np.int32)},
        {"bias_starts": np.array([0], np.int32)},
        {"counts": np.array([1], np.int32)},
        {"biases": np.array([np.nan], np.float32)},
        {"repetition": np.array([0], np.float32)},
        {"presence": np.array([0, 1], np.float32)},
    ],
)
def test_adjustments_that_do_not_fit_are_refused(engine: Engine, changes: dict[str, npt.NDArray[np.generic]]) -> None:
    draw = Draw(adjustment=Adjustment(2.0, 1.0, 1.0, ((5, 1.0),)), counts={3: 1, 4: 0})
    batch = make_batch([Feed(Held([0, 1]), [5], [draw])], vocab_size=320)
    assert batch.adjustments is not None
    engine.step(batch)
    with pytest.raises(RequestError, match="bad-batch"):
        engine.step(replace(batch, adjustments=replace(batch.adjustments, **changes)))  # type: ignore[arg-type]
