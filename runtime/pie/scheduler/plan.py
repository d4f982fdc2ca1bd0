"""Decides what the next step does; changes nothing.

`plan` reads the running rows, the waiting passes and the number of pages to be had, and says which rows take part,
which passes start and how many tokens of each are computed. Its promises, which the property tests hold it to:

1. The tokens of the step, decode rows included, are at most `max_batch_tokens`.
2. The pages it spends are at most the free and cached ones.
3. Running rows come first, then reservations, then passes; who waits for pages is not overtaken by later comers.
4. Owners take turns; a pass that fits one step does not wait behind longer ones.
5. Nobody takes pages before a suspended context of higher standing that is waited for; a running row only if it bids
   at least as much.
6. Only a step of nothing but decode rows without constraints, and which see all before them, is a run of several steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pie.errors import PieError
from pie.forward import ContextId, Int32Array, PageId
from pie.scheduler.batch import Chunk
from pie.scheduler.context import Context
from pie.scheduler.contexts import ContextTable
from pie.scheduler.fetches import Fetch, FetchDraft
from pie.scheduler.pass_queue import Lane, PassQueue
from pie.scheduler.passes import Decode, Pass
from pie.scheduler.pressure import Shortage, standing
from pie.scheduler.rows import DecodeRows
from pie.scheduler.run_length import RunLength, run_length
from pie.scheduler.validation import refusal

__all__ = ["Limits", "Plan", "Start", "State", "plan"]

_WHOLE = 32  # tokens that are not divided any more: each part would read all that they see


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a step may be.

    Attributes:
        max_batch_tokens: tokens of one step, >= 4.
        max_batch_rows: decode rows of one step.
        max_run_steps: steps of one decode run.
        run_s: about how long a run lasts; new arrivals wait no longer, or until the step in work is over.
        max_positions: context length of the model.
        prompt_step_s: about how long a step with prompts may last while decodes run; None is as long as it takes.
    """

    max_batch_tokens: int
    max_batch_rows: int
    max_run_steps: int
    run_s: float
    max_positions: int
    prompt_step_s: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What the decision rests on.

    Attributes:
        rows: the running decodes.
        queue: the passes that may start or go on.
        contexts: whose pages are spent.
        reservations: (sequence, pages, context) of those on the device who wait for working pages, highest
            standing first.
        blocked: the oldest pass that was next in turn for pages and found too few, in an earlier step.
        step_s: seconds that a step of decode rows takes, None if not known yet.
        first_row: where the rotation over rows begins if not all fit one step.
        prefix_reuse: whether known prefixes are attached instead of computed.
        gate: the suspended context of highest standing that is waited for, if there are too few pages for it.
        favoured: who may go on out of turn, because nobody else could.
        most_prompt_tokens: tokens of prompts in a step beside running decodes; None is as many as fit.
        most_steps: steps that the rows may run until their token budgets are looked at; None without a limit.
    """

    rows: DecodeRows
    queue: PassQueue
    contexts: ContextTable
    reservations: Sequence[tuple[int, int, Context]]
    blocked: Pass | None
    step_s: float | None
    first_row: int
    prefix_reuse: bool
    gate: Context | None = None
    favoured: Context | None = None
    most_prompt_tokens: int | None = None
    most_steps: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A pass begins: these pages hold its first tokens already."""

    item: Pass
    reused: tuple[PageId, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One step.

    Attributes:
        rows: the decode rows that take part; a slice if all do.
        steps: more than one for a decode run.
        is_open: whether the run lasts until somebody needs the device, `steps` at most; otherwise it goes to its end.
        growing: rows that need pages before they write.
        grants: how many reservations are served, highest standing first.
        starts: passes that begin.
        chunks: what is computed of passes.
        stalled: decodes that cannot get the page they need.
        refused: passes that can never start, and why.
        blocked: the pass that was next in turn for pages and found too few.
        short: who could not go on for want of pages, or was outbid by a suspended context.
        pages_left: pages that nobody takes in this step.
        fetches: what comes back from host memory before the next step is decided, for passes that then begin.
    """

    rows: slice | Int32Array
    num_rows: int
    steps: int
    is_open: bool
    growing: tuple[int, ...]
    grants: int
    starts: tuple[Start, ...]
    chunks: tuple[Chunk, ...]
    stalled: tuple[Decode, ...]
    refused: tuple[tuple[Pass, PieError], ...]
    blocked: Pass | None
    short: tuple[Shortage, ...]
    pages_left: int
    fetches: tuple[Fetch, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything is different after it, so that another look is worth while."""
        return bool(self.num_rows or self.chunks or self.starts or self.grants or self.refused)


def plan(state: State, limits: Limits) -> Plan:
    """Decide the next step."""
    return _Draft(state, limits).finish()


class _Draft:
    """A plan in the making: the pages still to be had, and the choices so far."""

    def __init__(self, state: State, limits: Limits) -> None:
        self._state = state
        self._limits = limits
        self._pages = state.contexts.pool.num_available
        self._starts: dict[Pass, Start] = {}
        self._refused: dict[Pass, PieError] = {}
        self._blocked: Pass | None = None
        self._barrier: int | None = None
        self._short: dict[ContextId, Shortage] = {}
        self._digests: set[bytes | None] | None = None
        self._fetching = FetchDraft(state.contexts, most_tokens=limits.max_batch_tokens)

    def finish(self) -> Plan:
        rows, num_rows = self._choose_rows()
        length = self._run_length(rows, num_rows)
        steps, growing, stalled = self._grow_for(rows, length)
        if stalled:
            taking_part = np.arange(self._state.rows.count, dtype=np.int32)[rows]
            rows = taking_part[~np.isin(taking_part, stalled)]
            num_rows -= len(stalled)
        grants = self._grant()
        chunks = self._deal(self._prompt_tokens(num_rows), num_rows)
        return Plan(
            rows=rows,
            num_rows=num_rows,
            steps=steps,
            is_open=steps > length.closed,
            growing=tuple(growing),
            grants=grants,
            starts=tuple(self._starts.values()),
            chunks=tuple(chunks),
            stalled=tuple(self._state.rows.decodes[row] for row in stalled),
            refused=tuple(self._refused.items()),
            blocked=self._blocked,
            short=tuple(self._short.values()),
            pages_left=self._pages,
            fetches=tuple(self._fetching.fetches),
        )

    def _choose_rows(self) -> tuple[slice | Int32Array, int]:
        """All rows, or as many as fit, a different part of them in each step; and how many."""
        limits, count = self._limits, self._state.rows.count
        room = min(limits.max_batch_rows, limits.max_batch_tokens)
        if self._state.queue:
            room = min(room, limits.max_batch_tokens - max(2, limits.max_batch_tokens // 4))
        if count <= room:
            return slice(0, count), count
        return (np.arange(room, dtype=np.int32) + np.int32(self._state.first_row)) % np.int32(count), room

    def _run_length(self, chosen: slice | Int32Array, num_rows: int) -> RunLength:
        state, limits = self._state, self._limits
        if not state.step_s or state.queue or state.reservations:
            return RunLength(1, 1)
        most = limits.max_run_steps if state.most_steps is None else min(limits.max_run_steps, state.most_steps)
        fitting, waits = int(limits.run_s / state.step_s), state.gate is not None
        return run_length(state.rows, chosen, num_rows, fitting=fitting, most=most, somebody_waits=waits)

    def _grow_for(self, chosen: slice | Int32Array, length: RunLength) -> tuple[int, list[int], list[int]]:
        """Spend pages for an open run if nothing known is evicted for it, else for a closed one, else for one step."""
        pool = self._state.contexts.pool
        if length.most > length.closed:
            cached = pool.num_available - pool.num_free
            self._pages -= cached
            growing, stalled = self._grow(chosen, length.most)
            self._pages += cached
            if not stalled:
                return length.most, growing, stalled
            self._start_over()
        growing, stalled = self._grow(chosen, length.closed)
        if not stalled or length.closed == 1:
            return length.closed, growing, stalled
        self._start_over()
        return 1, *self._grow(chosen, 1)

    def _start_over(self) -> None:
        self._pages = self._state.contexts.pool.num_available
        self._short.clear()

    def _note_shortage(self, context: Context, missing: int) -> None:
        self._short.setdefault(context.id, Shortage(context, missing))

    def _is_outbid(self, context: Context) -> bool:
        gate = self._state.gate
        if gate is None or context is self._state.favoured:
            return False
        return not gate.defaulted and gate.bid > context.bid

    def _stands_behind(self, context: Context) -> bool:
        gate = self._state.gate
        if gate is None or context is self._state.favoured or context.held:
            return False
        return standing(gate) > standing(context)

    def _grow(self, chosen: slice | Int32Array, steps: int) -> tuple[list[int], list[int]]:
        """Spend pages on rows that are about to leave their private ones; highest standing first."""
        rows, contexts = self._state.rows, self._state.contexts
        short: npt.NDArray[np.signedinteger] = (rows.capacity[chosen] - rows.kv_index[chosen] < steps).nonzero()[0]
        if not len(short):
            return [], []
        if not isinstance(chosen, slice):
            short = chosen[short]
        growing, stalled = [], []
        for row in sorted(short.tolist(), key=lambda row: standing(rows.decodes[row].context), reverse=True):
            tokens = min(int(rows.limit[row]), steps)
            if rows.kv_index[row] + tokens <= rows.capacity[row]:
                continue
            context = rows.decodes[row].context
            need = contexts.num_pages_to_write(context, int(rows.kv_index[row]), tokens)
            outbid = self._is_outbid(context)
            if need <= self._pages and not outbid:
                self._pages -= need
                growing.append(row)
            else:
                stalled.append(row)
                self._note_shortage(context, 0 if outbid else need - self._pages)
        return growing, stalled

    def _grant(self) -> int:
        """Serve reservations in order of standing, but none behind a pass that has waited longer for pages."""
        blocked, granted = self._state.blocked, 0
        for sequence, num_pages, context in self._state.reservations:
            behind = self._stands_behind(context)
            if num_pages > self._pages or behind:
                self._note_shortage(context, 0 if behind else num_pages - self._pages)
            if num_pages > self._pages or behind or (blocked is not None and blocked.sequence < sequence):
                self._barrier = sequence
                break
            self._pages -= num_pages
            granted += 1
        return granted

    def _prompt_tokens(self, num_rows: int) -> int:
        left, most = self._limits.max_batch_tokens - num_rows, self._state.most_prompt_tokens
        return left if most is None or not num_rows else min(left, most)

    def _deal(self, budget: int, num_rows: int) -> list[Chunk]:
        """Split the tokens left: first short passes, half at most if long ones wait, then long ones, then the rest."""
        queue = self._state.queue
        if not queue or budget <= 0:
            return []
        blocked = self._state.blocked
        if blocked is not None and (self._barrier is None or blocked.sequence < self._barrier):
            self._barrier = blocked.sequence
        headroom = min(num_rows, self._state.contexts.num_pages // 8)
        tokens: dict[Pass, int] = {}

        def admit(item: Pass) -> int:
            return self._admit(item, headroom=headroom)

        first = budget // 2 if queue.long else budget
        budget -= _deal_lane(queue.short, max(1, first), tokens, admit, share=None)
        share = -(-budget // max(1, len(queue.long.lines())))
        budget -= _deal_lane(queue.long, budget, tokens, admit, share=share)
        for item, given in tokens.items():
            more = min(budget, self._remaining(item) - given)
            tokens[item] += more
            budget -= more
        _deal_lane(queue.short, budget, tokens, admit, share=None)
        return [Chunk(item, given) for item, given in tokens.items()]

    def _coming(self) -> set[bytes | None]:
        """The digests of the pages that passes under way compute next and let others reuse."""
        if self._digests is None:
            self._digests = {item.digest_at(item.done) for item in self._state.queue if item.started and item.leads}
        self._digests.discard(None)
        return self._digests

    def _remaining(self, item: Pass) -> int:
        start = self._starts.get(item)
        reused = len(start.reused) * self._state.contexts.page_size if start else 0
        return item.remaining - reused

    def _admit(self, item: Pass, *, headroom: int) -> int:
        """How many tokens of the pass can be computed: none if it cannot start for want of pages."""
        if item.started or item in self._starts:
            return self._remaining(item)
        contexts = self._state.contexts
        item.place()
        error = self._refused.get(item) or refusal(item, contexts, self._limits.max_positions)
        if error is not None:
            self._refused[item] = error
            return 0
        reused = contexts.index.match(item.reusable_digests()) if self._state.prefix_reuse else []
        waking = sum(not contexts.pool.references(page) for page in reused)
        skipped = len(reused) * contexts.page_size
        if self._state.prefix_reuse and item.digest_at(skipped) in self._coming():
            return 0  # another pass computes what comes next
        fresh = contexts.num_pages_to_write(item.context, item.base + skipped, item.num_tokens - skipped)
        if not fresh and waking > self._pages:
            # Its own pages are there, but too few to let known ones come out of the cache as well.
            reused, waking = [], 0
            fresh = contexts.num_pages_to_write(item.context, item.base, item.num_tokens)
        if fresh and not self._may_take(item, fresh + waking, headroom=headroom):
            return 0
        if self._waits_for_fetch(item, reused, waking=waking, fresh=fresh):
            return 0
        self._pages -= fresh + waking
        self._starts[item] = Start(item, tuple(reused))
        if item.leads:
            self._coming().add(item.digest_at(len(reused) * contexts.page_size))
        return self._remaining(item)

    def _may_take(self, item: Pass, num_pages: int, *, headroom: int) -> bool:
        """Whether a pass that begins is in turn for pages and there are enough; notes what it lacks."""
        if self._is_outbid(item.context) if item.goes_on else self._stands_behind(item.context):
            self._note_shortage(item.context, 0)
            return False
        # A decode that goes on is like a running row: it has its turn before those who only begin.
        behind = self._barrier is not None and item.sequence > self._barrier and not item.goes_on
        behind = behind and item.context is not self._state.favoured
        spare = self._pages - (headroom if item.decode is not None and not item.goes_on else 0)
        if behind or num_pages > spare:
            if self._blocked is None and not behind:
                self._blocked, self._barrier = item, item.sequence
                self._note_shortage(item.context, num_pages - spare)
            return False
        return True

    def _waits_for_fetch(self, item: Pass, reused: list[PageId], *, waking: int, fresh: int) -> bool:
        """Whether pages of a pass that could begin come back from host memory first."""
        if not self._state.prefix_reuse or (not fresh and self._stands_behind(item.context)):
            return False
        need = self._fetching.consider(item, reused, waking=waking, fresh=fresh, num_pages=self._pages)
        self._pages -= need or 0
        return need is not None


def _deal_lane(
    lane: Lane, budget: int, tokens: dict[Pass, int], admit: Callable[[Pass], int], *, share: int | None
) -> int:
    """Give the passes of a lane their tokens, owner by owner; return how many were given."""
    lines, given = deque(lane.lines()), 0
    while lines and given < budget:
        line = lines.popleft()
        item = next((item for item in line if item not in tokens), None)
        if item is None:
            continue
        lines.append(line)
        left = admit(item)
        count = min(left, budget - given, share if share and left > _WHOLE else budget)
        if count:
            tokens[item] = count
            given += count
    return given
