"""Probes read what the logits say, and never change what is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.engine.batches import Draw, Feed, Held, make_batch

from pie.adjustment import Adjustment
from pie.engine.backend import HostOutputs
from pie.engine.engine import Engine
from pie.engine.probes import ProbeFailure, read_probes
from pie.forward import Distribution, Embedding, Entropy, Logits, Logprobs, Probe, Sampler

ROWS = arrays(np.float32, (3, 20), elements=st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0]) | st.floats(-20, 20, width=32))


def outputs_of(logits: npt.NDArray[np.float32]) -> HostOutputs:
    return HostOutputs(np.arange(len(logits) * 4, dtype=np.float32).reshape(-1, 4), logits.astype(np.float32))


@given(logits=ROWS, k=st.integers(0, 25), temperature=st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_a_distribution_ranks_by_probability_then_id(
    logits: npt.NDArray[np.float32], k: int, temperature: float
) -> None:
    value = read_probes(outputs_of(logits), [(1, Distribution(temperature, k))])[0]
    assert isinstance(value, tuple)
    ids, probabilities = value
    row = logits[1].astype(np.float64)
    expected = sorted(range(20), key=lambda token: (-row[token], token))[: k or 20]
    assert ids.tolist() == expected
    weights = np.exp((row - row.max()) / temperature) if temperature else (np.arange(20) == row.argmax()) * 1.0
    np.testing.assert_allclose(probabilities, (weights / weights.sum())[expected], rtol=1e-6)


@given(logits=ROWS)
def test_log_probabilities_and_entropy_are_those_of_the_softmax(logits: npt.NDArray[np.float32]) -> None:
    probes: list[tuple[int, Probe]] = [(0, Logprobs((3, 3, 19))), (2, Entropy()), (0, Logits()), (1, Embedding())]
    logprobs, entropy, raw, hidden = read_probes(outputs_of(logits), probes)
    exact = logits.astype(np.float64) - np.log(np.exp(logits.astype(np.float64)).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(np.asarray(logprobs, np.float64), exact[0, [3, 3, 19]], rtol=1e-6, atol=1e-6)
    assert entropy == pytest.approx(-(np.exp(exact[2]) * exact[2]).sum(), abs=1e-9)
    np.testing.assert_array_equal(raw, logits[0])
    np.testing.assert_array_equal(hidden, [4, 5, 6, 7])


def test_probes_fail_alone() -> None:
    logits = np.zeros((3, 20), np.float32)
    logits[1, 4] = np.nan
    probes: list[tuple[int, Probe]] = [(0, Entropy()), (1, Entropy()), (1, Logits()), (2, Logprobs((20,)))]
    probes += [(2, Distribution(-1.0, 3)), (2, Logprobs((-1,))), (2, Logprobs((1,)))]
    failed = [isinstance(value, ProbeFailure) for value in read_probes(outputs_of(logits), probes)]
    assert failed == [False, True, True, True, True, True, False]


def test_an_impossible_token_has_no_entropy() -> None:
    logits = np.array([[0.0, 0.0, -np.inf]], np.float32)
    assert read_probes(outputs_of(logits), [(0, Entropy())])[0] == pytest.approx(np.log(2))


def test_a_step_answers_probes_in_order_and_names_failures_after_the_samplers(engine: Engine) -> None:
    feeds = [
        Feed(Held([0]), [5, 6], [Draw(mask=np.zeros(10, np.uint32)), Draw()], probes=[Logprobs((400,)), Entropy()]),
        Feed(Held([1]), [7], [Draw()], probes=[Embedding()]),
    ]
    result = engine.step(make_batch(feeds, vocab_size=320))
    assert sorted(result.failures) == [0, 3]
    assert "forbids every token" in result.failures[0]
    assert result.probes[0] is None
    assert isinstance(result.probes[1], float)
    assert np.shape(result.probes[2]) == (64,)  # type: ignore[arg-type]
    assert result.num_tokens.tolist() == [0, 1, 1]


def test_what_the_samplers_that_ask_drew_is_told_with_the_log_softmax(engine: Engine) -> None:
    forbidding = Draw(mask=np.zeros(10, np.uint32))
    steered = Draw(Sampler(5.0), seed=4, adjustment=Adjustment(logit_bias=((9, 50.0),)))
    feeds = [
        Feed(Held([0]), [5, 6], [Draw(), forbidding, steered], probes=[Logits()]),
        Feed(Held([1]), [7], [Draw(Sampler(3.0), seed=2, mask=np.full(10, 2, np.uint32)), Draw()], probes=[Logits()]),
    ]
    batch = replace(make_batch(feeds, vocab_size=320), logprobs=np.array([3, 3, 0, 320, -1], np.int32))
    result = engine.step(batch)
    assert sorted(result.logprobs) == [0, 2, 3]
    for sampler, told in result.logprobs.items():
        logits = np.asarray(result.probes[int(batch.sampler_rows[sampler])], np.float64)
        exact = logits - np.log(np.exp(logits).sum())
        assert told.logprob == pytest.approx(exact[result.tokens[sampler, 0]], abs=1e-5)
        order = sorted(range(320), key=lambda token: (-exact[token], token))[: (3, 3, 0, 320)[sampler]]
        assert [token for token, _ in told.top] == order
        np.testing.assert_allclose([value for _, value in told.top], exact[order], atol=1e-5)
    assert result.tokens[2, 0] == 9
    assert engine.step(make_batch(feeds, vocab_size=320)).logprobs == {}


def test_several_draws_from_one_row_use_a_counter_each(engine: Engine) -> None:
    draws = [Draw(Sampler(5.0), seed=3, counter=counter) for counter in range(40)]
    together = engine.step(make_batch([Feed(Held([0]), [5, 6], draws)], vocab_size=320)).tokens[:, 0].tolist()
    assert len(set(together)) > 10
    alone = engine.step(make_batch([Feed(Held([0]), [5, 6], draws[7:8])], vocab_size=320)).tokens[0, 0]
    assert alone == together[7]
