"""Sliding windows and soft caps of scores, layer by layer, on both backends."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.conftest import BackendChoice
from tests.engine.reference_model import reference_logits

from pie.engine.backend import Backend, Rows
from pie.engine.kernel_build import default_cache_dir
from pie.engine.kernels import load_kernels
from pie.engine.native_backend import NativeBackend
from pie.engine.torch_backend import TorchBackend
from pie.engine.weights import load_model
from pie.testing import Family

Models = Callable[[Family], Path]
Rules = tuple[tuple[int | None, float | None], ...]
Floats = npt.NDArray[np.float32]

PAGE_SIZE, NUM_PAGES = 16, 48
# Of the two layers of the model: window and soft cap.
RULES = (((24, None), (None, None)), ((None, 0.7), (16, None)), ((1, 0.3), (37, 1.5)), ((17, 2.0), (500, None)))


def make_backend(
    model_dir: Path,
    choice: BackendChoice,
    rules: Rules,
    *,
    dtype: str | None = None,
    threads: int = 1,
    bad_token: int | None = None,
) -> Backend:
    """A backend over a model whose layers have these windows and soft caps; the embedding of `bad_token` is NaN."""
    torch.set_num_threads(1)
    model = load_model(model_dir, dtype=dtype)
    if bad_token is not None:
        model.weights.embedding[bad_token] = math.nan
    layers = tuple(
        replace(layer, window=window, soft_cap=soft_cap)
        for layer, (window, soft_cap) in zip(model.config.layers, rules, strict=True)
    )
    model = replace(model, config=replace(model.config, layers=layers))
    if choice == "torch":
        return TorchBackend(model, num_pages=NUM_PAGES, page_size=PAGE_SIZE)
    kernels = load_kernels(default_cache_dir())
    assert kernels is not None
    return NativeBackend(kernels, model, num_pages=NUM_PAGES, page_size=PAGE_SIZE, threads=threads)


def rows_of(tokens: list[int], start: int, pages: Sequence[int]) -> Rows:
    """Rows of one sequence, whose first stands at `start`; all of them give logits."""
    places = np.arange(start, start + len(tokens), dtype=np.int32)
    return Rows(
        token_ids=np.array(tokens, np.int32),
        positions=places,
        sequence_of_row=np.zeros(len(tokens), np.int32),
        kv_index=places,
        page_table=np.array([list(pages)], np.int32),
        logit_rows=np.arange(len(tokens), dtype=np.int32),
    )


def logits_in_parts(
    backend: Backend, tokens: list[int], cuts: list[int], pages: Sequence[int] = (5, 2, 11, 7, 0, 9, 3)
) -> Floats:
    """Logits of all tokens, fed in parts that begin at 0 and at `cuts`."""
    edges = sorted({0, *cuts, len(tokens)})
    parts = [backend.forward(rows_of(tokens[begin:end], begin, pages)).logits for begin, end in pairwise(edges)]
    return np.concatenate(parts)


def window_of(window: int | None, length: int) -> npt.NDArray[np.bool_]:
    """[length, length], which keys each token sees."""
    place = np.arange(length)
    return (place <= place[:, None]) & (place > place[:, None] - (length if window is None else window))


@pytest.mark.parametrize("rules", RULES)
def test_each_layer_has_its_own_window_and_soft_cap(models: Models, backend: BackendChoice, rules: Rules) -> None:
    tokens = np.random.default_rng(7).integers(0, 320, 100).tolist()
    got = logits_in_parts(make_backend(models("qwen3"), backend, rules), tokens, [])
    visible = np.stack([window_of(window, len(tokens)) for window, _ in rules])
    soft_caps = {layer: cap for layer, (_, cap) in enumerate(rules) if cap is not None}
    expected = reference_logits(models("qwen3"), tokens, list(range(len(tokens))), visible, soft_caps)
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
    plain = reference_logits(models("qwen3"), tokens, list(range(len(tokens))), window_of(None, len(tokens)))
    assert np.abs(expected - plain).max() > 1e-3 * np.abs(expected).max()  # the rules do change something


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rules=st.sampled_from(RULES), cuts=st.lists(st.integers(1, 99), max_size=8))
def test_with_windows_and_soft_caps_too_a_prompt_may_be_cut_anywhere(
    models: Models, backend: BackendChoice, rules: Rules, cuts: list[int]
) -> None:
    tokens = np.random.default_rng(8).integers(0, 320, 100).tolist()
    whole, parts = (logits_in_parts(make_backend(models("qwen3"), backend, rules), tokens, c) for c in ([], cuts))
    np.testing.assert_array_equal(parts, whole)


@pytest.mark.parametrize("rules", [*RULES, ((None, None), (300, None))])
def test_a_long_prompt_may_be_cut_anywhere(models: Models, backend: BackendChoice, rules: Rules) -> None:
    tokens = np.random.default_rng(11).integers(0, 320, 700).tolist()
    pages = np.random.default_rng(12).permutation(NUM_PAGES).tolist()
    whole, parts = (
        logits_in_parts(make_backend(models("qwen3"), backend, rules), tokens, cuts, pages)
        for cuts in ([], [1, 250, 251, 255, 256, 257, 258, 511, 515, 690, *range(691, 700)])
    )
    np.testing.assert_array_equal(parts, whole)


def with_pages_left_out_and_masked(backend: Backend, tokens: list[int]) -> tuple[Floats, Floats]:
    """Logits of the last 20 of 80 tokens, with the pages 1 and 2 left out, and with all pages and masks that say so."""
    pages = [5, 2, 11, 7, 0]
    backend.forward(rows_of(tokens[:-20], 0, pages))
    last = rows_of(tokens[-20:], len(tokens) - 20, pages)
    left_out = replace(
        last,
        kv_index=last.kv_index - 2 * PAGE_SIZE,
        page_table=np.array([[pages[0], pages[3], pages[4]]], np.int32),
        page_numbers=np.array([[0, 3, 4]], np.int32),
    )
    mask = np.ones((1, len(tokens)), np.uint8)
    mask[0, PAGE_SIZE : 3 * PAGE_SIZE] = 0
    masked = replace(last, key_mask=mask, mask_of_row=np.zeros(20, np.int32))
    return backend.forward(left_out).logits, backend.forward(masked).logits


@pytest.mark.parametrize("window", [1, 20, 48, 70])
def test_a_window_counts_the_tokens_of_pages_that_are_left_out(
    models: Models, backend: BackendChoice, window: int
) -> None:
    tokens = np.random.default_rng(9).integers(0, 320, 80).tolist()
    engine = make_backend(models("qwen3"), backend, ((window, None), (None, None)))
    got, expected = with_pages_left_out_and_masked(engine, tokens)
    if backend == "native":
        np.testing.assert_array_equal(got, expected)
    else:
        assert np.abs(got - expected).max() <= 1e-6 * np.abs(expected).max()


def test_soft_caps_are_exact_for_scores_of_any_size(models: Models) -> None:
    tokens = np.random.default_rng(10).integers(0, 320, 60).tolist()
    for soft_cap in (1e-3, 0.05, 1.0, 50.0, 1e4):
        rules = ((None, soft_cap), (None, soft_cap))
        native, torch = (
            logits_in_parts(make_backend(models("qwen3"), choice, rules), tokens, []) for choice in ("native", "torch")
        )
        assert math.isfinite(float(np.abs(native).max()))
        assert np.abs(native - torch).max() <= 1e-5 * np.abs(torch).max()
