"""A context: its page table, and which tokens at which positions lie in it.

The first pages are *committed*: full, never written again, known by a chained digest and shared between forks as one
linked list. The pages after them are *working* pages and hold the *working tokens*, of which the last can be dropped.
A context knows no reference counts and no queues; `pie.scheduler.contexts` changes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pie.forward import AdapterNumber, ContextId, HostPageId, Int32Array, PageId
from pie.scheduler.origins import RowOrigin
from pie.scheduler.prefix import page_digest, page_key

__all__ = ["Away", "CommittedPage", "Context", "ContextInfo"]


@dataclass(frozen=True, slots=True, eq=False)
class CommittedPage:
    """What one committed page holds, and the page before it.

    Attributes:
        parent: the page before, None for the first.
        digest: of this page and all before it, see `page_digest`.
        token_ids: `[page_size]` i32.
        positions: `[page_size]` i32, increasing.
        masks: what else its rows follow from, attention masks and adapters (see `page_key`); empty if there is nothing.
        origins: the same, offset -> `RowOrigin`; empty if nothing but `masks` is known, for it came from a file.
    """

    parent: CommittedPage | None
    digest: bytes
    token_ids: Int32Array
    positions: Int32Array
    masks: bytes
    origins: Mapping[int, RowOrigin]


@dataclass(frozen=True, slots=True)
class ContextInfo:
    """What a guest may know of a context; counts of pages and of tokens in KV."""

    committed_pages: int
    working_pages: int
    held_pages: int
    working_tokens: int
    num_tokens: int
    page_size: int
    reused_tokens: int = field(compare=False)  # how it came about is no part of what a context holds


@dataclass(slots=True, eq=False)
class Away:
    """What a context keeps of its pages while it is off the device.

    Attributes:
        num_pages: how many it had and will have again, empty ones included.
        copies: page number -> the host page that holds its content; what is in none is known elsewhere, or replayed.
        sight: what a replay must bring back beside the pages themselves, see `pie.scheduler.replay`.
        is_replayable: whether its content can be computed again; else all of it is in copies.
    """

    num_pages: int
    copies: dict[int, HostPageId]
    sight: Mapping[int, Collection[int]]
    is_replayable: bool


class Context:
    """One token sequence in KV pages.

    Attributes:
        id: what the rest of the runtime calls it.
        owner: who it ends with; None for a saved context.
        root: digest that its first page is chained to.
        page_size: tokens per page.
        pages: physical page ids, committed ones first.
        num_committed: how many of them are committed.
        tail: the last committed page, None if there is none.
        working_tokens, working_positions: what lies in the working pages, in order.
        working_origins: index of a working token -> its attention mask and adapter; plain ones are not in it.
        discarded: numbers of committed pages whose memory was given back, in the order in which that happened; their
            places in `pages` all hold the first of them, which is kept for that, and no row may see any.
        is_known: where each of its rows came from is known, so that they can be computed again; not so if masks or
            adapters of some are known by a file only.
        adapters: the adapter weights that some of its rows were made with; it keeps them.
        away: what is left of the pages while the context is off the device; `pages` is empty then.
        held: somebody outside of steps works on its pages, so that they must stay.
        seniority: a number that grows with the start of its owner.
        bid: credits per page and step that it offers for staying on the device, >= 0.
        defaulted: it could not pay its last rent.
        reused_tokens: how many tokens of its passes were in known pages and not computed.
        used_s: when something was last done with it, on the clock of `time.monotonic`.
    """

    __slots__ = (
        "adapters",
        "away",
        "bid",
        "defaulted",
        "discarded",
        "held",
        "id",
        "is_known",
        "num_committed",
        "owner",
        "page_size",
        "pages",
        "reused_tokens",
        "root",
        "seniority",
        "tail",
        "used_s",
        "working_origins",
        "working_positions",
        "working_tokens",
    )

    def __init__(self, context_id: ContextId, *, owner: str | None, root: bytes, page_size: int) -> None:
        """Make an empty context."""
        self.id = context_id
        self.owner = owner
        self.root = root
        self.page_size = page_size
        self.pages: list[PageId] = []
        self.num_committed = 0
        self.tail: CommittedPage | None = None
        self.working_tokens: list[int] = []
        self.working_positions: list[int] = []
        self.working_origins: dict[int, RowOrigin] = {}
        self.discarded: dict[int, None] = {}
        self.is_known = True
        self.adapters: set[AdapterNumber] = set()
        self.away: Away | None = None
        self.held = False
        self.seniority = 0
        self.bid = 0.0
        self.defaulted = False
        self.reused_tokens = 0
        self.used_s = 0.0

    def __repr__(self) -> str:
        return f"<Context {self.id}: {self.num_committed}+{self.num_working_pages} pages, {self.num_tokens} tokens>"

    @property
    def num_tokens(self) -> int:
        """Tokens in KV, committed and working."""
        return self.num_committed * self.page_size + len(self.working_tokens)

    @property
    def num_pages(self) -> int:
        """Pages it has, or will have again when it is back on the device."""
        return len(self.pages) if self.away is None else self.away.num_pages

    @property
    def num_full_pages(self) -> int:
        """Leading pages with at least one token."""
        return -(-self.num_tokens // self.page_size)

    @property
    def num_working_pages(self) -> int:
        """Pages after the committed ones, with or without tokens."""
        return self.num_pages - self.num_committed

    @property
    def num_held_pages(self) -> int:
        """Pages whose memory it holds; discarded ones share one."""
        return self.num_pages - self.num_saved_pages

    @property
    def num_saved_pages(self) -> int:
        """Pages without memory of their own."""
        return max(0, len(self.discarded) - 1)

    @property
    def num_empty_pages(self) -> int:
        """Trailing pages without a token."""
        return self.num_pages - self.num_full_pages

    @property
    def next_position(self) -> int:
        """The position after the last token's; 0 if there is none."""
        if self.working_positions:
            return self.working_positions[-1] + 1
        return self.last_committed_position + 1

    @property
    def last_committed_position(self) -> int:
        """The highest committed position; -1 if there is none."""
        return int(self.tail.positions[-1]) if self.tail else -1

    def info(self, *, num_pages: int) -> ContextInfo:
        """The numbers a guest may see, of whose pages so many are its own."""
        return ContextInfo(
            committed_pages=self.num_committed,
            working_pages=num_pages - self.num_committed,
            held_pages=num_pages - self.num_saved_pages,
            working_tokens=len(self.working_tokens),
            num_tokens=self.num_tokens,
            page_size=self.page_size,
            reused_tokens=self.reused_tokens,
        )

    def append(self, token_ids: Sequence[int], positions: Sequence[int], origins: Mapping[int, RowOrigin]) -> None:
        """Note tokens whose KV was written after the working tokens; `origins` is indexed from the first of them."""
        start = len(self.working_tokens)
        self.working_tokens.extend(token_ids)
        self.working_positions.extend(positions)
        if origins:
            self.working_origins.update((start + index, origin) for index, origin in origins.items())

    def drop(self, num_tokens: int) -> None:
        """Forget the last working tokens."""
        keep = len(self.working_tokens) - num_tokens
        del self.working_tokens[keep:]
        del self.working_positions[keep:]
        self.working_origins = {index: origin for index, origin in self.working_origins.items() if index < keep}

    def push_committed(self, page: CommittedPage) -> None:
        """Turn the first working page, whose content `page` describes, into a committed one."""
        size = self.page_size
        self.tail = page
        self.num_committed += 1
        del self.working_tokens[:size]
        del self.working_positions[:size]
        if self.working_origins:
            later = {index - size: origin for index, origin in self.working_origins.items() if index >= size}
            self.working_origins = later

    def copy_lineage_from(self, other: Context) -> None:
        """Take over another context's tokens: the committed ones by reference, the working ones as a copy."""
        self.tail = other.tail
        self.num_committed = other.num_committed
        self.is_known = other.is_known
        self.working_tokens = list(other.working_tokens)
        self.working_positions = list(other.working_positions)
        self.working_origins = dict(other.working_origins)

    def committed(self) -> list[CommittedPage]:
        """The committed pages, first one first."""
        pages = []
        page = self.tail
        while page is not None:
            pages.append(page)
            page = page.parent
        return pages[::-1]

    def token_ids(self) -> list[int]:
        """All tokens in KV, in order."""
        return [*(token for page in self.committed() for token in page.token_ids.tolist()), *self.working_tokens]

    def describe_working(self) -> Iterator[CommittedPage]:
        """What the full working pages would be once committed, first one first; nothing is changed."""
        size, parent, masks = self.page_size, self.tail, b""
        for start in range(0, len(self.working_tokens) // size * size, size):
            end = start + size
            origins: dict[int, RowOrigin] = {}
            if self.working_origins:
                origins = {i - start: origin for i, origin in self.working_origins.items() if start <= i < end}
                masks = page_key({offset: origin.key for offset, origin in origins.items()})
            page_tokens = np.array(self.working_tokens[start:end], np.int32)
            page_positions = np.array(self.working_positions[start:end], np.int32)
            digest = page_digest(parent.digest if parent else self.root, page_tokens, page_positions, masks)
            parent = CommittedPage(parent, digest, page_tokens, page_positions, masks, origins)
            yield parent
