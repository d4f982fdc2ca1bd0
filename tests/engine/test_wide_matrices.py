"""Matrices wide enough for the processor's tiles, where it has them: the same numbers as torch, whatever the batch."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from tests.engine.batches import Feed, Held, make_batch, row_logits

from pie.engine.engine import Engine
from pie.engine.schemes import WeightsChoice
from pie.forward import Logits
from pie.testing import ModelSizes, write_random_model

SIZES = ModelSizes(
    hidden_size=800,
    num_hidden_layers=1,
    num_attention_heads=13,
    num_key_value_heads=1,
    head_dim=64,
    intermediate_size=816,
)
"""Inputs of 800 and 832, which are whole tiles, and of 816, which are not."""
RNG = np.random.default_rng(11)


@pytest.fixture(scope="module")
def wide_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("wide"), sizes=SIZES, dtype="bfloat16")


def logits(engine: Engine, prompts: list[list[int]]) -> list[npt.NDArray[np.float32]]:
    """Those of all tokens of all prompts, each [tokens, vocab], in one step."""
    pages = iter(range(engine.info.num_pages))
    feeds = [
        Feed(Held([next(pages) for _ in range(-(-len(prompt) // 16))]), prompt, probes=[Logits()], probe_rows="all")
        for prompt in prompts
    ]
    values = iter(engine.step(make_batch(feeds, vocab_size=SIZES.vocab_size)).probes)
    return [np.stack([_array(next(values)) for _ in prompt]) for prompt in prompts]


def _array(value: object) -> npt.NDArray[np.float32]:
    if not isinstance(value, np.ndarray):
        raise TypeError("no logits")
    return value


def test_the_logits_are_those_of_torch(wide_model: Path) -> None:
    prompts = [RNG.integers(0, 320, length).tolist() for length in (1, 5, 16, 31)]
    native = logits(Engine(wide_model, backend="native", num_pages=64, threads=1), prompts)
    torch = logits(Engine(wide_model, backend="torch", num_pages=64, threads=1), prompts)
    exact = logits(Engine(wide_model, backend="torch", dtype="float32", num_pages=64, threads=1), prompts)
    for ours, theirs, truth in zip(native, torch, exact, strict=True):
        scale = np.abs(truth).max()
        assert np.abs(ours - truth).max() <= max(0.02 * scale, 1.5 * np.abs(theirs - truth).max())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("num_rows", [2, 15, 16, 17, 31, 32, 33, 48, 64, 79])
def test_a_row_alone_gives_what_it_gives_among_others(wide_model: Path, num_rows: int, threads: int) -> None:
    engine = Engine(wide_model, backend="native", num_pages=128, threads=threads)
    prompts = [[int(token)] for token in RNG.integers(0, 320, num_rows)]
    together = logits(engine, prompts)
    for prompt, expected in zip(prompts, together, strict=True):
        assert np.array_equal(logits(engine, [prompt])[0], expected)


@pytest.mark.parametrize("weights", get_args(WeightsChoice))
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_of_which_nothing_is_read_are_kept_all_the_same(
    wide_model: Path, weights: WeightsChoice, threads: int
) -> None:
    engine = Engine(wide_model, backend="native", weights=weights, num_pages=8, threads=threads)
    prompt, whole, silent = RNG.integers(0, 320, 40).tolist(), Held([0, 1, 2]), Held([3, 4, 5])
    expected = row_logits(engine, whole, prompt)[-1]
    for part in (prompt[:1], prompt[1:20], prompt[20:39]):
        assert engine.step(make_batch([Feed(silent, part, probe_rows="none")], vocab_size=320)).tokens.size == 0
    np.testing.assert_array_equal(row_logits(engine, silent, prompt[39:])[0], expected)


@pytest.fixture(scope="module")
def wide_experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config: dict[str, object] = {"moe_intermediate_size": 768}
    return write_random_model(
        tmp_path_factory.mktemp("experts"), "qwen3_moe", sizes=SIZES, dtype="bfloat16", config=config
    )


@pytest.mark.parametrize("weights", get_args(WeightsChoice))
@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_among_others_of_its_experts_gives_what_it_gives_alone(
    wide_experts: Path, weights: WeightsChoice, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = Engine(wide_experts, backend="native", weights=weights, num_pages=128, threads=1)
    monkeypatch.setattr("pie.engine.native_backend._WORK_PER_THREAD", 1)
    engine = Engine(wide_experts, backend="native", weights=weights, num_pages=128, threads=threads)
    prompts = [[token] for token in range(100, 203)]
    expected = [logits(alone, [prompt])[0] for prompt in prompts]
    for num_rows in (1, 2, 7, 16, 40, 103):
        for got, lone in zip(logits(engine, prompts[:num_rows]), expected, strict=False):
            assert np.array_equal(got, lone)
