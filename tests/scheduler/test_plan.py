"""The promises of `plan`, held against random states; it decides and changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scheduler.fake_device import make_info
from tests.scheduler.harness import GREEDY, Collector

from pie.forward import DecodeRequest, ForwardRequest
from pie.scheduler.context import Context
from pie.scheduler.contexts import ContextTable
from pie.scheduler.pass_queue import PassQueue
from pie.scheduler.passes import Decode, Pass
from pie.scheduler.plan import Limits, Plan, State, plan
from pie.scheduler.rows import DecodeRows
from pie.scheduler.weights import AdapterWeights

SIZE = 4


def make_state(
    *,
    num_pages: int,
    row_lengths: Sequence[int],
    passes: Sequence[tuple[int, str, bool]],
    reservations: Sequence[int] = (),
    step_s: float | None = 0.001,
) -> State:
    """Running decodes of the given lengths in KV, waiting passes (tokens, owner, is a decode), waiting reservations."""
    info = make_info(num_pages=num_pages, page_size=SIZE, max_positions=4096)
    contexts = ContextTable(info, AdapterWeights(lambda _number: None))
    rows = DecodeRows(vocab_size=info.vocab_size, page_size=SIZE, max_run_steps=32)
    queue = PassQueue(short_tokens=8)
    sequence = 0
    for length in row_lengths:
        context = contexts.create("runner", salt=str(sequence))
        need = -(-length // SIZE)
        if need > contexts.pool.num_available:
            break
        contexts.reserve(context, need)
        context.append([1] * length, range(length), {})
        request = DecodeRequest(context.id, (1,), GREEDY, None, frozenset(), 0)
        rows.join(Decode(context, request, Collector(), sequence=sequence), token=1, limit=50, counter=1)
        sequence += 1
    for length, owner, is_decode in passes:
        context = contexts.create(owner, salt=str(sequence))
        if is_decode:
            request = DecodeRequest(context.id, (1,) * length, GREEDY, 5, frozenset(), 0)
            decode = Decode(context, request, Collector(), sequence=sequence)
            queue.add(Pass(context, request, sequence=sequence, decode=decode))
        elif -(-length // SIZE) <= contexts.pool.num_available:
            contexts.reserve(context, -(-length // SIZE))
            forward = ForwardRequest(context.id, (1,) * length, tuple(range(length)))
            queue.add(Pass(context, forward, sequence=sequence))
        sequence += 1
    return State(
        rows=rows,
        queue=queue,
        contexts=contexts,
        reservations=[
            (sequence + number, pages, contexts.create("reserver", salt=""))
            for number, pages in enumerate(reservations)
        ],
        blocked=None,
        step_s=step_s,
        first_row=0,
        prefix_reuse=True,
    )


def limits(max_batch_tokens: int = 64, max_batch_rows: int = 16) -> Limits:
    return Limits(
        max_batch_tokens=max_batch_tokens,
        max_batch_rows=max_batch_rows,
        max_run_steps=32,
        run_s=0.01,
        max_positions=4096,
    )


def pages_spent(state: State, decided: Plan) -> int:
    spent = sum(pages for _, pages, _ in state.reservations[: decided.grants])
    for row in decided.growing:
        tokens = min(int(state.rows.limit[row]), decided.steps)
        context = state.rows.decodes[row].context
        spent += state.contexts.num_pages_to_write(context, int(state.rows.kv_index[row]), tokens)
    for start in decided.starts:
        skipped = len(start.reused) * SIZE
        spent += state.contexts.num_pages_to_write(start.item.context, skipped, start.item.num_tokens - skipped)
    return spent


states = st.builds(
    make_state,
    num_pages=st.integers(4, 60),
    row_lengths=st.lists(st.integers(1, 30), max_size=12),
    passes=st.lists(st.tuples(st.integers(1, 90), st.sampled_from("abc"), st.booleans()), max_size=12),
    reservations=st.lists(st.integers(0, 9), max_size=3),
    step_s=st.sampled_from([None, 0.0001, 0.004, 1.0]),
)


@settings(max_examples=200, deadline=None)
@given(state=states, tokens=st.integers(4, 70), rows=st.integers(1, 20))
def test_a_plan_keeps_within_tokens_rows_and_pages(state: State, tokens: int, rows: int) -> None:
    decided = plan(state, limits(tokens, rows))
    assert decided.num_rows <= rows
    assert decided.num_rows + sum(chunk.num_tokens for chunk in decided.chunks) <= tokens
    assert pages_spent(state, decided) <= state.contexts.pool.num_available
    items = [chunk.item for chunk in decided.chunks]
    assert len(set(items)) == len(items)
    assert all(0 < chunk.num_tokens <= chunk.item.num_tokens for chunk in decided.chunks)
    started = {start.item for start in decided.starts}
    assert set(items) == started
    if decided.steps > 1:
        assert not decided.chunks
        assert not state.queue


@settings(max_examples=100, deadline=None)
@given(state=states)
def test_a_plan_changes_nothing(state: State) -> None:
    before = [(context.id, list(context.pages)) for context in _contexts(state)], state.contexts.ledger()
    order = [item.sequence for item in state.queue]
    first, second = plan(state, limits()), plan(state, limits())
    assert ([(context.id, list(context.pages)) for context in _contexts(state)], state.contexts.ledger()) == before
    assert [item.sequence for item in state.queue] == order
    assert [(c.item, c.num_tokens) for c in first.chunks] == [(c.item, c.num_tokens) for c in second.chunks]
    assert np.array_equal(np.arange(64)[first.rows], np.arange(64)[second.rows])
    assert (first.steps, first.growing, first.grants) == (second.steps, second.growing, second.grants)


@settings(max_examples=100, deadline=None)
@given(state=states)
def test_something_is_done_whenever_something_can_be(state: State) -> None:
    decided = plan(state, limits())
    if not decided.changes:
        available = state.contexts.pool.num_available
        assert all(pages > available for _, pages, _ in state.reservations[:1])
        assert len(decided.stalled) == state.rows.count
        if state.queue:
            assert decided.blocked is not None or state.reservations


def _contexts(state: State) -> list[Context]:
    return [*(decode.context for decode in state.rows.decodes), *(item.context for item in state.queue)]


@pytest.mark.parametrize("kind", ["num_watched", "num_drafting"])
def test_a_run_whose_tokens_are_looked_at_lasts_about_ten_milliseconds(kind: str) -> None:
    steps = {}
    for step_s in (None, 0.0001, 0.001, 0.003, 0.5):
        state = make_state(num_pages=400, row_lengths=[5] * 4, passes=[], step_s=step_s)
        setattr(state.rows, kind, 1)
        decided = plan(state, limits())
        assert not decided.is_open
        steps[step_s] = decided.steps
    assert steps == {None: 1, 0.0001: 32, 0.001: 10, 0.003: 3, 0.5: 1}


def test_a_run_that_would_last_longer_is_open_if_nobody_waits() -> None:
    runs = {}
    for step_s in (None, 0.0001, 0.001, 0.5):
        decided = plan(make_state(num_pages=400, row_lengths=[5] * 4, passes=[], step_s=step_s), limits())
        runs[step_s] = decided.steps, decided.is_open
    assert runs == {None: (1, False), 0.0001: (32, False), 0.001: (32, True), 0.5: (32, True)}
    waiting = make_state(num_pages=400, row_lengths=[5] * 4, passes=[], reservations=[900], step_s=0.5)
    assert not plan(waiting, limits()).is_open


def test_there_is_no_open_run_while_some_rows_must_wait_for_their_turn() -> None:
    state = make_state(num_pages=400, row_lengths=[5] * 4, passes=[], step_s=0.001)
    decided = plan(state, limits(max_batch_rows=3))
    assert (decided.num_rows, decided.steps, decided.is_open) == (3, 10, False)


def test_nothing_known_is_evicted_for_an_open_run() -> None:
    state = make_state(num_pages=400, row_lengths=[5] * 4, passes=[], step_s=0.003)
    pool = state.contexts.pool
    pages = pool.take(pool.num_free - 4)
    for page in pages:
        pool.mark_indexed(page)
    pool.release(pages)  # cached now: they can be had, but hold prefixes
    decided = plan(state, limits())
    assert (decided.steps, decided.is_open, decided.stalled) == (3, False, ())
    assert pages_spent(state, decided) <= 4


def test_a_waiting_pass_makes_the_step_a_single_one() -> None:
    state = make_state(num_pages=400, row_lengths=[5] * 4, passes=[(3, "a", False)])
    decided = plan(state, limits())
    assert decided.steps == 1
    assert len(decided.chunks) == 1


def test_a_run_that_finds_too_few_pages_becomes_a_single_step() -> None:
    state = make_state(num_pages=8, row_lengths=[7, 7, 7, 7], passes=[], step_s=0.0001)
    decided = plan(state, limits())
    assert (decided.steps, decided.num_rows, decided.stalled) == (1, 4, ())


def test_the_oldest_decodes_get_the_last_pages() -> None:
    state = make_state(num_pages=6, row_lengths=[8, 4, 8], passes=[])
    decided = plan(state, limits())
    assert np.arange(3)[decided.rows].tolist() == [0]
    assert [decode.sequence for decode in decided.stalled] == [1, 2]


def test_a_long_prompt_leaves_half_of_the_step_to_short_ones() -> None:
    state = make_state(
        num_pages=400, row_lengths=[], passes=[(90, "a", False), *[(4, "b", False)] * 8, (80, "c", False)]
    )
    given_tokens = [(chunk.item.owner, chunk.num_tokens) for chunk in plan(state, limits(40)).chunks]
    assert sum(tokens for owner, tokens in given_tokens if owner == "b") == 20
    assert dict(given_tokens)["a"] == dict(given_tokens)["c"] == 10


def test_the_little_that_is_left_of_a_long_prompt_is_not_divided() -> None:
    passes = [(80, owner, False) for owner in "abcd"]
    state = make_state(num_pages=900, row_lengths=[], passes=passes)
    assert [chunk.num_tokens for chunk in plan(state, limits(40)).chunks] == [10] * 4
    for item in state.queue:
        item.done = 60
    assert [chunk.num_tokens for chunk in plan(state, limits(40)).chunks] == [20, 20]


def test_owners_share_a_step_whatever_the_length_of_their_lines() -> None:
    state = make_state(num_pages=900, row_lengths=[], passes=[*[(2, "a", False)] * 100, (2, "b", False)])
    assert {chunk.item.owner for chunk in plan(state, limits(8)).chunks} == {"a", "b"}


def test_who_waits_for_pages_is_not_overtaken() -> None:
    state = make_state(num_pages=10, row_lengths=[4], passes=[(80, "a", True), (8, "b", True)])
    waiting = next(item for item in state.queue if item.num_tokens == 80)
    small = next(item for item in state.queue if item.num_tokens == 8)
    state = State(
        rows=state.rows,
        queue=state.queue,
        contexts=state.contexts,
        reservations=[(99, 1, state.contexts.create("c", salt=""))],
        blocked=waiting,
        step_s=None,
        first_row=0,
        prefix_reuse=True,
    )
    decided = plan(state, limits())
    assert decided.grants == 0
    assert small not in {start.item for start in decided.starts}


async def test_the_queue_serves_owners_in_turn() -> None:
    state = make_state(num_pages=900, row_lengths=[], passes=[(2, "a", False), (2, "b", False), (2, "c", False)])
    first = []
    for _ in range(6):
        first.append(plan(state, limits(4)).chunks[0].item.owner)
        state.queue.rotate()
        await asyncio.sleep(0)
    assert first == ["a", "b", "c", "a", "b", "c"]


def test_a_new_decode_leaves_running_ones_a_page_each() -> None:
    fits = {}
    for num_pages in (32 + 7, 32 + 8):
        state = make_state(num_pages=num_pages, row_lengths=[8] * 4, passes=[(96, "a", True)])
        assert state.contexts.pool.num_available == num_pages - 8
        fits[num_pages] = bool(plan(state, limits()).starts)
    assert fits == {39: False, 40: True}
