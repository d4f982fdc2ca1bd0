"""The sampler for the device draws from the numbers of the definition, and adjusts and masks as it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.batches import Draw, adjustments_of
from tests.engine.test_adjusting import ADJUSTMENTS, COUNTS, VOCAB
from tests.engine.test_sampling import draw_in_torch, draws_of

from pie.adjustment import Adjustment
from pie.engine.flashinfer_backend.device_sampling import uniforms_on_device
from pie.engine.sampling import draw_tokens, uniforms
from pie.forward import Sampler

UINT64 = st.integers(0, 2**64 - 1)
SAMPLERS = (Sampler(0), Sampler(1.0), Sampler(0.7, top_k=20), Sampler(1.0, top_p=0.9), Sampler(1.5, min_p=0.1))


@given(st.lists(st.tuples(UINT64, UINT64), max_size=20))
def test_the_numbers_are_those_of_the_definition_to_the_bit(pairs: list[tuple[int, int]]) -> None:
    seeds, counters = (np.array([pair[i] for pair in pairs], np.uint64) for i in (0, 1))
    got = uniforms_on_device(seeds, counters, torch.device("cpu"))
    np.testing.assert_array_equal(got.numpy(), uniforms(seeds, counters))


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    wanted=st.lists(
        st.tuples(st.sampled_from(SAMPLERS), st.none() | ADJUSTMENTS, COUNTS, st.booleans()), min_size=1, max_size=6
    ),
)
def test_adjusted_and_masked_draws_are_those_of_the_definition(
    seed: int, wanted: list[tuple[Sampler, Adjustment | None, dict[int, int], bool]]
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (3, VOCAB)).astype(np.float32)
    masks: list[list[int] | None] = [list(range(0, VOCAB, 3)) if masked else None for *_, masked in wanted]
    draws = replace(
        draws_of([sampler for sampler, *_ in wanted], masks=masks, vocab_size=VOCAB),
        sampler_rows=rng.integers(0, 3, len(wanted)).astype(np.int32),
        seeds=rng.integers(0, 2**63, len(wanted)).astype(np.uint64),
        adjustments=adjustments_of([Draw(adjustment=change, counts=counts) for _, change, counts, _ in wanted]),
    )
    before = logits.copy()
    expected, got = draw_tokens(logits.copy(), draws), draw_in_torch(logits, draws)
    np.testing.assert_array_equal(got.status, expected.status)
    np.testing.assert_array_equal(got.tokens, expected.tokens)
    np.testing.assert_array_equal(logits, before)
