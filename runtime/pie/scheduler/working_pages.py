"""The pages of contexts between steps, while decodes may extend them: what is given, taken back and told.

A decode takes pages ahead of its tokens and leaves in the end what it found; rows have page tables and token counts of
their own, which are brought in step with the contexts here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

from pie.forward import ContextId
from pie.scheduler.context import Context
from pie.scheduler.contexts import ContextTable
from pie.scheduler.passes import Pass
from pie.scheduler.rows import DecodeRows

__all__ = ["WorkingPages"]


class WorkingPages:
    """The working pages of all contexts."""

    def __init__(self, contexts: ContextTable, rows: DecodeRows, lines: Mapping[ContextId, deque[Pass]]) -> None:
        """Keep contexts and rows in step; `lines` are the passes of each context, in order."""
        self._contexts = contexts
        self._rows = rows
        self._lines = lines

    def grant(self, context: Context, num_pages: int) -> None:
        """Add pages, of which there are enough, to a context that no step extends."""
        self._contexts.reserve(context, num_pages)
        context.used_s = time.monotonic()
        self.refresh(context)
        self._move_floor(context, num_pages)

    def release(self, context: Context, num_pages: int) -> None:
        """Give empty pages of a context back, at most as many as there are; the caller refreshes it."""
        before = context.num_pages
        self._contexts.release(context, num_pages)
        self._move_floor(context, context.num_pages - before)

    def num_own(self, context: Context) -> int:
        """The context's pages without those that a decode has taken ahead and will give back."""
        line = self._lines.get(context.id)
        if not line or line[0].decode is None or not line[0].is_under_way:
            return context.num_pages
        return max(line[0].decode.floor_pages, context.num_pages - context.num_empty_pages)

    def settle(self, context: Context) -> None:
        """Let the context know all tokens that a running decode has written and delivered so far."""
        row = self._rows.row_of(context.id)
        if row is not None:
            self._rows.settle(row)

    def refresh(self, context: Context) -> None:
        """Note that the pages of a context, or who shares them, changed between steps."""
        row = self._rows.row_of(context.id)
        if row is not None:
            self._rows.refresh(row)

    def _move_floor(self, context: Context, num_pages: int) -> None:
        """Let a decode that is under way leave so many pages more, or fewer, than it found."""
        item = next((item for item in self._lines.get(context.id, ()) if not item.replay), None)
        if item is not None and item.decode is not None and item.is_under_way:
            item.decode.floor_pages = max(0, item.decode.floor_pages + num_pages)
