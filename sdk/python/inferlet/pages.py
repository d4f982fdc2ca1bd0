"""The pages of a context as the program counts them, so that it need not ask the server before every pass."""

from __future__ import annotations

from wit_world.imports import context as wit_context
from wit_world.imports import pages as wit_pages

from inferlet.errors import call

__all__ = ["Pages"]


class Pages:
    """Committed pages, working pages, and the tokens in the working ones. It tells the server before it counts."""

    __slots__ = ("_discarded", "_wit", "num_committed", "num_tokens", "num_working", "page_size")

    def __init__(self, handle: wit_context.Context) -> None:
        self._wit = handle
        self.page_size = handle.tokens_per_page()
        self.num_committed = self.num_working = self.num_tokens = 0
        self._discarded = range(0)

    @property
    def seq_len(self) -> int:
        """Tokens in all pages."""
        return self.num_committed * self.page_size + self.num_tokens

    @property
    def num_pages(self) -> int:
        """Pages held, filled or not."""
        return self.num_committed + self.num_working

    @property
    def num_held(self) -> int:
        """Pages of memory that the server counts for the context."""
        return wit_pages.held(self._wit)

    @property
    def num_reused_tokens(self) -> int:
        """Tokens of the context's passes that the server did not compute."""
        return wit_pages.reused(self._wit)

    def hold(self, num_pages: int) -> None:
        """Hold so many more working pages.

        Raises:
            Error: `bad-number`; the server cannot give them.
        """
        call(self._wit.reserve_working_pages, num_pages)
        self.num_working += num_pages

    def release(self, num_pages: int) -> None:
        """Give back the last working pages with their tokens, or all of them if there are fewer.

        Raises:
            Error: `bad-number`.
        """
        self._wit.release_working_pages(num_pages)
        self.refresh()

    def commit_pages(self, num_pages: int) -> None:
        """Commit the first working pages.

        Raises:
            Error: `bad-number`, `not-committable`.
        """
        call(self._wit.commit_working_pages, num_pages)
        self.num_committed += num_pages
        self.num_working -= num_pages
        self.num_tokens -= num_pages * self.page_size

    def refresh(self) -> None:
        """Ask the server."""
        self.num_committed = self._wit.committed_page_count()
        self.num_working = self._wit.working_page_count()
        self.num_tokens = self._wit.working_page_token_count()

    def reserve(self, num_tokens: int) -> None:
        """Hold enough working pages for `num_tokens` more tokens.

        Raises:
            Error: the server cannot give them.
        """
        wanted = -(-(self.num_tokens + num_tokens) // self.page_size)
        if wanted > self.num_working:
            self.hold(wanted - self.num_working)

    def wrote(self, num_tokens: int) -> None:
        """Count tokens that a pass has written."""
        self.num_tokens += num_tokens

    def commit(self) -> None:
        """Commit the working pages that are full.

        Raises:
            Error: their positions do not increase.
        """
        full = self.num_tokens // self.page_size
        if full:
            self.commit_pages(full)

    def truncate(self, num_tokens: int) -> None:
        """Forget the last tokens of the working pages, at most as many as there are."""
        num_tokens = min(max(0, num_tokens), self.num_tokens)
        if num_tokens:
            self._wit.truncate_working_page_tokens(num_tokens)
            self.num_tokens -= num_tokens

    def discard_pages(self, first: int, count: int) -> None:
        """Give back the memory of `count` committed pages from `first` on.

        Raises:
            Error: `not-discardable` if they are not all committed; `bad-number`.
        """
        call(wit_pages.discard, self._wit, first, count)

    def discard(self, numbers: range) -> None:
        """Give back the memory of those committed pages in the range that are not given back yet.

        Raises:
            Error: `not-discardable` if they are not all committed.
        """
        first, end = numbers.start, min(numbers.stop, self.num_committed)
        if self._discarded and self._discarded.start <= first <= self._discarded.stop:
            first = self._discarded.stop
        if first < end:
            self.discard_pages(first, end - first)
            self._discarded = range(min(numbers.start, first), end)
