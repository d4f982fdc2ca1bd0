"""The tables that flashinfer's kernels would read give exactly the attention that the rows ask for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.flashinfer_backend import reference_kernels as kernels
from tests.engine.flashinfer_backend.steps import Step, dense_attention, steps, visible

from pie.engine.backend import Rows
from pie.engine.flashinfer_backend.adapter_groups import group_by_adapter
from pie.engine.flashinfer_backend.graph_padding import captured_sizes, decode_tables, fitting_size
from pie.engine.flashinfer_backend.masks import pack_masks
from pie.engine.flashinfer_backend.page_lists import append_table
from pie.engine.flashinfer_backend.segments import cut_rows
from pie.engine.flashinfer_backend.step_plan import Part, StepPlan, plan_step

Floats = npt.NDArray[np.float64]


def by_tables(step: Step, plan: StepPlan, soft_cap: float = 0.0) -> Floats:
    """[R, heads, dim]: every part of a plan through the reference kernels."""
    out = np.full_like(step.queries, np.nan)
    for part in plan.parts:
        assert np.isnan(out[part.rows]).all()  # no row twice
        out[part.rows] = of_part(step, plan, part, soft_cap)
    return out


def of_part(step: Step, plan: StepPlan, part: Part, soft_cap: float) -> Floats:
    queries = step.queries[part.rows]
    window_left = -1 if part.masks is not None else plan.window_left
    rules = kernels.Rules(causal=True, window_left=window_left, logits_soft_cap=soft_cap)
    masks = None if part.masks is None else (part.masks.bits, part.masks.indptr)
    found = kernels.paged_attention(queries, step.cache, part.qo_indptr, part.pages, rules=rules, masks=masks)
    for level in part.levels:
        assert (np.diff(level.queries) > 0).all()
        of_level = kernels.paged_attention(
            queries[level.queries], step.cache, level.qo_indptr, level.pages, rules=replace(rules, causal=False)
        )
        there = kernels.Attended(found.out[level.queries], found.lse[level.queries])
        merged = kernels.merge(there, of_level)
        found.out[level.queries], found.lse[level.queries] = merged.out, merged.lse
    return found.out


def close(got: Floats, expected: Floats) -> bool:
    return bool(
        np.isfinite(got).all() and np.abs(got - expected).max(initial=0) <= 1e-12 * (1 + np.abs(expected).max())
    )


@settings(max_examples=150, deadline=None)
@given(
    step=steps(),
    window=st.none() | st.integers(1, 50),
    soft_cap=st.sampled_from([None, 2.0]),
    least_shared=st.sampled_from([None, 1, 8]),
)
def test_a_planned_step_is_dense_attention(
    step: Step, window: int | None, soft_cap: float | None, least_shared: int | None
) -> None:
    plan = plan_step(step.rows, page_size=step.page_size, window=window, least_shared=least_shared)
    expected = dense_attention(step, window=window, soft_cap=soft_cap)
    assert close(by_tables(step, plan, soft_cap or 0.0), expected)


@settings(max_examples=100, deadline=None)
@given(step=steps(masks=False, holes=False, decode=True), least_shared=st.sampled_from([None, 1, 8]))
def test_one_row_for_each_sequence_is_a_decode_or_shares_pages(step: Step, least_shared: int | None) -> None:
    plan = plan_step(step.rows, page_size=step.page_size, least_shared=least_shared)
    assert plan.prefill is None
    assert plan.masked is None
    assert close(by_tables(step, plan), dense_attention(step, window=None))


@settings(max_examples=100, deadline=None)
@given(step=steps())
def test_appended_keys_and_values_are_where_their_rows_say(step: Step) -> None:
    rows, page_size = step.rows, step.page_size
    cache = (np.zeros_like(step.cache[0]), np.zeros_like(step.cache[1]))
    new = (step.queries[:, ::2].copy(), step.queries[:, 1::2].copy())
    kernels.append(cache, new, append_table(rows, page_size))
    for row in range(len(rows.token_ids)):
        page = rows.page_table[rows.sequence_of_row[row], rows.kv_index[row] // page_size]
        for part, values in zip(cache, new, strict=True):
            np.testing.assert_array_equal(part[page, rows.kv_index[row] % page_size], values[row])
    assert sum(np.count_nonzero(part.any(axis=(2, 3))) for part in cache) == 2 * len(rows.token_ids)


@given(step=steps(), window=st.none() | st.integers(1, 50))
def test_packed_masks_have_one_bit_for_each_query_and_key(step: Step, window: int | None) -> None:
    rows, segments = step.rows, cut_rows(step.rows)
    masks = pack_masks(rows, segments, page_size=step.page_size, window=window)
    assert masks.indptr[-1] == len(masks.bits)
    for number in range(len(segments)):
        members = segments.rows[segments.starts[number] : segments.starts[number + 1]]
        octets = masks.bits[masks.indptr[number] : masks.indptr[number + 1]]
        assert len(octets) == -(-masks.sizes[number] // 8)
        bits = np.unpackbits(octets, bitorder="little", count=int(masks.sizes[number])).reshape(len(members), -1)
        for row, seen in zip(members, bits, strict=True):
            wanted = visible(rows, row, step.page_size, window)
            np.testing.assert_array_equal(seen, np.pad(wanted, (0, len(seen) - len(wanted))))


@given(step=steps())
def test_segments_hold_each_row_once_and_end_at_their_last_slot(step: Step) -> None:
    rows, segments = step.rows, cut_rows(step.rows)
    assert sorted(segments.rows.tolist()) == list(range(len(rows.token_ids)))
    for number in range(len(segments)):
        members = segments.rows[segments.starts[number] : segments.starts[number + 1]]
        assert set(rows.sequence_of_row[members]) == {segments.sequences[number]}
        last = segments.kv_lengths[number]
        assert rows.kv_index[members].tolist() == list(range(last - len(members), last))


def decoding(table: list[list[int]], lengths: list[int]) -> Rows:
    """One row at the end of each sequence."""
    width = max(len(pages) for pages in table)
    count = len(table)
    return Rows(
        token_ids=np.zeros(count, np.int32),
        positions=np.array(lengths, np.int32) - 1,
        sequence_of_row=np.arange(count, dtype=np.int32),
        kv_index=np.array(lengths, np.int32) - 1,
        page_table=np.array([pages + [0] * (width - len(pages)) for pages in table], np.int32),
        logit_rows=np.arange(count, dtype=np.int32),
    )


def test_nested_forks_are_read_level_by_level_and_each_page_once() -> None:
    # All begin with 7, 8; the first three go on with 5; the last stands alone.
    table = [[7, 8, 5, 1], [7, 8, 6, 2], [7, 8, 5, 3], [9, 8, 5, 4], [7, 8, 5, 10]]
    plan = plan_step(decoding(table, [13, 14, 15, 16, 13]), page_size=4, least_shared=1)
    assert plan.decode is not None
    assert plan.decode.rows.tolist() == [3]
    assert plan.cascade is not None
    outer, inner = plan.cascade.levels
    assert outer.pages.indices.tolist() == [7, 8]
    assert plan.cascade.rows[outer.queries].tolist() == [0, 2, 4, 1]
    assert inner.pages.indices.tolist() == [5]
    assert plan.cascade.rows[inner.queries].tolist() == [0, 2, 4]
    assert sorted(plan.cascade.pages.indices.tolist()) == [1, 2, 3, 6, 10]
    assert set(outer.pages.last_page_len) == set(inner.pages.last_page_len) == {4}


def test_a_beginning_is_shared_only_where_it_saves_enough() -> None:
    rows = decoding([[7, 8, 1], [7, 8, 2]], [9, 9])
    assert plan_step(rows, page_size=4, least_shared=8).cascade is not None
    assert plan_step(rows, page_size=4, least_shared=9).cascade is None
    assert plan_step(rows, page_size=4).cascade is None


def test_windows_share_nothing() -> None:
    plan = plan_step(decoding([[7, 8, 1], [7, 8, 2]], [9, 9]), page_size=4, window=100, least_shared=1)
    assert plan.cascade is None
    assert plan.window_left == 99


def test_the_page_of_a_row_itself_is_never_shared() -> None:
    plan = plan_step(decoding([[7, 8], [7, 8]], [8, 8]), page_size=4, least_shared=1)
    assert plan.cascade is not None
    assert plan.cascade.levels[0].pages.indices.tolist() == [7]


@settings(max_examples=100, deadline=None)
@given(step=steps(masks=False, holes=False, decode=True), most=st.integers(1, 20))
def test_padded_rows_change_no_real_one_and_write_to_the_spare_page_alone(step: Step, most: int) -> None:
    count = len(step.rows.token_ids)
    sizes = captured_sizes(max(most, count))
    size = fitting_size(count, sizes)
    assert size is not None
    assert count <= size
    spare = len(step.cache[0])
    tables = decode_tables(step.rows, size, page_size=step.page_size, spare_page=spare)
    cache = tuple(np.concatenate((part, np.full_like(part[:1], 3.0))) for part in step.cache)
    queries = np.concatenate((step.queries, np.ones((size - count, *step.queries.shape[1:]))))
    found = kernels.paged_attention(
        queries, (cache[0], cache[1]), np.arange(size + 1, dtype=np.int32), tables.pages, rules=kernels.Rules()
    )
    assert close(found.out[:count], dense_attention(step, window=None))
    np.testing.assert_array_equal(found.out[count:], 3.0)
    assert set(tables.pages.indices[tables.pages.indptr[count] :]) <= {spare}
    np.testing.assert_array_equal(tables.slots[count:], 0)
    assert tables.num_rows == count


def test_graphs_are_captured_for_few_rows_and_multiples_of_eight() -> None:
    assert captured_sizes(20) == (1, 2, 4, 8, 16, 24)
    assert fitting_size(9, captured_sizes(20)) == 16
    assert fitting_size(25, captured_sizes(20)) is None


@given(adapters=st.lists(st.integers(-1, 3), min_size=1, max_size=30), seed=st.integers(0, 2**32 - 1))
def test_grouped_products_are_those_of_each_row_with_its_adapter(adapters: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = replace(decoding([[0]] * len(adapters), [1] * len(adapters)), adapter_of_row=np.array(adapters, np.int32))
    inputs, weights = rng.normal(size=(len(adapters), 5)), rng.normal(size=(4, 5, 3))
    groups = group_by_adapter(rows)
    got = np.zeros((len(adapters), 3))
    if groups is not None:
        got[groups.rows] = kernels.segment_product(inputs[groups.rows], weights, groups.seg_indptr, groups.adapters)
    assert (groups is None) == all(adapter < 0 for adapter in adapters)
    for row, adapter in enumerate(adapters):
        np.testing.assert_allclose(got[row], inputs[row] @ weights[adapter] if adapter >= 0 else np.zeros(3))
