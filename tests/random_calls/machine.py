"""A process that calls the host at random, rightly and wrongly, and knows what each call must do and be told."""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, multiple, rule
from tests.random_calls.contexts import PAGE, VOCABULARY, Believed
from tests.random_calls.requests import GENERATION_DEFECTS, PASS_DEFECTS, Asked, ask, hide, options, rows_of
from tests.random_calls.server import Refused, Server, Tally, Texts

__all__ = ["RandomCalls"]

NAMES = st.sampled_from(["a", "b", "ü/.."])
COUNTS = st.sampled_from([0, 1, 1, 2, 3, 5, 9])
TOKENS = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=9)
RIGHT = st.just("")


class RandomCalls(RuleBasedStateMachine):
    """The calls of contexts, pages, passes, generations and snapshots, beside a model of all contexts."""

    contexts = Bundle("contexts")

    def __init__(self, texts: Texts, tally: Tally) -> None:
        super().__init__()
        self._texts = texts
        self._tally = tally
        self._believed: dict[Any, Believed] = {}
        self._saved: dict[str, Believed] = {}
        self._folder: Path | None = None

    @initialize(on_disk=st.booleans(), num_host_pages=st.sampled_from([0, 64]), target=contexts)
    def begin(self, *, on_disk: bool, num_host_pages: int) -> Any:
        self._folder = Path(tempfile.mkdtemp(prefix="pie-random-calls-")) if on_disk else None
        self._server = Server(self._texts, self._tally, snapshot_dir=self._folder, num_host_pages=num_host_pages)
        return self._made(self._server.context("create", self._server.model), Believed())

    def teardown(self) -> None:
        if hasattr(self, "_server"):
            try:
                for context in self._believed:
                    self._check(context)
                    if not self._gone(context) and not self._unfit(self._believed[context]):
                        self._draw(context)  # it holds what it should
            finally:
                self._server.close()
        if self._folder is not None:
            shutil.rmtree(self._folder)

    # Contexts --------------------------------------------------------------------------------------------------------

    @rule(target=contexts)
    def create(self) -> Any:
        return self._made(self._server.context("create", self._server.model), Believed())

    @rule(context=contexts, target=contexts)
    def fork(self, context: Any) -> Any:
        believed = self._believed[context]
        fork = self._must_be(self._gone(context), lambda: self._server.context("fork", context))
        return multiple() if fork is None else self._made(fork, believed.copy())

    @rule(context=contexts)
    def destroy(self, context: Any) -> None:
        self._server.context("destroy", context)
        self._believed[context].is_alive = False
        self._check(context)

    @rule(context=consumes(contexts))
    def drop(self, context: Any) -> None:
        context.close()  # as the table of handles does
        del self._believed[context]

    @rule(context=contexts, value=st.sampled_from([0.0, 2.5, -1.0, math.nan, math.inf]))
    def bid(self, context: Any, value: float) -> None:
        is_wrong = self._believed[context].is_alive and not 0 <= value < math.inf
        self._must_be("bad-bid" if is_wrong else None, lambda: self._server.context("bid", context, value))

    @rule(context=contexts)
    def suspend(self, context: Any) -> None:
        self._must_be(self._gone(context), lambda: self._server.context("suspend", context))
        self._check(context)

    # Pages -----------------------------------------------------------------------------------------------------------

    @rule(context=contexts, num_pages=COUNTS | st.just(2**32 - 1))
    def reserve(self, context: Any, num_pages: int) -> None:
        code = self._gone(context) or ("out-of-pages" if num_pages > self._server.info.num_pages else None)
        self._must_be(code, lambda: self._server.context("reserve-working-pages", context, num_pages))
        if code is None:
            self._believed[context].working += num_pages
        self._check(context)

    @rule(context=contexts, num_pages=COUNTS | st.just(2**32 - 1))
    def release(self, context: Any, num_pages: int) -> None:
        self._server.context("release-working-pages", context, num_pages)
        if self._believed[context].is_alive:
            self._believed[context].release(num_pages)
        self._check(context)

    @rule(context=contexts, num_tokens=COUNTS | st.just(2**32 - 1))
    def truncate(self, context: Any, num_tokens: int) -> None:
        self._server.context("truncate-working-page-tokens", context, num_tokens)
        if self._believed[context].is_alive:
            self._believed[context].truncate(num_tokens)
        self._check(context)

    @rule(context=contexts, num_pages=COUNTS | st.just(2**32 - 1))
    def commit(self, context: Any, num_pages: int) -> None:
        believed = self._believed[context]
        fits = num_pages * PAGE <= believed.working_tokens and believed.is_increasing(num_pages * PAGE)
        code = self._gone(context) or (None if fits else "not-committable")
        self._must_be(code, lambda: self._server.context("commit-working-pages", context, num_pages))
        if code is None:
            believed.commit(num_pages)
        self._check(context)

    @rule(context=contexts, first=COUNTS, count=COUNTS | st.just(2**32 - 1))
    def discard(self, context: Any, first: int, count: int) -> None:
        believed = self._believed[context]
        code = self._gone(context) or ("not-discardable" if first + count > believed.committed else None)
        self._must_be(code, lambda: self._server.call("pie:ext/pages", "discard", context, first, count))
        if code is None:
            believed.discarded.update(range(first, first + count))
        self._check(context)

    # Passes ----------------------------------------------------------------------------------------------------------

    @rule(
        context=contexts,
        tokens=TOKENS,
        gap=st.sampled_from([0, 0, 0, 1, -1]),
        hidden=st.none() | st.integers(0, 12),
        reserves=st.sampled_from([True, True, True, False]),
        defect=RIGHT | st.sampled_from([*PASS_DEFECTS, "row"]),
        allowed=st.none() | st.integers(1, VOCABULARY - 1),
    )
    def forward(
        self,
        context: Any,
        tokens: list[int],
        gap: int,
        hidden: int | None,
        *,
        reserves: bool,
        defect: str,
        allowed: int | None,
    ) -> None:
        """A pass: `gap` is left before its first position, `hidden` first keys are masked, `allowed` tokens drawn."""
        believed = self._believed[context]
        if reserves and believed.is_alive:
            self.reserve(context, -(-(believed.working_tokens + len(tokens)) // PAGE))
        first = max(0, believed.next_position + gap)
        positions = list(range(first, first + len(tokens)))
        length = len(believed.history)
        masks = None if hidden is None else [hide(length + index + 1, hidden) for index in range(len(tokens))]
        if defect == "row":
            masks = [[0, length + len(tokens) + 1]] * len(tokens)
        asked = ask(tokens, positions, masks, allowed).spoilt(defect, max_positions=self._server.info.max_positions)
        code = PASS_DEFECTS.get(defect) or self._gone(context) or self._refusal(believed, len(tokens), masks, defect)
        output = self._must_be(code, lambda: self._run(context, asked))
        if output is not None:
            rows = None if masks is None else [rows_of(mask) for mask in masks]
            believed.write(tokens, positions, rows)
            drawn = believed.draw(None if allowed is None else range(VOCABULARY - allowed, VOCABULARY))
            assert [(slot.tag, slot.payload) for slot in output["slots"]] == [("token", drawn)]
        self._check(context)

    @rule(context=contexts, tokens=TOKENS)
    def destroy_under_a_pass(self, context: Any, tokens: list[int]) -> None:
        """What waits for a context that goes fails with it, unless it was over before."""
        if self._believed[context].is_alive and not self._believed[context].discarded:
            self.reserve(context, 3)
            future = self._start(context, ask(tokens, list(range(len(tokens))), None, None))
            self.destroy(context)
            self._may_be("context-destroyed", lambda: self._server.output(future))

    # Generations -----------------------------------------------------------------------------------------------------

    @rule(
        context=contexts,
        tokens=TOKENS,
        max_tokens=st.integers(1, 8),
        stop=st.sets(st.integers(0, VOCABULARY - 1), max_size=30),
        speculate=st.booleans(),
        defect=RIGHT | RIGHT | st.sampled_from(list(GENERATION_DEFECTS)),
    )
    def generate(
        self, context: Any, tokens: list[int], max_tokens: int, stop: set[int], *, speculate: bool, defect: str
    ) -> None:
        believed = self._believed[context]
        code = GENERATION_DEFECTS.get(defect) or self._gone(context) or self._unfit(believed)
        wanted = options(tokens, max_tokens, stop, speculate=speculate, defect=defect)
        made = self._must_be(code, lambda: self._generated(context, wanted))
        if made is not None:
            foreseen = believed.foresee(tokens, max_tokens=max_tokens, stop=stop)
            assert made == (foreseen.tokens, foreseen.finish)
            fed = foreseen.tokens if foreseen.finish == "stop" else foreseen.tokens[:-1]
            believed.was_generated([*tokens, *fed])
        self._check(context)

    @rule(context=contexts, tokens=TOKENS, num_turns=st.integers(0, 30))
    def interrupt(self, context: Any, tokens: list[int], num_turns: int) -> None:
        """End a generation somewhere; what is in the way meanwhile is told so."""
        believed = self._believed[context]
        if not believed.is_alive or self._unfit(believed):
            return
        generation = self._server.generate(context, options(tokens, 60, set(), speculate=False, defect=""))
        self._server.pause(num_turns)
        self._may_be("context-busy", lambda: self._server.call("pie:ext/pages", "discard", context, 0, 0))
        progress = self._server.cancel(generation)
        made = [] if progress is None else list(progress.tokens)
        num_fed = self._num_tokens(context) - len(believed.history) - len(tokens)
        if num_fed < 0:
            assert (num_fed, made) == (-len(tokens), []), "all of the input is there or nothing"
        else:
            assert made == believed.foresee(tokens, max_tokens=len(made), stop=set()).tokens[: len(made)]
            assert len(made) - 1 <= num_fed <= len(made)
            believed.was_generated([*tokens, *made[:num_fed]])
        self._check(context)

    # Snapshots -------------------------------------------------------------------------------------------------------

    @rule(context=contexts, name=NAMES)
    def save(self, context: Any, name: str) -> None:
        code = self._gone(context)
        self._must_be(code, lambda: self._server.context("save", context, name))
        if code is None:
            self._saved[name] = self._believed[context].copy(trimmed=True)
        self._check(context)

    @rule(name=NAMES, takes=st.booleans(), target=contexts)
    def open(self, name: str, *, takes: bool) -> Any:
        how, code = "take" if takes else "open", self._missing(name)
        opened = self._must_be(code, lambda: self._server.context(how, self._server.model, name))
        if opened is None:
            return multiple()
        believed = self._saved.pop(name) if takes else self._saved[name].copy()
        return self._made(opened, believed)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self._must_be(self._missing(name), lambda: self._server.context("delete", self._server.model, name))
        self._saved.pop(name, None)

    # What the rules share --------------------------------------------------------------------------------------------

    def _made(self, context: Any, believed: Believed) -> Any:
        self._believed[context] = believed
        self._check(context)
        return context

    def _check(self, context: Any) -> None:
        """The host's counts are those that they must be."""
        names = ("committed-page-count", "working-page-count", "working-page-token-count")
        told = tuple(self._server.context(name, context) for name in names)
        assert told == self._believed[context].counts
        assert self._server.context("tokens-per-page", context) == PAGE

    def _num_tokens(self, context: Any) -> int:
        committed = int(self._server.context("committed-page-count", context))
        return committed * PAGE + int(self._server.context("working-page-token-count", context))

    def _may_be(self, code: str, call: Callable[[], Any]) -> None:
        """Call; nothing else than this code may be told."""
        with contextlib.suppress(Refused):
            call()
            return
        assert self._server.last_code == code

    def _must_be(self, code: str | None, call: Callable[[], Any]) -> Any:
        """What a call gives, which must be told this code if there is one; then it is None."""
        if code is None:
            return call()
        with pytest.raises(Refused, match=f"^{code}$"):
            call()
        return None

    def _gone(self, context: Any) -> str | None:
        return None if self._believed[context].is_alive else "context-destroyed"

    def _missing(self, name: str) -> str | None:
        return None if name in self._saved else "snapshot-not-found"

    def _unfit(self, believed: Believed) -> str | None:
        """Why a generation cannot go on from here."""
        if believed.discarded:
            return "discarded-page"
        return None if believed.is_increasing(len(believed.positions)) else "not-committable"

    def _refusal(
        self, believed: Believed, num_tokens: int, masks: Sequence[Sequence[int]] | None, defect: str
    ) -> str | None:
        """Why a well-formed pass cannot run in the state of its context."""
        if believed.working_tokens + num_tokens > believed.working * PAGE:
            return "no-room"
        if defect == "row":
            return "bad-mask"
        for page in believed.discarded:
            for index in range(num_tokens):
                row = None if masks is None else rows_of(masks[index])
                if row is None or any(row[page * PAGE : (page + 1) * PAGE]):
                    return "discarded-page"
        return None

    def _start(self, context: Any, asked: Asked) -> Any:
        """Execute a pass; its future."""
        forward_pass = self._server.begin_pass()
        self._server.on_pass("context", forward_pass, context)
        self._server.on_pass("input-tokens", forward_pass, asked.tokens, asked.positions)
        self._server.on_pass("sampler", forward_pass, [asked.index], asked.sampler)
        if asked.masks is not None:
            self._server.on_pass("attention-mask", forward_pass, asked.masks)
        if asked.logit_mask is not None:
            self._server.on_pass("logit-mask", forward_pass, asked.logit_mask)
        return self._server.on_pass("execute", forward_pass)

    def _run(self, context: Any, asked: Asked) -> Any:
        return self._server.output(self._start(context, asked))

    def _draw(self, context: Any) -> None:
        """One more token; what is drawn follows from all that the context holds."""
        believed = self._believed[context]
        progress = self._generated(context, options([1], 1, set(), speculate=False, defect=""))
        foreseen = believed.foresee([1], max_tokens=1, stop=set())
        assert progress == (foreseen.tokens, foreseen.finish)

    def _generated(self, context: Any, options: dict[str, Any]) -> tuple[list[int], str]:
        generation = self._server.generate(context, options)
        tokens: list[int] = []
        while True:
            progress = self._server.progress(generation)
            tokens += progress.tokens
            if progress.finish is not None:
                return tokens, progress.finish
