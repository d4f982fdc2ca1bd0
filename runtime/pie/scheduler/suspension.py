"""Pages off the device: which host page holds what of which suspended context, and how its pages come back.

A page of a suspended context is in host memory, or known to the prefix index (somebody else holds it, or nobody has
needed the room yet), or among the evicted prefixes, or nowhere: then its tokens are computed again. Books only: the
copies are noted in `HostPages`, and what waits or runs in a context is not known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pie.forward import ContextId, HostPageId, PageId
from pie.scheduler.context import Away, Context
from pie.scheduler.contexts import ContextTable
from pie.scheduler.replay import Layout, discarded_pages_seen, lay_out
from pie.scheduler.stats import Stats

__all__ = ["Arrival", "Suspension"]


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A context on its way back, which has its pages.

    Attributes:
        context: which one.
        fetched: numbers of the pages whose copies come back.
        runs: numbers of the pages that must be computed then, see `Layout`.
        stand_in: the page that stands for all discarded ones in the end; None if there are none.
    """

    context: Context
    fetched: Sequence[int]
    runs: Sequence[Sequence[int]]
    stand_in: PageId | None


class Suspension:
    """The contexts that are off the device, and their host pages.

    Attributes:
        stats: where it counts who leaves.
        away: the suspended contexts, in the order in which they left.
    """

    def __init__(self, contexts: ContextTable, stats: Stats) -> None:
        """Start with every context on the device."""
        self.stats = stats
        self.away: dict[ContextId, Context] = {}
        self._contexts = contexts
        self._host = contexts.host
        self._prefixes = contexts.host_prefixes

    @property
    def num_stashed(self) -> int:
        """Host pages that hold something of suspended contexts."""
        return sum(len(context.away.copies) for context in self.away.values() if context.away)

    def is_replayable(self, context: Context) -> bool:
        """Whether the content of a context can be computed again, on a device of this size."""
        if not context.is_known:
            return False
        if context.num_pages < self._contexts.num_pages or not context.discarded:
            return True
        layout = lay_out(context, known=(), copied=(), sight=discarded_pages_seen(context))
        return layout.num_places <= self._contexts.num_pages

    def can_leave(self, context: Context) -> bool:
        """Whether the content of a context would survive: it can be computed again, or there is room for a copy."""
        return self.is_replayable(context) or len(self._all_numbers(context)) <= self._room_for(context)

    def suspend(self, context: Context) -> None:
        """Take every page from a context that no step extends.

        What only this context holds is copied to host memory, all of it or, if there is no room, none; see `can_leave`.
        """
        self.stats.suspensions += 1
        is_replayable = self.is_replayable(context)
        leaving = self._unshared_numbers(context) if is_replayable else self._all_numbers(context)
        copies = self._copy_out(leaving, context)
        self._leave(context, copies, is_replayable=is_replayable)

    def put_back(self, context: Context) -> None:
        """Take a context that is on its way back off the device again; of what it held nothing is kept."""
        self._leave(context, {}, is_replayable=True)

    def num_pages_to_restore(self, context: Context) -> int:
        """How many of the pages that can be had it takes to bring a context back."""
        away, pool = context.away, self._contexts.pool
        if away is None:
            return 0
        layout, known, _ = self._arrange(context, away)
        return layout.num_places + sum(not pool.references(page) for page in known.values())

    def restore(self, context: Context) -> Arrival:
        """Give a context its pages again, of which there are enough."""
        away, pool = context.away, self._contexts.pool
        if away is None:
            raise RuntimeError(f"{context!r} is on the device already")
        layout, known, fetched = self._arrange(context, away)
        pool.share(known.values())
        slots = self._hold(context, away, fetched)
        fresh = pool.take(layout.num_places)
        stand_in = None if layout.stand_in is None else fresh[layout.stand_in]
        pages = {number: fresh[place] for number, place in layout.places.items()} | known
        pages |= {number: stand_in for number in context.discarded if stand_in is not None and number not in pages}
        context.pages = [pages[number] for number in range(away.num_pages)]
        for page, times in Counter(page for number, page in pages.items() if number not in known).items():
            pool.share([page] * (times - 1))
        for number, slot in slots.items():
            self._host.bring_back(context.pages[number], slot)
        self._give_back(away)
        context.away = None
        del self.away[context.id]
        return Arrival(context, fetched, layout.runs, stand_in)

    def finish(self, arrival: Arrival) -> None:
        """Give back what a context held only while it was computed again."""
        pool, pages, stand_in = self._contexts.pool, arrival.context.pages, arrival.stand_in
        for number in arrival.context.discarded:
            if stand_in is not None and pages[number] != stand_in:
                pool.share([stand_in])
                pool.release([pages[number]])
                pages[number] = stand_in

    def lose(self, slots: Iterable[HostPageId]) -> list[Context]:
        """Note that the device failed to write these host pages; returns the contexts whose content is gone for good.

        That of the others will be computed again, and so will evicted prefixes.
        """
        self._prefixes.clear()
        lost = set(slots) - self._host.outward.keys()  # somebody else may be about to write there by now
        losers = [one for one in self.away.values() if one.away and lost.intersection(one.away.copies.values())]
        for context in losers:
            self._drop_copies(context)
        return [context for context in losers if context.away is not None and not context.away.is_replayable]

    def forget(self, context: Context) -> None:
        """Give the host pages of a context back that has ended."""
        if self.away.pop(context.id, None) is not None:
            self._drop_copies(context)

    def check(self) -> None:
        """Verify that each host page is free, is about to be, or holds one page of one context.

        Raises:
            RuntimeError: something does not add up; this is a bug of the scheduler.
        """
        used = [slot for context in self.away.values() if context.away for slot in context.away.copies.values()]
        self._host.check([*used, *self._prefixes.slots()])
        if not self._prefixes.stashed_slots() <= set(used):
            raise RuntimeError("a prefix is looked for in a host page that no suspended context has")
        if any(context.pages or context.away is None for context in self.away.values()):
            raise RuntimeError("a suspended context has pages")

    def _leave(self, context: Context, copies: dict[int, HostPageId], *, is_replayable: bool) -> None:
        pages, context.pages = context.pages, []
        context.away = Away(len(pages), copies, discarded_pages_seen(context), is_replayable)
        self._contexts.pool.release(pages)
        self.away[context.id] = context

    def _arrange(self, context: Context, away: Away) -> tuple[Layout, dict[int, PageId], list[int]]:
        """How a context comes back, the pages it shares again, and the numbers of those that are copied back."""
        known = self._known(context)
        copied = [number for number in sorted({*away.copies, *self._kept(context)}) if number not in known]
        layout = lay_out(context, known=known, copied=copied, sight=away.sight)
        if layout.num_places + len(known) > self._contexts.num_pages:
            # What is there already leaves too little room for what was discarded and must be computed once more.
            return lay_out(context, known=(), copied=(), sight=away.sight), {}, []
        return layout, known, copied

    def _all_numbers(self, context: Context) -> list[int]:
        return [number for number in range(context.num_full_pages) if number not in context.discarded]

    def _unshared_numbers(self, context: Context) -> list[int]:
        """The numbers of the pages with tokens that leave with this context: nobody else holds them and can tell."""
        pool, index = self._contexts.pool, self._contexts.index
        shared = {
            number
            for number, page in enumerate(context.committed())
            if pool.references(context.pages[number]) > 1 and index.find(page.digest) == context.pages[number]
        }
        return [number for number in self._all_numbers(context) if number not in shared]

    def _known(self, context: Context) -> dict[int, PageId]:
        """Page number -> page on the device with the same content."""
        found = ((number, self._contexts.index.find(page.digest)) for number, page in enumerate(context.committed()))
        return {number: page for number, page in found if page is not None and number not in context.discarded}

    def _kept(self, context: Context) -> list[int]:
        """The numbers of the pages that are among the prefixes in host memory."""
        if not len(self._prefixes) and not self._prefixes.stashed_slots():
            return []
        found = (n for n, page in enumerate(context.committed()) if self._prefixes.find(page.digest) is not None)
        return [number for number in found if number not in context.discarded]

    def _hold(self, context: Context, away: Away, numbers: Iterable[int]) -> dict[int, HostPageId]:
        """Page number -> the host page from which it is copied back; nobody writes there before.

        Prefixes stay there until the context has arrived, for others that come back with it.
        """
        slots, committed = {}, context.committed()
        for number in numbers:
            slot = away.copies.get(number)
            slot = self._prefixes.get(committed[number].digest) if slot is None else slot
            self._host.hold(slot)
            slots[number] = slot
        return slots

    def _copy_out(self, numbers: Sequence[int], context: Context) -> dict[int, HostPageId]:
        """Let pages of a context be copied to host pages, where others find what is a prefix; none if too few.

        Prefixes leave for them, then the copies of contexts that bid no more, of the last to leave first.
        """
        count = len(numbers)
        if count > self._room_for(context):
            return {}
        self._prefixes.make_room(count)
        for other in self._weaker(context):
            if self._host.num_free >= count:
                break
            self._drop_copies(other)
        copies = {number: self._host.take(context.pages[number]) for number in numbers}
        for page, slot in zip(context.committed(), map(copies.get, range(context.num_committed)), strict=True):
            if slot is not None:
                self._prefixes.stash(page.digest, slot)
        return copies

    def _room_for(self, context: Context) -> int:
        """Host pages that a context can have at once, whoever must give them up."""
        weaker = [slot for other in self._weaker(context) if other.away for slot in other.away.copies.values()]
        return self._host.num_free + self._prefixes.num_droppable + sum(not self._host.is_read(slot) for slot in weaker)

    def _weaker(self, context: Context) -> list[Context]:
        """Those who lose their host pages first for this context; not where they hold the only copy."""
        others = [one for one in reversed(self.away.values()) if one.bid <= context.bid]
        return [one for one in others if one.away is not None and one.away.is_replayable]

    def _drop_copies(self, context: Context) -> None:
        if context.away is not None:
            self._give_back(context.away)
            context.away.copies = {}

    def _give_back(self, away: Away) -> None:
        for slot in away.copies.values():
            self._prefixes.unstash(slot)
        self._host.give_back(away.copies.values())
