"""Prefixes on their way from host memory to the device, where the prefix index knows them as soon as they are there.

A fetch belongs to nobody: a pass that wants the pages finds them in the index afterwards, like any others, and if it
has ended meanwhile they are cached pages that nobody refers to. If the copies fail, they are computed.
"""

from __future__ import annotations

from collections.abc import Sequence

from pie.forward import PageId
from pie.scheduler.contexts import ContextTable
from pie.scheduler.fetches import Fetch
from pie.scheduler.stats import Stats

__all__ = ["Fetching"]


class Fetching:
    """The fetches that the device has not done yet.

    Attributes:
        pages: references that are held for them.
    """

    def __init__(self, contexts: ContextTable, stats: Stats) -> None:
        """Start without any; `stats` counts the tokens."""
        self.pages: list[PageId] = []
        self._contexts = contexts
        self._stats = stats
        self._coming: list[tuple[bytes, PageId]] = []

    def begin(self, fetches: Sequence[Fetch]) -> None:
        """Note the copies that bring prefixes back, for which there are enough pages."""
        contexts = self._contexts
        for fetch in fetches:  # what they continue must not be evicted for them
            contexts.pool.share(fetch.reused)
            self.pages += fetch.reused
        # Withdrawn first: the pages that are taken may evict others, for which older prefixes leave the host.
        digests = [digest for fetch in fetches for digest in fetch.digests]
        slots = [contexts.host_prefixes.withdraw(digest) for digest in digests]
        fresh = contexts.pool.take(len(slots))
        for page, slot in zip(fresh, slots, strict=True):
            contexts.host.bring_back(page, slot)
        self.pages += fresh
        self._coming += zip(digests, fresh, strict=True)

    def finish(self, *, failed: bool) -> None:
        """Let others find what has come; of what failed nothing is kept."""
        contexts, coming, pages = self._contexts, self._coming, self.pages
        self._coming, self.pages = [], []
        for digest, page in coming:
            if not failed and contexts.enter(digest, page):
                self._stats.fetched_tokens += contexts.page_size
        contexts.pool.release(pages)
