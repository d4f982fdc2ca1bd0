"""One step after another: asks `plan` what to do, does it, and hands out what came of it. The only writer.

The cycle is `plan` → `apply` → (the device) → `deliver` or `fail`. Between `apply` and its answer the step is *in
flight*: its rows and pages stay as they are, and what concerns them is done afterwards. Nothing here waits; futures are
only resolved, and what sinks must hear is kept as notes until everything is in order again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence

from pie.errors import PieError
from pie.forward import ContextId, DeviceInfo, ForwardResult, PageId, StepResult
from pie.scheduler import faults
from pie.scheduler.batch import assemble, read_slots
from pie.scheduler.budgets import Budgets
from pie.scheduler.context import Context
from pie.scheduler.contexts import ContextTable, PageCopy
from pie.scheduler.decoding import Decoding, Note
from pie.scheduler.flight import Flight
from pie.scheduler.open_run import OpenRun
from pie.scheduler.pace import Pace
from pie.scheduler.pass_queue import PassQueue
from pie.scheduler.passes import Decode, Pass
from pie.scheduler.plan import Limits, Plan, Start, State, plan
from pie.scheduler.pressure import standing
from pie.scheduler.reservations import Reservation, Reservations
from pie.scheduler.residency import Residency
from pie.scheduler.rows import DecodeRows
from pie.scheduler.speculation import Speculation
from pie.scheduler.splitting import StepRoom, half_of
from pie.scheduler.stats import Stats
from pie.scheduler.suspension import Suspension
from pie.scheduler.working_pages import WorkingPages

__all__ = ["Stepper"]


class Stepper:
    """The queue, the running set and the step in flight."""

    def __init__(
        self, contexts: ContextTable, info: DeviceInfo, limits: Limits, budgets: Budgets, *, prefix_reuse: bool
    ) -> None:
        """Start with nothing to do."""
        self.contexts = contexts
        self.stats = Stats()
        self.reservations = Reservations()
        self.budgets = budgets
        self._room = StepRoom(limits)
        self._pace = Pace(most_tokens=limits.max_batch_tokens, step_s=limits.prompt_step_s)
        self._prefix_reuse = prefix_reuse
        self._rows = DecodeRows(
            vocab_size=info.vocab_size, page_size=info.page_size, max_run_steps=limits.max_run_steps
        )
        self._decoding = Decoding(contexts, self._rows, vocab_size=info.vocab_size, max_positions=info.max_positions)
        self._speculation = Speculation(contexts, self._decoding, self.stats, max_positions=info.max_positions)
        self._queue = PassQueue(short_tokens=max(1, limits.max_batch_tokens // 8))
        self._lines: dict[ContextId, deque[Pass]] = {}
        self.working = WorkingPages(contexts, self._rows, self._lines)
        suspension = Suspension(contexts, self.stats)
        self.residency = Residency(contexts, suspension, self._decoding, self._queue, self._lines)
        self._stalled: tuple[Decode, ...] = ()
        self._blocked: Pass | None = None
        self._flight: Flight | None = None
        self._late: list[Pass] = []
        self._doomed: dict[ContextId, Context] = {}
        self._first_row = 0
        self._favoured: Context | None = None

    def __repr__(self) -> str:
        return f"<Stepper {self._rows.count} decodes, {len(self._queue)} passes, {len(self.reservations)} reservations>"

    def load(self) -> tuple[int, int]:
        """Decodes in the batch; passes and reservations that wait."""
        return self._rows.count, len(self._queue) + len(self.reservations)

    def submit(self, item: Pass) -> None:
        """Take a pass; passes of one context run in the order in which they came."""
        line = self._lines.setdefault(item.context.id, deque())
        line.append(item)
        if len(line) == 1:
            self.residency.go_on(item)

    def abandon(self, item: Pass, error: PieError | None = None) -> None:
        """Drop a pass, or the decode that began with it, and tell whoever waits of the error, if any.

        What a step in flight still computes for it is thrown away. Nothing happens if it is over already.
        """
        if item.over:
            return
        item.over = True
        if item.decode is not None:
            if error is None:
                item.decode.cancelled = item.decode.over = True
            else:
                self._decoding.end(item.decode, error)
        elif item.future is not None and error is not None and not item.future.done():
            item.future.set_exception(error)
        if self._flies(item):
            self._late.append(item)
        else:
            self._end(item)

    def abandon_decode(self, decode: Decode) -> None:
        """Drop a decode wherever it is."""
        for item in list(self._lines.get(decode.context.id, ())):
            if item.decode is decode:
                self.abandon(item)

    def destroy(self, context: Context) -> None:
        """End a context and everything that waits for it; its pages come back when no step uses them."""
        error = faults.context_gone(context.id)
        for reservation in self.reservations.of(context):
            self.refuse(reservation, error)
        for item in list(self._lines.get(context.id, ()))[::-1]:
            self.abandon(item, error)
        self.residency.forget(context)
        if self._lines.get(context.id):
            self.contexts.forget(context)
            self._doomed[context.id] = context
        else:
            self.contexts.destroy(context)

    def serve(self, reservation: Reservation) -> None:
        """Give a reservation its pages, of which there are enough."""
        self.reservations.drop(reservation)
        self.working.grant(reservation.context, reservation.num_pages)
        if not reservation.future.done():
            reservation.future.set_result(None)

    def refuse(self, reservation: Reservation, error: PieError) -> None:
        """Fail a reservation."""
        self.reservations.drop(reservation)
        if not reservation.future.done():
            reservation.future.set_exception(error)

    def is_pinned(self, context: Context) -> bool:
        """Whether a pass of the context is half done, a step in flight extends it, or it is not on the device."""
        if not self.residency.is_here(context):
            return True
        line = self._lines.get(context.id)
        if not line:
            return False
        return self._flight is not None if self._rows.row_of(context.id) is not None else line[0].started

    def is_decoding(self, context: Context) -> bool:
        """Whether a decode past its first pass extends the context."""
        line = self._lines.get(context.id)
        return self._rows.row_of(context.id) is not None or (line is not None and line[0].goes_on)

    def suspend(self, context: Context) -> None:
        """Take a context off the device that no pass extends; it comes back for whatever waits for it."""
        self.residency.suspend(context)
        if self.reservations.of(context):
            self.residency.want(context)

    def favour(self, context: Context) -> None:
        """Let a context go on out of turn, until it has begun something; its reservations are served if they fit."""
        self._favoured = context
        for reservation in self.reservations.of(context) if self.residency.is_here(context) else ():
            if reservation.num_pages <= self.contexts.pool.num_available:
                self.serve(reservation)

    def plan(self) -> Plan:
        """Decide the next step; changes nothing."""
        blocked = self._blocked
        state = State(
            rows=self._rows,
            queue=self._queue,
            contexts=self.contexts,
            reservations=[(r.sequence, r.num_pages, r.context) for r in self.reservations.open()],
            blocked=None if blocked is None or blocked.over or blocked.started or blocked.context.away else blocked,
            step_s=self.stats.step_s,
            first_row=self._first_row,
            prefix_reuse=self._prefix_reuse,
            gate=self._gate() if self.residency.is_waited_for else None,
            favoured=self._favoured,
            most_prompt_tokens=self._pace.num_tokens,
            most_steps=self.budgets.most_steps(decode.context.owner or "" for decode in self._rows.decodes),
        )
        return plan(state, self._room.limits)

    def apply(self, decided: Plan) -> Flight | None:
        """Do what was decided up to the hand-over; None if the device has nothing to do."""
        self._stalled = decided.stalled
        self._blocked = decided.blocked or self._blocked
        for item, error in decided.refused:
            self.abandon(item, error)
        # Known pages are referenced first: what is taken afterwards may evict pages that nobody refers to.
        for start in decided.starts:
            self._attach(start)
        begun = [start.item.context for start in decided.starts]
        if self._favoured in [*begun, *(self._rows.decodes[row].context for row in decided.growing)]:
            self._favoured = None
        copies = self._decoding.grow(decided.growing, steps=decided.steps)
        for reservation in self.reservations.open()[: decided.grants]:
            self.serve(reservation)
        for start in decided.starts:
            item = start.item
            copies += self.contexts.prepare_write(item.context, item.base + item.done, item.remaining)
        chunks, masks = self._decoding.first_masks(decided.chunks)
        for chunk in decided.chunks:
            if chunk.item.decode is not None and chunk.item.decode.over:  # its constraint raised
                self._end(chunk.item)
        if not decided.num_rows and not chunks:
            self._release(copies)
            return None
        batch, readings = assemble(self._rows, decided.rows, chunks, steps=decided.steps, copies=copies, masks=masks)
        decodes = self._rows.decodes_of(decided.rows)
        run = OpenRun(decodes, batch, least_s=self._room.limits.run_s) if decided.is_open else None
        self._flight = Flight(decided, batch, decodes, chunks, masks, readings, copies, run)
        self._queue.rotate()
        return self._flight

    def split(self, flight: Flight) -> Flight | None:
        """Half of a step that does not fit into memory, to try in its place; None if it is a single token."""
        smaller = half_of(flight, self._rows, first=self._room.turn())
        if smaller is not None:
            self._flight = smaller
            self.stats.splits += 1
            self._room.shrink(smaller.batch.num_rows)
        return smaller

    def deliver(self, flight: Flight, result: StepResult, *, seconds: float) -> None:
        """Take the device's answer to the step in flight, which took so long."""
        self._flight = None
        self._room.fits()
        flight.count(self.stats, result, seconds=seconds)
        self._pace.timed(flight.batch.num_rows - flight.plan.num_rows, seconds)
        self._first_row = (self._first_row + flight.plan.num_rows) % max(1, self._rows.count)
        result, ends = self._decoding.watched(flight.plan.rows, result)
        if self.budgets:
            self._charge_rows(flight, result)
        if flight.plan.num_rows:
            ended, drafting = self._decoding.deliver(flight.plan.rows, result, ends, flight.told)
            for decode in ended:
                self._end(self._lines[decode.context.id][0])
            for decode in drafting:
                self._resume(self._lines[decode.context.id][0])
        failed = read_slots(flight.readings, result)
        for chunk in flight.chunks:
            item = chunk.item
            self.contexts.publish_ahead(item.context, *item.advance(chunk.num_tokens))
            if item in failed:
                self.abandon(item, faults.readout_failed(failed[item]))
            elif not item.over and not item.remaining:
                self._complete(item)
        self._land(flight)
        for owner, error in self.budgets.refusals():
            self._stop_passes(owner, error)

    def fail(self, flight: Flight, error: PieError) -> None:
        """Take the device's failure: everything that was part of the step fails, nothing of it stays in KV."""
        self._flight = None
        for decode in flight.decodes:
            item = self._lines[decode.context.id][0]
            self.abandon(item, error)
            self._end(item)
        for chunk in flight.chunks:
            if chunk.item.replay and not chunk.item.over:
                for item in self.residency.replay_failed(chunk.item, error)[::-1]:
                    self.abandon(item, error)
                continue
            self.abandon(chunk.item, error)
            self._end(chunk.item)
        self._land(flight)

    def take_notes(self) -> list[Note]:
        """What sinks must hear now; the caller tells them when it has finished its own changes."""
        notes, self._decoding.notes = self._decoding.notes, []
        return notes if self._flight is None else [*notes, *self._flight.news()]

    @property
    def has_work(self) -> bool:
        """Whether a pass waits or runs, or a decode waits for a page."""
        return bool(len(self._queue) or self._stalled)

    @property
    def has_half_done(self) -> bool:
        """Whether a pass has begun that needs further steps."""
        return any(item.started for item in self._queue)

    def waiting_items(self) -> Iterator[Pass]:
        """The pass at the head of each line; that of a running decode stands for the decode."""
        return (line[0] for line in self._lines.values())

    def fail_all(self, error: PieError) -> None:
        """Fail everything that waits or runs."""
        if self._flight is not None:
            self.fail(self._flight, error)
        for reservation in list(self.reservations):
            self.refuse(reservation, error)
        for line in list(self._lines.values()):
            for item in list(line)[::-1]:
                self.abandon(item, error)

    def borrowed_pages(self) -> Iterator[Sequence[PageId]]:
        """References held outside of known contexts, for `ContextTable.check`."""
        yield [copy.source for copy in self._flight.copies] if self._flight else []
        yield from (context.pages for context in self._doomed.values())

    def _gate(self) -> Context | None:
        """The suspended context that nobody may overtake: the one of highest standing, if it does not fit already."""
        first = max(self.residency.waiters(self.reservations.num_pages()), key=lambda waiter: standing(waiter.context))
        return first.context if first.num_pages > self.contexts.pool.num_available else None

    def _attach(self, start: Start) -> None:
        item = start.item
        item.begin(len(start.reused) * self.contexts.page_size)
        self.contexts.attach(item.context, start.reused)
        self.stats.reused_tokens += item.done

    def _charge_rows(self, flight: Flight, result: StepResult) -> None:
        """Charge the decodes of a step for the tokens that it put into their contexts, one for each it drew."""
        for decode, count in zip(flight.decodes, result.num_tokens.tolist(), strict=False):
            if not decode.over:
                self.budgets.charge(decode.context.owner or "", count)

    def _stop_passes(self, owner: str, error: PieError) -> None:
        """Fail what an owner has asked for and may not begin any more; what is half done goes on to its end."""
        for context_id in self.contexts.of_owner(owner):
            for item in list(self._lines.get(context_id, ()))[::-1]:
                if not item.replay and not (item.started and item.remaining):
                    self.abandon(item, error)

    def _complete(self, item: Pass) -> None:
        if item.replay:
            self.stats.replayed_tokens += item.num_tokens
            self.residency.replayed(item)
            self._end(item)
            return
        item.context.append(item.token_ids.tolist(), item.positions.tolist(), item.row_origins())
        if item.adapter is not None:
            self.contexts.keep_adapter(item.context, item.adapter.number)
        self._queue.discard(item)
        slots = tuple(slot for slot in item.slots if slot is not None)
        if item.decode is None:
            item.over = True
            self.budgets.charge(item.owner, item.num_tokens)
            if item.future is not None and not item.future.done():
                item.future.set_result(ForwardResult(slots))
            self._end(item)
            return
        if item.speculates:
            self._speculation.take(item)
        else:
            self._decoding.join(item.decode, slots[0])
        self.budgets.charge(item.owner, item.context.num_tokens - item.base)
        self._resume(item)

    def _resume(self, item: Pass) -> None:
        """Let a decode that has taken tokens end, or go on by a pass with guesses if it has any, else in its row."""
        if item.decode is not None and not item.decode.over and item.speculates:
            self._speculation.go_on(item)
        if item.decode is not None and item.decode.over:
            self._end(item)
        elif not self._heads_row(item):
            self._queue.add(item)

    def _end(self, item: Pass) -> None:
        """Forget a pass that is over, with its row if it is a decode, and let the next one of its context go on."""
        item.over = True
        item.context.used_s = time.monotonic()
        self._queue.discard(item)
        line = self._lines.get(item.context.id)
        if line is None or item not in line:
            return
        if item.decode is not None and item.is_under_way:
            self._decoding.leave(item.decode)
            self.contexts.trim(item.context, keep=item.decode.floor_pages)
        was_first = line[0] is item
        line.remove(item)
        if not line:
            del self._lines[item.context.id]
        elif was_first:
            self.residency.go_on(line[0])

    def _flies(self, item: Pass) -> bool:
        """Whether a step in flight forbids to forget the pass; a row that leaves would move another one."""
        if self._flight is None or self._heads_row(item):
            return self._flight is not None
        return any(chunk.item is item for chunk in self._flight.chunks)

    def _heads_row(self, item: Pass) -> bool:
        row = self._rows.row_of(item.context.id)
        return row is not None and self._rows.decodes[row] is item.decode

    def _land(self, flight: Flight) -> None:
        """Do what had to wait for the step to be over."""
        self._release(flight.copies)
        late, self._late = self._late, []
        for item in late:
            self._end(item)
        for context in [context for context in self._doomed.values() if context.id not in self._lines]:
            del self._doomed[context.id]
            self.contexts.pool.release(context.pages)

    def _release(self, copies: Sequence[PageCopy]) -> None:
        if copies:
            self.contexts.pool.release([copy.source for copy in copies])
