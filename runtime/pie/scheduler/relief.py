"""Makes room between steps: suspends whom `pressure` names and brings back who fits.

Why nobody waits for ever. Whoever waits for pages is a reservation, a pass in the queue, a row that cannot grow, or a
wanted context off the device; `Scheduler.check` verifies that nobody else waits. As long as anything runs, the one of
highest standing among them is served next: it takes pages from those below it, or leaves, and those who have left come
back in the order of standing, overtaken by nobody. Among equal bids the older program stands higher, so that newcomers
do not put anybody off.

When nothing can run, `unblock` tries all of them, the highest first: whoever could go on if all who can leave left
does so, out of turn if need be, and is favoured until it has begun something, so that each such turn makes progress.
Whoever is refused, a while later, therefore lacks pages of those who cannot leave: contexts saved in memory alone,
those being read from a file, and those whose masks or adapters are known by a file only, while host memory is full.
Owns nothing.
"""

from __future__ import annotations

import time

from pie.errors import PieError
from pie.scheduler import faults
from pie.scheduler.context import Context
from pie.scheduler.flight import Flight
from pie.scheduler.market import Payer
from pie.scheduler.passes import Pass
from pie.scheduler.plan import Plan
from pie.scheduler.pressure import Scene, clearing, leaving, returning, standing
from pie.scheduler.stepper import Stepper

__all__ = ["Relief"]


class Relief:
    """Carries out, between steps, what page pressure demands."""

    def __init__(self, stepper: Stepper) -> None:
        """Act on the contexts and requests of a stepper."""
        self._stepper = stepper
        self._residency = stepper.residency

    def payers(self, flight: Flight) -> list[Payer]:
        """The contexts of a step, which pay rent for their pages if it is crowded."""
        pool = self._stepper.contexts.pool
        payers = {context.id: context for context in flight.contexts() if context.owner is not None}
        return [Payer(context, sum(1 / pool.references(page) for page in context.pages)) for context in payers.values()]

    def price(self) -> float:
        """What a page costs in a crowded step: the lowest bid of those on the device."""
        return min((context.bid for context in self._stepper.contexts.owned() if context.pages), default=0.0)

    @property
    def is_crowded(self) -> bool:
        """Whether no page is free, or somebody waits for one."""
        stepper = self._stepper
        free = stepper.contexts.pool.num_available
        return not free or bool(stepper.reservations) or self._residency.is_waited_for

    def is_needed(self, decided: Plan) -> bool:
        """Whether somebody is short of pages or waits to come back."""
        return bool(decided.short) or self._residency.is_waited_for

    def make_way(self, decided: Plan) -> Plan:
        """Suspend and restore contexts until the next step has what it can get; returns the plan that follows."""
        while victims := leaving(decided.short, self._scene()) if decided.short else ():
            for context in victims:
                self._stepper.suspend(context)
            decided = self._stepper.plan()
        # Who waits for pages of half-done passes is served before anybody comes back.
        if not any(short.missing for short in decided.short):
            self._bring_back(decided)
        return self._stepper.plan()

    def unblock(self) -> bool:
        """When nothing can run, let one of those who wait go on, and others leave for it; whether there is one.

        Standing decides who is tried first, but not more: who cannot go on even if all others leave holds nobody up.
        """
        stepper, pool, scene = self._stepper, self._stepper.contexts.pool, self._scene()
        for context, num_pages in sorted(self._needs(), key=lambda need: standing(need[0]), reverse=True):
            victims = clearing(context, num_pages - pool.num_available, scene)
            if victims is None:
                continue
            for victim in victims:
                stepper.suspend(victim)
            stepper.favour(context)
            if context.away is not None:
                self._come_back(context)
            return True
        return False

    def _needs(self) -> list[tuple[Context, int]]:
        """Who waits for pages, and how many must be free for it to go on; each context once for each thing it needs."""
        stepper, available = self._stepper, self._stepper.contexts.pool.num_available
        waiters = self._residency.waiters(stepper.reservations.num_pages())
        needs = [(waiter.context, waiter.num_pages) for waiter in waiters]
        needs += [(one.context, one.num_pages) for one in stepper.reservations.open()]
        short = {short.context.id: (short.context, available + short.missing) for short in stepper.plan().short}
        return needs + list(short.values())

    def somebody_waits(self) -> bool:
        """Whether somebody waits for pages, seen when no step can be made."""
        stepper = self._stepper
        return bool(stepper.reservations or stepper.has_work or self._residency.is_waited_for)

    def refuse_newest(self) -> bool:
        """Fail whoever asked last and cannot go on, seen when no step can be made; whether there was anybody."""
        stepper, contexts = self._stepper, self._stepper.contexts
        free, total = contexts.pool.num_available, contexts.num_pages
        items = {item.sequence: item for item in stepper.waiting_items()}
        reservations = {reservation.sequence: reservation for reservation in stepper.reservations}
        newest = max([*reservations, *items], default=None)
        if newest is None:
            return False
        if newest in reservations:
            reservation = reservations[newest]
            stepper.refuse(reservation, faults.out_of_pages(wanted=reservation.num_pages, free=free, total=total))
        else:
            stepper.abandon(items[newest], self._out_of_pages(items[newest], free=free))
        return True

    def fail_newer(self, flight: Flight, error: PieError) -> bool:
        """Fail whoever asked last, if that was after everybody in a step of one token; whether there was anybody."""
        flying = max(
            [*(decode.sequence for decode in flight.decodes), *(chunk.item.sequence for chunk in flight.chunks)]
        )
        newer = [item for item in self._stepper.waiting_items() if item.sequence > flying and not item.over]
        if not newer:
            return False
        self._stepper.abandon(max(newer, key=lambda item: item.sequence), error)
        return True

    def _out_of_pages(self, item: Pass, *, free: int) -> PieError:
        context, contexts = item.context, self._stepper.contexts
        self._stepper.working.settle(context)
        if context.away is not None:
            waiters = self._residency.waiters({})
            wanted = next((waiter.num_pages for waiter in waiters if waiter.context is context), context.num_pages)
        else:
            wanted = contexts.num_pages_to_write(context, context.num_tokens, max(1, item.remaining))
        return faults.out_of_pages(wanted=wanted, free=free, total=contexts.num_pages)

    def _bring_back(self, decided: Plan) -> None:
        contexts = self._stepper.contexts
        chosen = returning(
            self._residency.waiters(self._stepper.reservations.num_pages()),
            available=decided.pages_left,
            total=contexts.num_pages,
            headroom=min(decided.num_rows, contexts.num_pages // 8),
            quiet=not decided.num_rows and not decided.chunks,
        )
        for context in chosen:
            self._come_back(context)

    def _come_back(self, context: Context) -> None:
        """Bring a context back if it still fits: what it shared with others may have left with them."""
        if self._residency.suspension.num_pages_to_restore(context) > self._stepper.contexts.pool.num_available:
            return
        self._residency.restore(context)
        for reservation in self._stepper.reservations.of(context):
            if reservation.num_pages <= self._stepper.contexts.pool.num_available:
                self._stepper.serve(reservation)

    def _scene(self) -> Scene:
        stepper = self._stepper
        busy = {item.context.id for item in stepper.waiting_items()} | set(self._stepper.reservations.num_pages())
        return Scene(
            pool=stepper.contexts.pool,
            present=list(self._residency.present()),
            busy=frozenset(busy),
            coming=stepper.has_half_done,
            now_s=time.monotonic(),
        )
