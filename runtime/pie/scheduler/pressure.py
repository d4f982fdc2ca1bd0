"""Who must leave the device when pages run short, and who may come back; decides only, changes nothing.

Contexts have a *standing*: who can pay stands before who could not, then the higher bid, then the older program.
Whoever lacks pages takes them from contexts of lower standing, or else leaves; a context that comes back takes nobody's
pages. The context that stands highest therefore always gets what it needs, and everybody's turn comes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pie.forward import ContextId, PageId
from pie.scheduler.context import Context
from pie.scheduler.pages import PagePool

__all__ = ["Scene", "Shortage", "Waiter", "clearing", "leaving", "returning", "standing"]

# A program between two steps of its own takes less; one that thinks longer does not need its pages just now.
_RESTED_S = 0.05
# Above this part of all pages in use nobody comes back, so that those who run can grow.
_PAUSE_RESTORE_AT = 0.85


@dataclass(frozen=True, slots=True, eq=False)
class Shortage:
    """A context on the device cannot go on.

    Attributes:
        context: which one.
        missing: pages it lacks; 0 if there are enough, but a waiting context bids more.
    """

    context: Context
    missing: int


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """A suspended context that is waited for; it takes so many pages to bring it back and let it go on."""

    context: Context
    num_pages: int


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What the choice of who leaves rests on.

    Attributes:
        pool: who holds which page.
        present: the contexts that could leave now, with or without pages.
        busy: contexts in which something runs or waits.
        coming: whether passes are half done, whose contexts cannot leave now but soon.
        now_s: the time, on the clock of `Context.used_s`.
    """

    pool: PagePool
    present: Sequence[Context]
    busy: frozenset[ContextId]
    coming: bool
    now_s: float

    def is_rested(self, context: Context) -> bool:
        """Whether nobody has done anything with the context for a while."""
        return context.id not in self.busy and self.now_s - context.used_s > _RESTED_S


def standing(context: Context) -> tuple[bool, float, int, int]:
    """A key that orders contexts: the higher, the longer they keep their pages."""
    return not context.defaulted, context.bid, -context.seniority, -context.id


def leaving(shortages: Iterable[Shortage], scene: Scene) -> tuple[Context, ...]:
    """Who is suspended now so that one of those who are short of pages goes on; nobody if they must wait."""
    shortages = sorted(shortages, key=lambda shortage: standing(shortage.context), reverse=True)
    present = {context.id for context in scene.present}
    outbid = tuple(short.context for short in shortages if not short.missing and short.context.id in present)
    if outbid:
        return outbid
    for shortage in shortages:
        requester = shortage.context
        eligible = [context for context in scene.present if _may_evict(requester, context, scene)]
        if shortage.missing and (victims := _enough(eligible, shortage.missing, scene.pool)):
            return victims
        if scene.coming:
            return ()
        if requester.id in present:
            return (requester,)
    return ()


def clearing(requester: Context, missing: int, scene: Scene) -> tuple[Context, ...] | None:
    """Who leaves for a context when nothing can run, whatever they bid; None if it lacks pages even if all leave.

    Those in which nothing is to be done leave first.
    """
    if missing <= 0:
        return ()
    others = [context for context in scene.present if context is not requester]
    idle = [context for context in others if context.id not in scene.busy]
    return _enough(idle, missing, scene.pool) or _enough(others, missing, scene.pool) or None


def returning(
    waiters: Iterable[Waiter], *, available: int, total: int, headroom: int, quiet: bool
) -> tuple[Context, ...]:
    """Who comes back now, highest standing first; nobody overtakes one that does not fit yet.

    Args:
        waiters: the suspended contexts that are waited for.
        available: pages that nobody will take in the next step.
        total: pages of the device.
        headroom: pages to leave to those who run.
        quiet: whether nothing runs; then the first one comes back however full the device is.
    """
    chosen: list[Context] = []
    for waiter in sorted(waiters, key=lambda waiter: standing(waiter.context), reverse=True):
        paused = total - available > total * _PAUSE_RESTORE_AT and not (quiet and not chosen)
        if paused or waiter.num_pages > available - headroom:
            break
        available -= waiter.num_pages
        chosen.append(waiter.context)
    return tuple(chosen)


def _may_evict(requester: Context, victim: Context, scene: Scene) -> bool:
    if victim is requester:
        return False
    if victim.defaulted or victim.bid < requester.bid:
        return True
    return victim.bid == requester.bid and (standing(victim) < standing(requester) or scene.is_rested(victim))


def _enough(eligible: Iterable[Context], missing: int, pool: PagePool) -> tuple[Context, ...]:
    """The lowest of these whose leaving frees so many pages; nobody if all of them do not."""
    released: Counter[PageId] = Counter()
    victims: list[Context] = []
    freed = 0
    for context in sorted((context for context in eligible if context.pages), key=standing):
        released.update(context.pages)
        freed += sum(released[page] == pool.references(page) for page in set(context.pages))
        victims.append(context)
        if freed >= missing:
            return tuple(victims)
    return ()
