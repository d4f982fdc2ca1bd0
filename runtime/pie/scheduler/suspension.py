"""Pages off the device: which host page holds what of which suspended context, and how its pages come back.

A page of a suspended context is in host memory, or known to the prefix index (somebody else holds it, or nobody has
needed the room yet), or nowhere: then its tokens are computed again. Books only: the copies are noted in the order in
which the device must do them, and what waits or runs in a context is not known here.
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
    """The contexts that are off the device, and the host pages.

    Attributes:
        away: the suspended contexts, in the order in which they left.
        outward: host page -> page to copy there, not handed to the device yet.
        homeward: (page, host page) copies to do after those.
    """

    def __init__(self, contexts: ContextTable, stats: Stats, *, num_host_pages: int) -> None:
        """Start with every host page free; `stats` counts who leaves."""
        self._stats = stats
        self.away: dict[ContextId, Context] = {}
        self.outward: dict[HostPageId, PageId] = {}
        self.homeward: list[tuple[PageId, HostPageId]] = []
        self._contexts = contexts
        self._num_host_pages = num_host_pages
        self._free = list(range(num_host_pages - 1, -1, -1))
        self._leaving: list[HostPageId] = []  # read by `homeward`; free when those copies are handed over

    @property
    def num_stashed(self) -> int:
        """Host pages that hold something."""
        return self._num_host_pages - len(self._free)

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
        self._stats.suspensions += 1
        is_replayable = self.is_replayable(context)
        leaving = self._unshared_numbers(context) if is_replayable else self._all_numbers(context)
        copies = dict(zip(leaving, self._take(len(leaving), context), strict=False))
        self.outward.update((slot, context.pages[number]) for number, slot in copies.items())
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
        fresh = pool.take(layout.num_places)
        stand_in = None if layout.stand_in is None else fresh[layout.stand_in]
        pages = {number: fresh[place] for number, place in layout.places.items()} | known
        pages |= {number: stand_in for number in context.discarded if stand_in is not None and number not in pages}
        context.pages = [pages[number] for number in range(away.num_pages)]
        for page, times in Counter(page for number, page in pages.items() if number not in known).items():
            pool.share([page] * (times - 1))
        self.homeward += [(context.pages[number], away.copies[number]) for number in fetched]
        # The copies back come after those out, so whoever leaves before they are handed over must not write there.
        self._leaving += away.copies.values()
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

    def take_moves(self) -> tuple[list[tuple[PageId, HostPageId]], list[tuple[PageId, HostPageId]]]:
        """The copies to hand to the device now: out, and then back."""
        outward, homeward = [(page, slot) for slot, page in self.outward.items()], self.homeward
        self.outward, self.homeward = {}, []
        self._free += self._leaving
        self._leaving = []
        return outward, homeward

    def lose(self, slots: Iterable[HostPageId]) -> list[Context]:
        """Note that these host pages could not be written; returns the contexts whose content is gone for good.

        That of the others will be computed again.
        """
        lost = set(slots)
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
        if sorted([*used, *self._free, *self._leaving]) != list(range(self._num_host_pages)):
            raise RuntimeError("the host pages are not exactly the free ones and those of suspended contexts")
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
        copied = [number for number in sorted(away.copies) if number not in known]
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

    def _take(self, count: int, context: Context) -> Sequence[HostPageId]:
        """Host pages, for which contexts that bid no more lose theirs, the last to leave first; none if too few."""
        if count > self._room_for(context):
            return ()
        for other in self._weaker(context):
            if len(self._free) >= count:
                break
            self._drop_copies(other)
        return [self._free.pop() for _ in range(count)]

    def _room_for(self, context: Context) -> int:
        return len(self._free) + sum(len(other.away.copies) for other in self._weaker(context) if other.away)

    def _weaker(self, context: Context) -> list[Context]:
        """Those who lose their host pages first for this context; not where they hold the only copy."""
        others = [one for one in reversed(self.away.values()) if one.bid <= context.bid]
        return [one for one in others if one.away is not None and one.away.is_replayable]

    def _drop_copies(self, context: Context) -> None:
        if context.away is None:
            return
        for slot in context.away.copies.values():
            self.outward.pop(slot, None)
        self._free += context.away.copies.values()
        context.away.copies = {}
