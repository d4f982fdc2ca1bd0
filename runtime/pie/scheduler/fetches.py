"""Decides which prefixes come back from host memory before the next step; changes nothing but the plan in the making.

Whenever the pages after a pass's known ones lie there, they are copied and not computed. A copy of a page moves
`page_bytes`; computing it takes two operations per weight for each of its tokens. That is ten times the time and more
for the smallest model, and its factor grows with the model, so there is no threshold. It costs no more pages either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pie.forward import PageId
from pie.scheduler.contexts import ContextTable
from pie.scheduler.passes import Pass

__all__ = ["Fetch", "FetchDraft"]


@dataclass(frozen=True, slots=True, eq=False)
class Fetch:
    """Prefixes of these digests come back from host memory: they continue the content of these pages."""

    reused: tuple[PageId, ...]
    digests: tuple[bytes, ...]


class FetchDraft:
    """The fetches of a plan in the making.

    Attributes:
        fetches: the choices so far.
    """

    def __init__(self, contexts: ContextTable, *, most_tokens: int) -> None:
        """Start without any; no more are begun than it takes for a step of `most_tokens`.

        The rest of a prefix that is too long for one call comes home before a later step.
        """
        self.fetches: list[Fetch] = []
        self._contexts = contexts
        self._most_tokens = most_tokens
        self._num_tokens = 0
        self._num_left = contexts.host.most_moved
        self._digests: set[bytes] = set()

    def consider(self, item: Pass, reused: Sequence[PageId], *, waking: int, fresh: int, num_pages: int) -> int | None:
        """See whether a pass that could begin waits until pages after its known ones are back.

        Args:
            item: the pass.
            reused: its known pages.
            waking: how many of them nobody refers to.
            fresh: pages that it takes besides.
            num_pages: pages to be had. If it has reserved pages it keeps them until the others are there, so that it
                may need more than `waking + fresh`; then as many come back as there is room for.

        Returns:
            The pages to set aside for it if it waits, else None.
        """
        contexts = self._contexts
        digests = item.reusable_digests()[len(reused) :]
        count = contexts.host_prefixes.num_leading(digests)
        if not count:
            return None
        if digests[0] in self._digests:
            return 0
        end = (len(reused) + count) * contexts.page_size
        more = contexts.num_pages_to_write(item.context, item.base + end, item.num_tokens - end)
        need = waking + count + more
        if need > num_pages:
            count, need = num_pages - waking - fresh, num_pages
        if count <= 0:
            return None
        if self._num_tokens >= self._most_tokens or not self._num_left:
            return 0
        count = min(count, self._num_left)
        self._num_left -= count
        self._num_tokens += item.num_tokens - (len(reused) + count) * contexts.page_size
        self.fetches.append(Fetch(tuple(reused), tuple(digests[:count])))
        self._digests.update(digests[:count])
        return need
