"""Physical KV pages: how often each is referenced, which are free, and which are kept only because they may be reused.

A page is an index into the device's KV cache. This module never sees a token or a tensor; it counts references.
A page without references is *free*, or *cached* while the prefix index knows it; cached pages are given out,
least recently used first, when no free one is left.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pie.forward import PageId
from pie.scheduler import faults

__all__ = ["Ledger", "PagePool"]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where all pages are; always `free + cached + held == total`, `stashed + host_cached + host_free == host_total`.

    Attributes:
        free: pages that hold nothing.
        cached: pages nobody references, kept for reuse until the room is needed.
        held: pages referenced by at least one context or saved context.
        total: pages of the device.
        stashed: pages of host memory that hold copies for suspended contexts.
        host_cached: pages of host memory that hold evicted prefixes, until the room is needed.
        host_free: pages of host memory that hold nothing of use.
        host_total: pages of host memory; not part of `total`.
    """

    free: int
    cached: int
    held: int
    total: int
    stashed: int = 0
    host_cached: int = 0
    host_free: int = 0
    host_total: int = 0


class PagePool:
    """All pages of one device and their reference counts."""

    def __init__(self, num_pages: int, *, evicted: Callable[[PageId], None]) -> None:
        """Start with every page free.

        Args:
            num_pages: pages of the device.
            evicted: told of each cached page that is about to be given out for other content.
        """
        self._evicted = evicted
        self._references = [0] * num_pages
        self._free = list(range(num_pages - 1, -1, -1))
        self._cached: OrderedDict[PageId, None] = OrderedDict()
        self._indexed = bytearray(num_pages)

    def __repr__(self) -> str:
        ledger = self.ledger()
        return f"<PagePool {ledger.free} free, {ledger.cached} cached, {ledger.held} held>"

    @property
    def num_available(self) -> int:
        """Pages that `take` can give now: the free and the cached ones."""
        return len(self._free) + len(self._cached)

    @property
    def num_free(self) -> int:
        """Pages that `take` can give now without evicting any."""
        return len(self._free)

    def ledger(self) -> Ledger:
        """Count the pages by where they are."""
        total, free, cached = len(self._references), len(self._free), len(self._cached)
        return Ledger(free=free, cached=cached, held=total - free - cached, total=total)

    def references(self, page: PageId) -> int:
        """How many holders the page has."""
        return self._references[page]

    def is_private(self, page: PageId) -> bool:
        """Whether its only holder may write to the page: nobody else refers to it, neither does the prefix index."""
        return self._references[page] == 1 and not self._indexed[page]

    def take(self, num_pages: int) -> list[PageId]:
        """Give out pages with one reference each, evicting cached ones if the free ones do not suffice.

        Raises:
            ContextError: `out-of-pages` if there are not so many; nothing is taken then.
        """
        if num_pages > self.num_available:
            raise faults.out_of_pages(wanted=num_pages, free=self.num_available, total=len(self._references))
        pages = []
        for _ in range(num_pages):
            page = self._free.pop() if self._free else self._evict()
            self._references[page] = 1
            pages.append(page)
        return pages

    def share(self, pages: Iterable[PageId]) -> None:
        """Add a reference to each page; a cached page becomes a held one."""
        for page in pages:
            if not self._references[page]:
                del self._cached[page]
            self._references[page] += 1

    def release(self, pages: Sequence[PageId]) -> None:
        """Drop a reference to each page; the last of them goes first, so that prefixes outlive what follows them."""
        for page in reversed(pages):
            self._references[page] -= 1
            if not self._references[page]:
                if self._indexed[page]:
                    self._cached[page] = None
                else:
                    self._free.append(page)

    def mark_indexed(self, page: PageId) -> None:
        """Remember that the prefix index knows the content of a held page."""
        self._indexed[page] = 1

    def check(self, holders: Iterable[Sequence[PageId]]) -> None:
        """Verify every invariant against the page tables that exist.

        Args:
            holders: all page tables and other lists of referenced pages.

        Raises:
            RuntimeError: a count is wrong; this is a bug of the scheduler.
        """
        counted = [0] * len(self._references)
        for pages in holders:
            for page in pages:
                counted[page] += 1
        if counted != self._references:
            wrong = [page for page, count in enumerate(counted) if count != self._references[page]]
            raise RuntimeError(f"pages {wrong[:8]} have reference counts that differ from their holders")
        unheld = sorted([*self._free, *self._cached])
        if unheld != [page for page, count in enumerate(counted) if not count]:
            raise RuntimeError("the free and cached pages are not exactly the unreferenced ones")
        if any(not self._indexed[page] for page in self._cached) or any(self._indexed[page] for page in self._free):
            raise RuntimeError("a cached page is not in the prefix index, or a free one is")

    def _evict(self) -> PageId:
        page, _ = self._cached.popitem(last=False)
        self._indexed[page] = 0
        self._evicted(page)
        return page
