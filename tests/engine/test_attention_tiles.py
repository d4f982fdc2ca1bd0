"""Attention of many shapes, by the tiles of a processor that has them and by lanes: no row changes another one."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.test_windows import NUM_PAGES, logits_in_parts, make_backend, rows_of, with_pages_left_out_and_masked

from pie.engine.backend import Backend, Rows
from pie.testing import ModelSizes, write_random_model

Rules = tuple[tuple[int | None, float | None], ...]

# Key heads, query heads and their width; all have at least 768 numbers in a query.
SHAPES = {"two of 96": (4, 8, 96), "one of 128": (6, 6, 128), "three of 256": (1, 3, 256), "twenty of 64": (1, 20, 64)}
RULES: tuple[Rules, ...] = (((None, None), (None, None)), ((24, None), (None, 0.7)), ((1, 0.3), (37, None)))
PAGES = [5, 2, 11, 7, 0, 9, 3, 14, 1, 12]
LENGTH = 100
BAD_TOKEN = 7


@pytest.fixture(scope="module", params=product(SHAPES, ("bfloat16", "float32")), ids=" in ".join)
def wide_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape, dtype = request.param
    kv_heads, heads, head_dim = SHAPES[shape]
    sizes = ModelSizes(num_key_value_heads=kv_heads, num_attention_heads=heads, head_dim=head_dim)
    return write_random_model(tmp_path_factory.mktemp("wide"), sizes=sizes, dtype=dtype)


def tokens_of(seed: int, length: int = LENGTH) -> list[int]:
    """Random tokens without `BAD_TOKEN`."""
    return [int(token) for token in np.random.default_rng(seed).integers(BAD_TOKEN + 1, 320, length)]


def poison(backend: Backend) -> None:
    """Leave NaN in all slots, as a broken model would have."""
    content = backend.read_pages(range(NUM_PAGES))
    backend.write_pages(range(NUM_PAGES), torch.full_like(content, float("nan")))


def joined(parts: list[Rows], pages: list[list[int]]) -> Rows:
    """One step of several sequences, whose rows stand one after another."""
    numbers = [np.full(len(part.token_ids), index, np.int32) for index, part in enumerate(parts)]
    return Rows(
        token_ids=np.concatenate([part.token_ids for part in parts]),
        positions=np.concatenate([part.positions for part in parts]),
        sequence_of_row=np.concatenate(numbers),
        kv_index=np.concatenate([part.kv_index for part in parts]),
        page_table=np.array(pages, np.int32),
        logit_rows=np.arange(sum(map(len, numbers)), dtype=np.int32),
    )


@pytest.mark.parametrize("rules", RULES)
@settings(max_examples=4, deadline=None)
@given(cuts=st.lists(st.integers(1, LENGTH - 1), max_size=40))
def test_a_prompt_may_be_cut_anywhere(wide_model: Path, rules: Rules, cuts: list[int]) -> None:
    tokens, results = tokens_of(1), []
    for edges in (list(range(LENGTH)), [], cuts):
        backend = make_backend(wide_model, "native", rules)
        poison(backend)
        results.append(logits_in_parts(backend, tokens, edges, PAGES))
    assert np.isfinite(results[0]).all()
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("rules", RULES)
def test_a_long_prompt_may_be_cut_anywhere(wide_model: Path, rules: Rules) -> None:
    tokens, pages = tokens_of(11, 400), np.random.default_rng(12).permutation(NUM_PAGES).tolist()
    whole, parts = (
        logits_in_parts(make_backend(wide_model, "native", rules), tokens, cuts, pages)
        for cuts in ([], [1, 127, 128, 129, 130, 200, 257, 290, *range(390, 400)])
    )
    np.testing.assert_array_equal(parts, whole)


@pytest.mark.parametrize("rules", RULES)
def test_the_logits_are_those_of_torch(wide_model: Path, rules: Rules) -> None:
    tokens = tokens_of(2)
    native, rounded = (
        logits_in_parts(make_backend(wide_model, choice, rules), tokens, [], PAGES) for choice in ("native", "torch")
    )
    exact = logits_in_parts(make_backend(wide_model, "torch", rules, dtype="float32"), tokens, [], PAGES)
    error = np.abs(native - exact).max()
    assert error <= max(0.02 * np.abs(exact).max(), 1.5 * np.abs(rounded - exact).max())


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rows_of_several_sequences_are_those_of_lone_ones(
    wide_model: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pie.engine.native_backend._WORK_PER_THREAD", 1)
    prompts, pages = (
        [tokens_of(3, 70), tokens_of(4, 1), tokens_of(5, 37)],
        [[5, 2, 11, 7, 0], [9] * 5, [3, 14, 1, 0, 0]],
    )
    starts = [33, 0, 12]
    together = make_backend(wide_model, "native", RULES[0], threads=threads)
    for prompt, start, held in zip(prompts, starts, pages, strict=True):
        if start:
            together.forward(rows_of(prompt[:start], 0, held))
    rest = [rows_of(prompt[start:], start, []) for prompt, start in zip(prompts, starts, strict=True)]
    got = np.split(together.forward(joined(rest, pages)).logits, np.cumsum([len(part.token_ids) for part in rest]))
    for prompt, start, logits in zip(prompts, starts, got, strict=False):
        alone = logits_in_parts(make_backend(wide_model, "native", RULES[0]), prompt, [])
        np.testing.assert_array_equal(logits, alone[start:])


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("place", [0, 40, 63, 64, 99])
def test_a_row_that_is_not_finite_leaves_no_trace_in_those_before_it(
    wide_model: Path, rules: Rules, place: int
) -> None:
    tokens = tokens_of(6)
    broken = [*tokens[:place], BAD_TOKEN, *tokens[place + 1 :]]
    results = []
    for fed in (tokens, broken):
        backend = make_backend(wide_model, "native", rules, bad_token=BAD_TOKEN)
        results.append(logits_in_parts(backend, fed, [], PAGES))
    assert np.isnan(results[1][place]).all()
    np.testing.assert_array_equal(results[1][:place], results[0][:place])


def test_masked_rows_share_a_step_with_others(wide_model: Path) -> None:
    tokens = tokens_of(8, 80)
    rng = np.random.default_rng(9)
    visible = np.tril(rng.random((80, 80)) < 0.5)
    masked = np.arange(80) % 7 == 3
    full = np.where(masked[:, None], visible, np.tril(np.ones((80, 80), np.bool_)))
    mask_of_row = np.where(masked, np.cumsum(masked) - 1, -1).astype(np.int32)
    rows = rows_of(tokens, 0, PAGES)
    some = replace(rows, key_mask=full[masked].astype(np.uint8), mask_of_row=mask_of_row)
    all_of_them = replace(rows, key_mask=full.astype(np.uint8), mask_of_row=np.arange(80, dtype=np.int32))
    got, expected = (make_backend(wide_model, "native", RULES[0]).forward(step).logits for step in (some, all_of_them))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("window", [None, 20, 48, 70])
def test_leaving_masked_pages_out_changes_no_bit(wide_model: Path, window: int | None) -> None:
    backend = make_backend(wide_model, "native", ((window, None), (None, None)))
    got, expected = with_pages_left_out_and_masked(backend, tokens_of(10, 80))
    np.testing.assert_array_equal(got, expected)
