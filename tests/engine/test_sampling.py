"""Draws follow their filters exactly, their probabilities closely, and their seeds only; all samplers agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pie.engine.backend import Drawn, Draws, DrawStatus
from pie.engine.flashinfer_backend.device_sampling import draw_on_device
from pie.engine.kernel_build import default_cache_dir
from pie.engine.kernels import KernelSampler, load_kernels
from pie.engine.sampling import draw_tokens, kept_tokens, uniforms
from pie.forward import Sampler

Float32Array = npt.NDArray[np.float32]

# Values that tie often, in floats that are exact: probabilities are then powers of two and sums have no rounding.
TIED_LOGITS = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0, -0.0, 700.0, -np.inf]), min_size=1, max_size=70)
LOOSE_LOGITS = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=70)


def draws_of(samplers: list[Sampler], *, masks: list[list[int] | None] | None = None, vocab_size: int = 0) -> Draws:
    """Sampler i on row i, seed i; masks are lists of allowed ids."""
    masks = masks or [None] * len(samplers)
    words = np.zeros((len(samplers), (vocab_size + 31) // 32), np.uint32)
    for row, allowed in zip(words, masks, strict=True):
        for token in allowed or []:
            row[token // 32] |= np.uint32(1 << token % 32)
    count = len(samplers)
    return Draws(
        sampler_rows=np.arange(count, dtype=np.int32),
        temperature=np.array([s.temperature for s in samplers], np.float32),
        top_k=np.array([s.top_k for s in samplers], np.int32),
        top_p=np.array([s.top_p for s in samplers], np.float32),
        min_p=np.array([s.min_p for s in samplers], np.float32),
        seeds=np.arange(count, dtype=np.uint64),
        counters=np.zeros(count, np.uint64),
        logit_masks=words,
        sampler_masks=np.array([i if mask is not None else -1 for i, mask in enumerate(masks)], np.int32),
    )


class NativeSampler:
    """The C++ sampler with the signature of `draw_tokens`."""

    def __init__(self, cache_dir: Path) -> None:
        kernels = load_kernels(cache_dir)
        assert kernels is not None, "the tests of the native sampler need g++"
        self._kernels = kernels

    def __call__(self, logits: Float32Array, draws: Draws) -> Drawn:
        padded = np.full((len(logits), -(-logits.shape[1] // 32) * 32), np.nan, np.float32)
        padded[:, : logits.shape[1]] = logits
        return KernelSampler(self._kernels, logits.shape[1]).sample(padded, draws)


@pytest.fixture(scope="session")
def native() -> NativeSampler:
    return NativeSampler(default_cache_dir())


def draw_in_torch(logits: Float32Array, draws: Draws) -> Drawn:
    """The sampler of the GPU with the signature of `draw_tokens`; on a GPU if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokens, status = draw_on_device(torch.from_numpy(logits).to(device), draws)
    return Drawn(tokens.cpu().numpy()[:, None], (status == 0).to(torch.int32).cpu().numpy(), status.cpu().numpy())


@pytest.fixture(params=["native", "numpy", "torch"])
def draw(request: pytest.FixtureRequest, native: NativeSampler) -> object:
    return {"native": native, "numpy": draw_tokens, "torch": draw_in_torch}[request.param]


def plain_filter(logits: list[float], sampler: Sampler) -> list[int]:
    """The kept ids in ranking order, by the words of `Sampler` and nothing else."""
    ranking = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
    weights = np.exp((np.array(logits, np.float64) - max(logits)) / np.float64(np.float32(sampler.temperature)))
    if sampler.top_k:
        ranking = ranking[: sampler.top_k]
    if sampler.top_p < 1:
        total, reached, kept = sum(weights[ranking]), 0.0, []
        for token in ranking:
            kept.append(token)
            reached += weights[token]
            if reached >= np.float64(np.float32(sampler.top_p)) * total:
                break
        ranking = kept
    return [token for token in ranking if weights[token] >= np.float32(sampler.min_p) and weights[token] > 0]


@given(
    logits=TIED_LOGITS | LOOSE_LOGITS,
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    top_k=st.integers(0, 80),
    top_p=st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.125, 0.3, 1.0]),
)
def test_filters_keep_what_their_definition_keeps(
    logits: list[float], temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    if max(logits) == -np.inf:
        return
    sampler = Sampler(temperature, top_k, top_p, min_p)
    draws = draws_of([sampler])
    weights = kept_tokens(np.array([logits], np.float32), draws.temperature, draws.top_k, draws.top_p, draws.min_p)[0]
    assert np.flatnonzero(weights).tolist() == sorted(plain_filter(logits, sampler))


@settings(max_examples=60)
@given(
    logits=TIED_LOGITS | LOOSE_LOGITS,
    sampler=st.builds(
        Sampler,
        temperature=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
        top_k=st.integers(0, 80),
        top_p=st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.9, 1.0]),
        min_p=st.sampled_from([0.0, 0.1, 0.3, 1.0]),
    ),
    seed=st.integers(0, 2**64 - 1),
)
def test_all_samplers_draw_the_same_tokens(
    native: NativeSampler, logits: list[float], sampler: Sampler, seed: int
) -> None:
    rows = np.tile(np.array(logits, np.float32), (40, 1))
    seeds = np.full(40, seed, np.uint64)
    draws = replace(draws_of([sampler] * 40), seeds=seeds, counters=np.arange(40, dtype=np.uint64))
    expected = draw_tokens(rows, draws)
    for got in (native(rows, draws), draw_in_torch(rows, draws)):
        np.testing.assert_array_equal(got.status, expected.status)
        differing = np.flatnonzero(got.tokens[:, 0] != expected.tokens[:, 0])
        # f32 against f64 weights: a number within rounding of a border may fall on the other side, and that is all.
        assert all(near_a_border(logits, sampler, seed, counter) for counter in differing.tolist())


def near_a_border(logits: list[float], sampler: Sampler, seed: int, counter: int) -> bool:
    kept = sorted(plain_filter(logits, sampler))
    weights = np.exp((np.array(logits, np.float64) - max(logits)) / np.float64(np.float32(sampler.temperature)))
    borders = np.cumsum(weights[kept]) / weights[kept].sum()
    number = uniforms(np.array([seed], np.uint64), np.array([counter], np.uint64))[0]
    return bool(np.abs(borders - number).min() < 1e-5) or near_a_cut(weights, sampler)


def near_a_cut(weights: npt.NDArray[np.float64], sampler: Sampler) -> bool:
    """The mass of top-p or the weight of min-p lies within rounding of a token's."""
    ranked = np.sort(weights)[::-1]
    ranked = ranked[: sampler.top_k] if sampler.top_k else ranked
    reached = np.cumsum(ranked) / ranked.sum()
    return bool(np.abs(reached - sampler.top_p).min() < 1e-5 or np.abs(ranked - sampler.min_p).min() < 1e-5)


@pytest.mark.parametrize("vocab_size", [7, 1000, 50_000])
@pytest.mark.parametrize(
    "sampler",
    [
        Sampler(1.0),
        Sampler(0.7, top_k=40),
        Sampler(1.0, top_p=0.9),
        Sampler(1.3, min_p=0.05),
        Sampler(2.0, top_k=200, top_p=0.95, min_p=0.01),
        Sampler(50.0, top_p=0.999),
    ],
)
def test_all_samplers_agree_on_large_and_flat_vocabularies(
    native: NativeSampler, vocab_size: int, sampler: Sampler
) -> None:
    rng = np.random.default_rng(vocab_size)
    logits = (np.round(rng.normal(0, 3, (24, vocab_size)) * 64) / 64).astype(np.float32)  # coarse, so that many tie
    draws = draws_of([sampler] * 24)
    expected = draw_tokens(logits, draws).tokens
    assert (native(logits, draws).tokens != expected).sum() <= 1  # a number within f32 rounding of a border
    np.testing.assert_array_equal(draw_in_torch(logits, draws).tokens, expected)


def test_every_share_is_drawn_as_often_as_its_probability_says(draw: object) -> None:
    logits = np.log(np.array([0.4, 0.3, 0.2, 0.06, 0.04], np.float64)).astype(np.float32)
    draws_each, filters = (
        20_000,
        {"none": Sampler(1.0), "top-k": Sampler(1.0, top_k=3), "top-p": Sampler(1.0, top_p=0.6)},
    )
    expected = {
        "none": [0.4, 0.3, 0.2, 0.06, 0.04],
        "top-k": [4 / 9, 3 / 9, 2 / 9, 0, 0],
        "top-p": [4 / 7, 3 / 7, 0, 0, 0],
    }
    for name, sampler in filters.items():
        draws = replace(
            draws_of([sampler] * draws_each),
            seeds=np.full(draws_each, 77, np.uint64),
            counters=np.arange(draws_each, dtype=np.uint64),
        )
        tokens = draw(np.tile(logits, (draws_each, 1)), draws).tokens[:, 0]  # type: ignore[operator]
        counts = np.bincount(tokens, minlength=5)
        shares = np.array(expected[name]) * draws_each
        possible = shares > 0
        assert counts[~possible].sum() == 0
        chi_square = ((counts - shares)[possible] ** 2 / shares[possible]).sum()
        assert chi_square < 23.5  # p = 0.0001 for 4 degrees of freedom


def test_uniform_numbers_are_even_and_independent_over_seeds_and_counters() -> None:
    seeds, counters = (grid.ravel().astype(np.uint64) for grid in np.meshgrid(np.arange(300), np.arange(300)))
    numbers = uniforms(seeds, counters)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.histogram(numbers, bins=100, range=(0, 1))[0]
    assert ((counts - 900) ** 2 / 900).sum() < 160  # p = 0.0001 for 99 degrees of freedom
    grid = numbers.reshape(300, 300)
    for one, next_one in ((grid[:-1], grid[1:]), (grid[:, :-1], grid[:, 1:])):
        assert abs(np.corrcoef(one.ravel(), next_one.ravel())[0, 1]) < 0.02
    assert len(np.unique(numbers)) == len(numbers)


def test_uniform_numbers_never_change() -> None:
    """Saved seeds must give the same text in every version; the values are those of the published algorithm."""

    def mix(z: int) -> int:
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    gamma = 0x9E3779B97F4A7C15
    for seed, counter in ((0, 0), (1, 0), (0, 1), (2**64 - 1, 2**64 - 1), (123456789, 42)):
        expected = (mix((mix((seed + gamma) % 2**64) + (counter + 1) * gamma) % 2**64) >> 11) / 2**53
        assert uniforms(np.array([seed], np.uint64), np.array([counter], np.uint64))[0] == expected


def test_temperature_zero_takes_the_lowest_id_of_the_most_likely(draw: object) -> None:
    logits = np.array([[0, 3, 1, 3, 3], [-1, -1, -1, -1, -1], [-0.0, 0.0, -5, 0, -1]], np.float32)
    assert draw(logits, draws_of([Sampler(0)] * 3)).tokens[:, 0].tolist() == [1, 0, 0]  # type: ignore[operator]


def test_masked_tokens_are_never_drawn_and_count_in_no_filter(draw: object) -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 1, (200, 50)).astype(np.float32)
    allowed: list[list[int] | None] = [sorted(rng.choice(50, 5, replace=False).tolist()) for _ in range(200)]
    samplers = [Sampler(0), Sampler(5.0), Sampler(5.0, top_k=2), Sampler(5.0, top_p=0.8), Sampler(5.0, min_p=0.5)] * 40
    tokens = draw(logits, draws_of(samplers, masks=allowed, vocab_size=50)).tokens[:, 0]  # type: ignore[operator]
    for row, token, ids, sampler in zip(logits, tokens.tolist(), allowed, samplers, strict=True):
        assert ids is not None
        assert token in ids
        if sampler.top_k:
            assert token in sorted(ids, key=lambda i: -row[i])[:2]
        if sampler.temperature == 0:
            assert token == max(ids, key=lambda i: row[i])


def test_slots_fail_alone(draw: object) -> None:
    logits = np.zeros((9, 40), np.float32)
    logits[1, 39] = np.nan
    logits[2, 0] = np.inf
    samplers = [Sampler(1.0)] * 9
    samplers[4:8] = [Sampler(-1.0), Sampler(np.nan), Sampler(1.0, top_p=1.5), Sampler(1.0, top_k=-3)]
    masks: list[list[int] | None] = [None] * 9
    masks[3] = []
    drawn: Drawn = draw(logits, draws_of(samplers, masks=masks, vocab_size=40))  # type: ignore[operator]
    assert drawn.status.tolist() == [
        DrawStatus.DRAWN,
        *[DrawStatus.NOT_FINITE] * 2,
        DrawStatus.NOTHING_ALLOWED,
        *[DrawStatus.BAD_SAMPLER] * 4,
        DrawStatus.DRAWN,
    ]
    assert drawn.num_tokens.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 1]


def test_extreme_temperatures_are_sound(draw: object) -> None:
    logits = np.array([[1.0, 1.0000001, 0.0, -np.inf]] * 4, np.float32)
    samplers = [Sampler(1e-40), Sampler(1e-9), Sampler(1e30), Sampler(3e38, top_p=0.5)]
    drawn: Drawn = draw(logits, draws_of(samplers))  # type: ignore[operator]
    assert drawn.status.tolist() == [0] * 4
    assert drawn.tokens[:2, 0].tolist() == [1, 1]
    assert (drawn.tokens[:, 0] < 3).all()
