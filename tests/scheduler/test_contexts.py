"""Contexts, pages and prefix index against a plain model: lists of tokens, and what was written where."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule
from tests.scheduler.fake_device import make_info

from pie.errors import ContextError
from pie.scheduler.context import Context
from pie.scheduler.contexts import ContextTable
from pie.scheduler.origins import RowOrigin
from pie.scheduler.weights import AdapterWeights

SIZE = 4
NUM_PAGES = 24

Cell = tuple[int, int]  # a token and its position


@dataclass
class Model:
    """What a context should be."""

    committed: list[Cell] = field(default_factory=list)
    working: list[Cell] = field(default_factory=list)
    num_pages: int = 0

    @property
    def cells(self) -> list[Cell]:
        return self.committed + self.working


class Contexts(RuleBasedStateMachine):
    """Any sequence of operations keeps every context's content and the books right."""

    contexts = Bundle("contexts")

    @initialize()
    def begin(self) -> None:
        self.table = ContextTable(make_info(num_pages=NUM_PAGES, page_size=SIZE), AdapterWeights(lambda _number: None))
        self.memory: list[list[Cell | None]] = [[None] * SIZE for _ in range(NUM_PAGES)]
        self.models: dict[int, Model] = {}

    @rule(target=contexts, salt=st.sampled_from(["red", "blue"]))
    def create(self, salt: str) -> Context:
        context = self.table.create("owner", salt=salt)
        self.models[context.id] = Model()
        return context

    @rule(target=contexts, source=contexts)
    def fork(self, source: Context) -> Context:
        context = self.table.fork(source, owner="other")
        model = self.models[source.id]
        self.models[context.id] = Model(list(model.committed), list(model.working), model.num_pages)
        return context

    @rule(context=consumes(contexts))
    def destroy(self, context: Context) -> None:
        self.table.destroy(context)
        del self.models[context.id]

    @rule(context=contexts, num_pages=st.integers(0, 5))
    def reserve(self, context: Context, num_pages: int) -> None:
        available = self.table.pool.num_available
        if num_pages > available:
            with pytest.raises(ContextError, match="out-of-pages"):
                self.table.reserve(context, num_pages)
            assert self.table.pool.num_available == available
        else:
            self.table.reserve(context, num_pages)
            self.models[context.id].num_pages += num_pages

    @rule(context=contexts, num_pages=st.integers(0, 5))
    def release(self, context: Context, num_pages: int) -> None:
        model = self.models[context.id]
        empty = model.num_pages - -(-len(model.cells) // SIZE)
        self.table.release(context, num_pages)
        model.num_pages -= min(num_pages, empty)

    @rule(context=contexts, tokens=st.lists(st.integers(0, 1), min_size=1, max_size=9), gap=st.integers(0, 1))
    def write(self, context: Context, tokens: list[int], gap: int) -> None:
        """What a pass does: make pages writable, copy, write, and note the tokens."""
        model, start = self.models[context.id], len(self.models[context.id].cells)
        if start + len(tokens) > model.num_pages * SIZE:
            return
        need = self.table.num_pages_to_write(context, start, len(tokens))
        if need > self.table.pool.num_available:
            with pytest.raises(ContextError, match="out-of-pages"):
                self.table.prepare_write(context, start, len(tokens))
            return
        copies = self.table.prepare_write(context, start, len(tokens))
        for copy in copies:
            self.memory[copy.target] = list(self.memory[copy.source])
        first = context.next_position + gap
        cells = [(token, first + index) for index, token in enumerate(tokens)]
        for index, cell in enumerate(cells, start):
            assert self.table.pool.is_private(context.pages[index // SIZE])
            self.memory[context.pages[index // SIZE]][index % SIZE] = cell
        self.table.pool.release([copy.source for copy in copies])
        context.append([token for token, _ in cells], [position for _, position in cells], {})
        model.working += cells

    @rule(context=contexts, num_tokens=st.integers(0, 9))
    def truncate(self, context: Context, num_tokens: int) -> None:
        model = self.models[context.id]
        self.table.truncate(context, num_tokens)
        del model.working[max(0, len(model.working) - num_tokens) :]

    @rule(context=contexts, num_pages=st.integers(0, 3))
    def commit(self, context: Context, num_pages: int) -> None:
        model, wanted = self.models[context.id], num_pages * SIZE
        if wanted > len(model.working):
            with pytest.raises(ContextError, match="not-committable"):
                self.table.commit(context, num_pages)
            return
        self.table.commit(context, num_pages)
        model.committed += model.working[:wanted]
        del model.working[:wanted]

    @rule(context=contexts, tokens=st.lists(st.integers(0, 1), min_size=4, max_size=12))
    @precondition(lambda self: self.table.index)
    def attach(self, context: Context, tokens: list[int]) -> None:
        """What the start of a pass does with known prefixes."""
        model = self.models[context.id]
        if len(model.cells) % SIZE or len(model.cells) + len(tokens) > model.num_pages * SIZE:
            return
        first = context.next_position
        context.append(tokens, range(first, first + len(tokens)), {})
        before = len(model.working) // SIZE
        digests = [page.digest for page in context.describe_working()][before:]
        context.drop(len(tokens))
        pages = self.table.index.match(digests)
        if sum(not self.table.pool.references(page) for page in pages) > self.table.pool.num_available:
            return
        self.table.attach(context, pages)
        cells = [(token, first + index) for index, token in enumerate(tokens[: len(pages) * SIZE])]
        context.append([token for token, _ in cells], [position for _, position in cells], {})
        model.working += cells

    @invariant()
    def the_books_are_right(self) -> None:
        self.table.check()
        ledger = self.table.ledger()
        assert ledger.free + ledger.cached + ledger.held == ledger.total

    @invariant()
    def every_context_reads_what_was_written_for_it(self) -> None:
        for context_id, model in self.models.items():
            context = self.table.get(context_id)
            assert len(context.pages) == model.num_pages
            assert context.num_committed * SIZE == len(model.committed)
            read = [self.memory[context.pages[i // SIZE]][i % SIZE] for i in range(len(model.cells))]
            assert read == model.cells
            known = [cell for page in context.committed() for cell in zip(page.token_ids, page.positions, strict=True)]
            known += list(zip(context.working_tokens, context.working_positions, strict=True))
            assert known == model.cells


TestContexts = Contexts.TestCase
TestContexts.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_positions_that_do_not_increase_cannot_be_committed() -> None:
    table = ContextTable(make_info(page_size=SIZE), AdapterWeights(lambda _number: None))
    context = table.create("owner", salt="")
    table.reserve(context, 1)
    context.append([1, 2, 3, 4], [0, 1, 1, 2], {})
    with pytest.raises(ContextError, match="not-committable: position 1 follows position 1"):
        table.commit(context, 1)
    assert context.num_committed == 0


def test_pages_of_equal_tokens_and_different_masks_are_not_shared() -> None:
    table = ContextTable(make_info(page_size=SIZE), AdapterWeights(lambda _number: None))
    contexts = [table.create("owner", salt="") for _ in range(3)]
    for context, origins in zip(contexts, ({}, {2: RowOrigin(b"window")}, {2: RowOrigin(b"window")}), strict=True):
        table.reserve(context, 1)
        context.append([1, 2, 3, 4], range(4), origins)
        table.commit(context, 1)
    causal, window, same_window = (context.pages[0] for context in contexts)
    assert causal != window
    assert window == same_window


def test_tenants_of_different_salt_share_no_page() -> None:
    table = ContextTable(make_info(page_size=SIZE), AdapterWeights(lambda _number: None))
    contexts = [table.create("owner", salt=salt) for salt in ("red", "blue", "red")]
    for context in contexts:
        table.reserve(context, 1)
        context.append([1, 2, 3, 4], range(4), {})
        table.commit(context, 1)
    assert contexts[0].pages == contexts[2].pages
    assert contexts[0].pages != contexts[1].pages


def test_the_least_recently_used_cached_page_is_evicted_first() -> None:
    table = ContextTable(make_info(page_size=SIZE, num_pages=3), AdapterWeights(lambda _number: None))
    digests = []
    for token in range(3):
        context = table.create("owner", salt="")
        table.reserve(context, 1)
        context.append([token] * 4, range(4), {})
        table.commit(context, 1)
        assert context.tail is not None
        digests.append(context.tail.digest)
        table.destroy(context)
    assert table.ledger().cached == 3
    table.reserve(table.create("owner", salt=""), 2)
    assert [table.index.find(digest) is None for digest in digests] == [True, True, False]


def test_the_end_of_a_prefix_is_evicted_before_its_beginning() -> None:
    table = ContextTable(make_info(page_size=SIZE, num_pages=3), AdapterWeights(lambda _number: None))
    context = table.create("owner", salt="")
    table.reserve(context, 3)
    context.append(range(12), range(12), {})
    table.commit(context, 3)
    digests = [page.digest for page in context.committed()]
    table.destroy(context)
    table.reserve(table.create("owner", salt=""), 1)
    assert len(table.index.match(digests)) == 2
