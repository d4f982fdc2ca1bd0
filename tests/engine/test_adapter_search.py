"""Evolution strategies over adapters, against the formulas written out in f64 numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pie.engine.adapters.noise import normals, uniforms
from pie.engine.adapters.search import MIN_SIGMA, begin_search, perturbed, updated
from pie.engine.adapters.weights import AdapterWeights, flatten, module_sizes
from pie.engine.models.config import LayerConfig, MlpConfig, ModelConfig
from pie.engine.models.rope_config import RopeConfig
from pie.errors import AdapterError
from pie.forward import SearchStart

CONFIG = ModelConfig(
    architecture="Qwen3ForCausalLM",
    hidden_size=32,
    num_heads=2,
    num_kv_heads=1,
    head_dim=16,
    intermediate_size=48,
    vocab_size=64,
    max_positions=64,
    norm_epsilon=1e-6,
    layers=(LayerConfig(RopeConfig(10000.0, rotary_dim=16), MlpConfig("silu", 48)),) * 2,
    query_scale=0.25,
    embedding_scale=1.0,
    logit_cap=None,
    qkv_bias=False,
    qk_norm=True,
    tied_embeddings=True,
)
START = SearchStart(rank=2, alpha=4.0, population=8, mu_fraction=0.5, sigma=0.2, seed=11)
Array = npt.NDArray[np.float64]


@dataclass
class Model:
    """One layer's search as the formulas say it, in f64."""

    mean: Array
    sigma: float
    p_sigma: Array = field(init=False)
    p_c: Array = field(init=False)
    C: Array = field(init=False)

    def __post_init__(self) -> None:
        self.p_sigma, self.p_c, self.C = np.zeros_like(self.mean), np.zeros_like(self.mean), np.ones_like(self.mean)

    def update(self, z: list[Array], scores: list[float], mu: int, max_sigma: float) -> None:
        """`z` are the standard normal numbers of the members."""
        d = self.mean.size
        S = self.sigma * np.sqrt(self.C)
        w = np.array([math.log(mu + 0.5) - math.log(i) for i in range(1, mu + 1)])
        w /= w.sum()
        mu_eff = 1 / (w**2).sum()
        best = np.argsort(-np.array(scores), kind="stable")[:mu]
        new = sum(wi * (self.mean + S * z[i]) for wi, i in zip(w, best, strict=True))
        c_c = (4 + mu_eff / d) / (d + 4 + 2 * mu_eff / d)
        c_s = (mu_eff + 2) / (d + mu_eff + 5)
        c_1 = 2 / ((d + 1.3) ** 2 + mu_eff)
        c_mu = min(1 - c_1, 2 * (mu_eff - 2 + 1 / mu_eff) / ((d + 2) ** 2 + mu_eff))
        damp = 1 + 2 * max(0, math.sqrt((mu_eff - 1) / (d + 1)) - 1) + c_s
        chi = math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d**2))
        delta = (new - self.mean) / self.sigma
        self.p_sigma = (1 - c_s) * self.p_sigma + math.sqrt(c_s * (2 - c_s) * mu_eff) * delta / np.sqrt(self.C)
        norm = np.linalg.norm(self.p_sigma)
        h = 1 if norm < (1.4 + 2 / (d + 1)) * chi else 0
        self.p_c = (1 - c_c) * self.p_c + h * math.sqrt(c_c * (2 - c_c) * mu_eff) * delta
        y2 = sum(wi * (S * z[i] / self.sigma) ** 2 for wi, i in zip(w, best, strict=True))
        self.C = (1 - c_1 - c_mu) * self.C + c_1 * self.p_c**2 + c_mu * y2
        self.sigma = min(max(self.sigma * math.exp(c_s / damp * (norm / chi - 1)), MIN_SIGMA), max_sigma)
        self.mean = np.asarray(new)


@pytest.mark.parametrize("max_sigma", [10.0, 0.15])
@pytest.mark.parametrize("mu_fraction", [0.01, 0.5, 1.0])
def test_six_generations_are_those_of_the_formulas(mu_fraction: float, max_sigma: float) -> None:
    weights = begin_search(replace(START, mu_fraction=mu_fraction), CONFIG)
    models = [Model(flatten(layer).astype(np.float64), START.sigma) for layer in weights.layers]
    rng = np.random.default_rng(4)
    for _ in range(6):
        seeds = rng.integers(-(2**63), 2**63, START.population).tolist()
        scores = rng.normal(size=START.population).tolist()
        for layer, model in enumerate(models):
            z = [normals(seed, layer, model.mean.size).astype(np.float64) for seed in seeds]
            model.update(z, scores, max(1, int(START.population * mu_fraction)), max_sigma)
        weights = updated(weights, scores=scores, seeds=seeds, max_sigma=max_sigma)
        agree(weights, models)


def agree(weights: AdapterWeights, models: list[Model]) -> None:
    if weights.search is None:
        raise AssertionError("the search is gone")
    for layer, state, model in zip(weights.layers, weights.search.layers, models, strict=True):
        np.testing.assert_allclose(flatten(layer), model.mean, atol=2e-6)
        np.testing.assert_allclose(state.sigma, model.sigma, rtol=1e-5)
        np.testing.assert_allclose(state.sigma_path, model.p_sigma, atol=1e-5)
        np.testing.assert_allclose(state.covariance_path, model.p_c, atol=1e-5)
        np.testing.assert_allclose(state.variance, model.C, rtol=1e-5)


def test_a_member_is_the_mean_plus_scaled_normal_numbers() -> None:
    weights = begin_search(START, CONFIG)
    member = perturbed(weights, -5)
    for number, (mean, layer) in enumerate(zip(weights.layers, member.layers, strict=True)):
        noise = flatten(layer) - flatten(mean)
        np.testing.assert_allclose(noise, 0.2 * normals(-5, number, noise.size), atol=1e-6)


def test_first_weights_are_uniform_within_kaimings_bound_and_change_nothing() -> None:
    weights = begin_search(replace(START, rank=16), CONFIG)
    for layer in weights.layers:
        for name in "qkv":
            bound = module_sizes(CONFIG)[name][0] ** -0.5
            assert 0.9 * bound < np.abs(layer[name].down).max() < bound
            assert abs(float(layer[name].down.mean())) < 0.1 * bound
            assert not layer[name].up.any()
    assert weights.scaling == 4.0 / 16


def test_a_search_climbs_to_the_maximum_of_a_simple_function() -> None:
    start = replace(START, population=32, sigma=0.05)
    weights = begin_search(start, CONFIG)
    target = [flatten(layer) + 0.3 for layer in weights.layers]
    begin = climbed = score(weights, target)
    for generation in range(60):
        seeds = [generation * start.population + member for member in range(start.population)]
        scores = [score(perturbed(weights, seed), target) for seed in seeds]
        weights = updated(weights, scores=scores, seeds=seeds, max_sigma=0.1)
        climbed = score(weights, target)
    assert climbed > 0.5 * begin  # both are negative


def score(weights: AdapterWeights, target: list[npt.NDArray[np.float32]]) -> float:
    return -sum(float(((flatten(layer) - one) ** 2).sum()) for layer, one in zip(weights.layers, target, strict=True))


def test_noise_is_standard_normal_and_streams_of_neighbouring_seeds_do_not_meet() -> None:
    draws = np.stack([normals(seed, stream, 20_000) for seed in (0, 1, 2) for stream in (0, 1, 2)])
    np.testing.assert_allclose(draws.mean(axis=1), 0, atol=0.03)
    np.testing.assert_allclose(draws.std(axis=1), 1, atol=0.03)
    assert 3 < np.abs(draws).max() < 7
    correlations = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlations).max() < 0.04
    values = np.sort(draws.ravel())
    for edge, share in ((-1.96, 0.025), (0.0, 0.5), (1.0, 0.8413)):
        assert abs(np.searchsorted(values, edge) / values.size - share) < 0.005


@given(
    seed=st.integers(-(2**63), 2**64), stream=st.integers(0, 1000), short=st.integers(1, 50), more=st.integers(0, 50)
)
@settings(max_examples=50, deadline=None)
def test_number_n_of_a_stream_does_not_depend_on_how_many_are_asked_for(
    seed: int, stream: int, short: int, more: int
) -> None:
    np.testing.assert_array_equal(normals(seed, stream, short), normals(seed, stream, short + more)[:short])
    draws = uniforms(seed, stream, short)
    assert ((draws > 0) & (draws < 1)).all()


@pytest.mark.parametrize(
    "change",
    [
        {"rank": 0},
        {"rank": 17},
        {"alpha": math.nan},
        {"population": 0},
        {"mu_fraction": 0.0},
        {"mu_fraction": 1.5},
        {"mu_fraction": math.nan},
        {"sigma": 0.0},
        {"sigma": math.inf},
        {"sigma": -1.0},
    ],
)
def test_a_search_with_a_senseless_number_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(AdapterError, match="adapter-unusable"):
        begin_search(replace(START, **change), CONFIG)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scores", "seeds", "max_sigma"),
    [
        ([1.0] * 7, [1] * 8, 1.0),
        ([1.0] * 8, [1] * 9, 1.0),
        ([math.nan] * 8, [1] * 8, 1.0),
        ([1.0] * 8, [1] * 8, math.nan),
        ([1.0] * 8, [1] * 8, 0.0),
    ],
)
def test_an_update_that_does_not_fit_the_population_is_refused(
    scores: list[float], seeds: list[int], max_sigma: float
) -> None:
    with pytest.raises(AdapterError, match="adapter-unusable"):
        updated(begin_search(START, CONFIG), scores=scores, seeds=seeds, max_sigma=max_sigma)
