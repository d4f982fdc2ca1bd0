"""The calls of a context for its pages, which most programs leave to passes and generations."""

from __future__ import annotations

from abc import ABC, abstractmethod

from inferlet.pages import Pages

__all__ = ["Paged"]


class Paged(ABC):
    """What has pages."""

    @property
    @abstractmethod
    def pages(self) -> Pages:
        """The pages, for this SDK's passes and steps."""

    @property
    @abstractmethod
    def page_size(self) -> int:
        """Tokens per page."""

    @property
    def pages_held(self) -> int:
        """Pages of memory that it takes; those that it shares with others count, those that are discarded are one."""
        return self.pages.num_held

    @property
    def reused_tokens(self) -> int:
        """Tokens that were put into it and not computed, because the server knew their pages; a fork begins with 0."""
        return self.pages.num_reused_tokens

    def truncate(self, num_tokens: int) -> None:
        """Forget the last `num_tokens` tokens of the working pages, or all of them if there are fewer."""
        self.pages.truncate(num_tokens)

    def discard_pages(self, first: int, count: int) -> None:
        """Give back the memory of full pages that no later token attends to; their tokens and positions stay counted.

        Each token of every later pass must be masked from them (`Forward.attention_mask`).

        Raises:
            Error: `not-discardable` if they are not all full; `bad-number`.
        """
        self.pages.discard_pages(first, count)

    def tokens_per_page(self) -> int:
        """Tokens that one page holds."""
        return self.page_size

    def committed_page_count(self) -> int:
        """Pages that are full and never change."""
        return self.pages.num_committed

    def working_page_count(self) -> int:
        """Pages held beyond the committed ones, filled or not."""
        return self.pages.num_working

    def working_page_token_count(self) -> int:
        """Tokens in the working pages."""
        return self.pages.num_tokens

    def reserve_working_pages(self, num_pages: int) -> None:
        """Hold so many more working pages. Passes and generations reserve what they lack by themselves.

        Raises:
            Error: `out-of-pages`, `bad-number`.
        """
        self.pages.hold(num_pages)

    def commit_working_pages(self, num_pages: int) -> None:
        """Make the first working pages immutable; needed only after passes with `input_at`.

        Raises:
            Error: `not-committable` if they are not full or their positions do not increase; `bad-number`.
        """
        self.pages.commit_pages(num_pages)

    def release_working_pages(self, num_pages: int) -> None:
        """Give back the last working pages with their tokens, or all of them if there are fewer."""
        self.pages.release(num_pages)

    def truncate_working_page_tokens(self, num_tokens: int) -> None:
        """Forget the last tokens of the working pages, or all of them if there are fewer; the pages stay held."""
        self.pages.truncate(num_tokens)
