"""All contexts of one device: makes, shares and ends them, and keeps page tables, references and prefix index in step.

Every method answers at once, either does all it says or raises and changes nothing, and leaves `check()` content.
Who waits for pages, and which context is being written by a step just now, is the scheduler's business.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise

from pie.forward import AdapterNumber, ContextId, DeviceInfo, PageId
from pie.scheduler import faults
from pie.scheduler.context import CommittedPage, Context
from pie.scheduler.host_pages import HostPages
from pie.scheduler.host_prefixes import HostPrefixes
from pie.scheduler.pages import Ledger, PagePool
from pie.scheduler.prefix import PrefixIndex, page_digest, root_digest
from pie.scheduler.weights import AdapterWeights

__all__ = ["ContextTable", "PageCopy"]


@dataclass(frozen=True, slots=True)
class PageCopy:
    """A copy the device must do before it writes; the source keeps a reference until the step is over."""

    source: PageId
    target: PageId


class ContextTable:
    """The contexts, the page pool and the prefix index of one device, and its host pages."""

    def __init__(self, info: DeviceInfo, weights: AdapterWeights, *, keep_evicted: bool = True) -> None:
        """Start without contexts, every page free; contexts keep the adapter weights that made them.

        Args:
            info: the device's facts.
            weights: who needs which adapter weights.
            keep_evicted: whether evicted prefixes move to host memory.
        """
        self.page_size = info.page_size
        self.num_pages = info.num_pages
        self.index = PrefixIndex()
        self.pool = PagePool(info.num_pages, evicted=self._evicted)
        self.host = HostPages(info.num_host_pages, page_bytes=info.page_bytes)
        self.host_prefixes = HostPrefixes(self.host, enabled=keep_evicted)
        self._fingerprint = info.fingerprint
        self._weights = weights
        self._contexts: dict[ContextId, Context] = {}
        self._owned: dict[str, set[ContextId]] = {}
        self._next_id = 1

    def __len__(self) -> int:
        return len(self._contexts)

    def create(self, owner: str | None, *, salt: str) -> Context:
        """Make an empty context; `salt` names the tenant that shares prefixes with it."""
        return self._add(owner, root_digest(salt=salt, fingerprint=self._fingerprint))

    def get(self, context_id: ContextId) -> Context:
        """The context of this id.

        Raises:
            ContextError: `context-destroyed`.
        """
        context = self._contexts.get(context_id)
        if context is None:
            raise faults.unknown_context(context_id)
        return context

    def find(self, context_id: ContextId) -> Context | None:
        """The context of this id, or None."""
        return self._contexts.get(context_id)

    def of_owner(self, owner: str) -> list[ContextId]:
        """The contexts that end with this owner."""
        return sorted(self._owned.get(owner, ()))

    def owned(self) -> list[Context]:
        """The contexts that end with an owner, older ones first."""
        return [context for context in self._contexts.values() if context.owner is not None]

    def owners_with_pages(self) -> set[str | None]:
        """Everybody who holds at least one page; None stands for saved contexts."""
        return {context.owner for context in self._contexts.values() if context.pages}

    def fork(self, source: Context, *, owner: str | None) -> Context:
        """Make a context of the same content that shares every page; the first of the two to write copies."""
        context = self._add(owner, source.root)
        context.copy_lineage_from(source)
        context.discarded = dict(source.discarded)
        for number in source.adapters:
            self.keep_adapter(context, number)
        context.pages = list(source.pages)
        self.pool.share(context.pages)
        return context

    def rebase(self, context: Context, *, salt: str) -> None:
        """Chain the context's committed pages to another tenant's salt, so that it shares prefixes with that tenant."""
        root = root_digest(salt=salt, fingerprint=self._fingerprint)
        if root == context.root:
            return
        context.root, tail = root, None
        for page in context.committed():
            digest = page_digest(tail.digest if tail else root, page.token_ids, page.positions, page.masks)
            tail = CommittedPage(tail, digest, page.token_ids, page.positions, page.masks, page.origins)
        context.tail = tail

    def destroy(self, context: Context) -> None:
        """Forget the context and give its pages back."""
        self.forget(context)
        self.pool.release(context.pages)
        context.pages = []

    def forget(self, context: Context) -> None:
        """Make the id unknown but keep the pages, which a step still writes; `PagePool.release` must follow."""
        del self._contexts[context.id]
        for number in context.adapters:
            self._weights.release(number)
        context.adapters.clear()
        if context.owner is not None:
            owned = self._owned[context.owner]
            owned.discard(context.id)
            if not owned:
                del self._owned[context.owner]

    def reserve(self, context: Context, num_pages: int) -> None:
        """Add empty working pages.

        Raises:
            ContextError: `out-of-pages`.
        """
        context.pages.extend(self.pool.take(num_pages))

    def release(self, context: Context, num_pages: int) -> None:
        """Give the last `num_pages` pages back, or all empty ones if those are fewer."""
        num_pages = min(num_pages, context.num_empty_pages)
        if context.away is not None:
            context.away.num_pages -= num_pages
            return
        keep = len(context.pages) - num_pages
        pages, context.pages = context.pages[keep:], context.pages[:keep]
        self.pool.release(pages)

    def trim(self, context: Context, *, keep: int) -> None:
        """Give empty pages back until `keep` pages, or no empty one, are left."""
        self.release(context, max(0, context.num_pages - keep))

    def truncate(self, context: Context, num_tokens: int) -> None:
        """Drop the last `num_tokens` working tokens, or all if there are fewer; the number of pages stays."""
        context.drop(min(num_tokens, len(context.working_tokens)))

    def discard(self, context: Context, first: int, num_pages: int) -> None:
        """Give back the memory of committed pages that no later row may see; tokens and positions stay.

        Raises:
            ContextError: `not-discardable` if they are not all committed pages.
        """
        if not 0 <= first <= first + num_pages <= context.num_committed:
            raise faults.not_discardable(first=first, wanted=num_pages, committed=context.num_committed)
        for number in range(first, first + num_pages):
            if number in context.discarded:
                continue
            stand_in = context.pages[next(iter(context.discarded), number)]
            context.discarded[number] = None
            self.pool.share([stand_in])
            self.pool.release([context.pages[number]])
            context.pages[number] = stand_in

    def keep_adapter(self, context: Context, number: AdapterNumber) -> None:
        """Keep the adapter weights that rows of a context were made with for as long as it may be computed again."""
        if number not in context.adapters:
            context.adapters.add(number)
            self._weights.retain(number)

    def check_committable(self, context: Context, num_pages: int) -> None:
        """See whether the first working pages can be committed.

        Raises:
            ContextError: `not-committable` if they are not full or their positions do not increase.
        """
        wanted, have = num_pages * self.page_size, len(context.working_tokens)
        if wanted > have:
            raise faults.not_committable(f"{num_pages} pages hold {wanted} tokens, context {context.id} has {have}")
        self.check_increasing(context, wanted)

    def check_increasing(self, context: Context, num_tokens: int | None = None) -> None:
        """See whether the positions of the first, or all, working tokens increase.

        Raises:
            ContextError: `not-committable` if they do not.
        """
        positions = [context.last_committed_position, *context.working_positions[:num_tokens]]
        if all(map(operator.lt, positions, positions[1:])):
            return
        before, after = next(pair for pair in pairwise(positions) if pair[1] <= pair[0])
        raise faults.not_committable(f"position {after} follows position {before}")

    def commit(self, context: Context, num_pages: int) -> None:
        """Make the first working pages committed ones; of pages with equal content one is kept.

        Raises:
            ContextError: `not-committable`.
        """
        self.check_committable(context, num_pages)
        for page in list(islice(context.describe_working(), num_pages)):
            self._publish(context, context.num_committed, page)
            context.push_committed(page)

    def publish(self, context: Context) -> None:
        """Let others reuse the committed pages of a context that came from a file."""
        for number, page in enumerate(context.committed()):
            if number not in context.discarded:
                self._publish(context, number, page)

    def publish_ahead(self, context: Context, first: int, digests: Sequence[bytes]) -> None:
        """Let others reuse pages from page `first` on that a pass has computed already, which goes on."""
        for page, digest in zip(context.pages[first:], digests, strict=False):
            self.enter(digest, page)

    def enter(self, digest: bytes, page: PageId) -> bool:
        """Let others reuse a held page; False, and no change, if its digest or the page is known already."""
        if not self.index.insert(digest, page):
            return False
        self.pool.mark_indexed(page)
        self.host_prefixes.forget(digest)
        return True

    def num_pages_to_write(self, context: Context, start: int, num_tokens: int) -> int:
        """How many fresh pages it takes before tokens `start …` can be written: missing ones and shared ones."""
        if not num_tokens:
            return 0
        first, last = start // self.page_size, (start + num_tokens - 1) // self.page_size
        shared = sum(not self.pool.is_private(page) for page in context.pages[first : last + 1])
        return shared + max(0, last + 1 - max(first, len(context.pages)))

    def prepare_write(self, context: Context, start: int, num_tokens: int) -> list[PageCopy]:
        """Make every page of tokens `start … start + num_tokens` present and private to the context.

        Returns:
            The copies of kept tokens; the caller releases each source after the step.

        Raises:
            ContextError: `out-of-pages` if fewer than `num_pages_to_write` can be had.
        """
        fresh = self.pool.take(self.num_pages_to_write(context, start, num_tokens))[::-1]
        copies = []
        for number in range(start // self.page_size, -(-(start + num_tokens) // self.page_size)):
            if number >= len(context.pages):
                context.pages.append(fresh.pop())
            elif not self.pool.is_private(old := context.pages[number]):
                context.pages[number] = fresh.pop()
                if number * self.page_size < start:
                    copies.append(PageCopy(old, context.pages[number]))
                else:
                    self.pool.release([old])
        return copies

    def attach(self, context: Context, pages: Sequence[PageId]) -> None:
        """Put pages of known content after the working tokens, in place of the empty pages that stand there."""
        first = context.num_tokens // self.page_size
        self.pool.share(pages)
        replaced = context.pages[first : first + len(pages)]
        context.pages[first : first + len(pages)] = pages
        self.pool.release(replaced)

    def ledger(self) -> Ledger:
        """Count the pages by where they are; suspended contexts are not known here."""
        kept, free, total = len(self.host_prefixes), self.host.num_unused, self.host.total
        return replace(self.pool.ledger(), host_cached=kept, host_free=free, host_total=total)

    def check(self, *, borrowed: Iterable[Sequence[PageId]] = ()) -> None:
        """Verify every invariant.

        Args:
            borrowed: lists of pages that hold references outside of any context.

        Raises:
            RuntimeError: something does not add up; this is a bug of the scheduler.
        """
        self.pool.check([*(context.pages for context in self._contexts.values()), *borrowed])
        for context in self._contexts.values():
            if context.num_tokens > context.num_pages * self.page_size:
                raise RuntimeError(f"{context!r} has more tokens than its pages hold")
            if len(context.committed()) != context.num_committed:
                raise RuntimeError(f"{context!r} has a lineage of another length than its committed pages")
        if any(digest in self.host_prefixes for digest in self.index.digests()):
            raise RuntimeError("a prefix on the device is kept in host memory as well")

    def _add(self, owner: str | None, root: bytes) -> Context:
        context = Context(self._next_id, owner=owner, root=root, page_size=self.page_size)
        context.used_s = time.monotonic()
        self._next_id += 1
        self._contexts[context.id] = context
        if owner is not None:
            self._owned.setdefault(owner, set()).add(context.id)
        return context

    def _evicted(self, page: PageId) -> None:
        self.host_prefixes.keep(self.index.forget(page), page)

    def _publish(self, context: Context, number: int, page: CommittedPage) -> None:
        """Enter a page in the index, or use the page that stands there already."""
        own, known = context.pages[number], self.index.find(page.digest)
        if known is None:
            self.enter(page.digest, own)
        elif known != own:
            self.pool.share([known])
            self.pool.release([own])
            context.pages[number] = known
