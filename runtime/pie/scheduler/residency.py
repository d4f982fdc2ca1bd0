"""Which contexts are on the device: takes them off with what runs in them, and brings them back to go on.

A context is *active* on the device, *pinned* while a pass extends it, *stashed* while its pages are in host memory,
*suspended* while they are nowhere. A context on its way back is pinned until the copies are done and what had to be
computed again is. Between steps only; who leaves and who comes back is decided in `pie.scheduler.pressure`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum

from pie.errors import PieError
from pie.forward import ContextId, HostPageId, PageId
from pie.scheduler.context import Context
from pie.scheduler.contexts import ContextTable
from pie.scheduler.decoding import Decoding
from pie.scheduler.fetching import Fetching
from pie.scheduler.pass_queue import PassQueue
from pie.scheduler.passes import Pass
from pie.scheduler.pressure import Waiter
from pie.scheduler.replay import replay_passes
from pie.scheduler.suspension import Arrival, Suspension

__all__ = ["ContextState", "Residency"]


class ContextState(Enum):
    """Where a context's pages are, and whether they are being written."""

    ACTIVE = "active"
    PINNED = "pinned"
    STASHED = "stashed"
    SUSPENDED = "suspended"


class Residency:
    """The suspended contexts and those on their way back.

    Attributes:
        suspension: the books of pages off the device.
        fetching: the prefixes on their way from host memory to the device.
    """

    def __init__(
        self,
        contexts: ContextTable,
        suspension: Suspension,
        decoding: Decoding,
        queue: PassQueue,
        lines: dict[ContextId, deque[Pass]],
    ) -> None:
        """Start with every context on the device.

        Args:
            contexts: all contexts.
            suspension: the books of pages off the device.
            decoding: the running decodes, which pause and resume.
            queue: the passes that may run, where those of suspended contexts are not.
            lines: the passes of each context, in order.
        """
        self.suspension = suspension
        self.fetching = Fetching(contexts, suspension.stats)
        self._contexts = contexts
        self._decoding = decoding
        self._queue = queue
        self._lines = lines
        self._wanted: dict[ContextId, Context] = {}
        self._copied: dict[ContextId, Arrival] = {}
        self._arriving: dict[ContextId, Arrival] = {}
        self._num_replays = 0

    def is_here(self, context: Context) -> bool:
        """Whether all of the context is on the device."""
        return context.away is None and context.id not in self._arriving

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for a suspended context."""
        return bool(self._wanted)

    @property
    def has_moves(self) -> bool:
        """Whether there are copies to do, or contexts that come back without any."""
        return bool(self._contexts.host.has_moves or self._copied)

    def state_of(self, context: Context, *, pinned: bool) -> ContextState:
        """Where the context's pages are; `pinned` says whether a pass extends it."""
        if context.away is not None:
            return ContextState.STASHED if context.away.copies else ContextState.SUSPENDED
        return ContextState.PINNED if pinned else ContextState.ACTIVE

    def want(self, context: Context) -> None:
        """Note that somebody waits for a context; nothing happens if it is on the device or on its way."""
        if context.away is not None:
            self._wanted[context.id] = context

    def wanted(self) -> list[Context]:
        """The suspended contexts that are waited for."""
        return list(self._wanted.values())

    def suspend(self, context: Context) -> None:
        """Take a context off the device that no pass extends; a decode in it pauses, its other passes wait."""
        line = self._lines.get(context.id)
        if line:
            if self._decoding.rows.row_of(context.id) is not None and line[0].decode is not None:
                self._decoding.pause(line[0].decode)
            self._queue.discard(line[0])
        self.suspension.suspend(context)
        if line:
            self.want(context)

    def restore(self, context: Context) -> None:
        """Give a context its pages again; it is back when the copies are done, see `moved`, and the replay is."""
        self._wanted.pop(context.id, None)
        self._copied[context.id] = self._arriving[context.id] = self.suspension.restore(context)

    def moved(self, outward: Sequence[tuple[PageId, HostPageId]], *, failed: bool) -> list[Context]:
        """Go on after the device did the copies; contexts whose copies failed are suspended again, without any.

        Returns:
            The contexts that cannot be computed again; the caller ends them.
        """
        gone = self.suspension.lose(slot for _, slot in outward) if failed else []
        copied, self._copied = self._copied, {}
        for arrival in copied.values():
            context = arrival.context
            if failed and arrival.fetched:
                if self.suspension.is_replayable(context):
                    self._put_back(context)
                    if self._lines.get(context.id):
                        self.want(context)
                else:
                    gone.append(context)
                continue
            replays = replay_passes(context, arrival.runs)
            for item in replays:
                self._num_replays += 1
                item.sequence = -self._num_replays
            if replays:
                self._lines.setdefault(context.id, deque()).extendleft(reversed(replays))
                self._queue.add(replays[0])
            else:
                self._arrive(context)
        return gone

    def replayed(self, item: Pass) -> None:
        """Go on after a replay was computed; the caller ends it."""
        line = self._lines[item.context.id]
        if len(line) == 1 or not line[1].replay:
            self._arrive(item.context)

    def replay_failed(self, item: Pass, error: PieError) -> list[Pass]:
        """Take a context off whose content could not be computed again; returns the passes that fail with it."""
        context = item.context
        rest = [other for other in self._lines.pop(context.id) if not other.replay]
        self._queue.discard(item)
        item.over = True
        if rest:
            self._lines[context.id] = deque(rest)
        self._put_back(context)
        return rest

    def go_on(self, item: Pass) -> None:
        """Let the pass at the head of its line run, or wait for its context."""
        context = item.context
        if context.away is not None:
            self.want(context)
        elif item.replay:
            self._queue.add(item)
        elif context.id not in self._arriving:
            if item.decode is not None and item.decode.paused is not None:
                self._decoding.resume(item.decode)
            else:
                self._queue.add(item)

    def forget(self, context: Context) -> None:
        """Drop everything about a context that has ended."""
        self.suspension.forget(context)
        self._wanted.pop(context.id, None)
        self._copied.pop(context.id, None)
        self._arriving.pop(context.id, None)

    def present(self) -> Iterator[Context]:
        """The contexts that may leave now: owned ones that no half-done pass extends."""
        rows = self._decoding.rows
        for context in self._contexts.owned():
            if context.held or not self.is_here(context):
                continue
            line = self._lines.get(context.id)
            begun = line and line[0].started and rows.row_of(context.id) is None
            if not begun and self.suspension.can_leave(context):
                yield context

    def waiters(self, reserved: dict[ContextId, int]) -> list[Waiter]:
        """The contexts that are waited for and what each needs, with so many pages that are asked for."""
        return [Waiter(context, self._need(context, reserved)) for context in self._wanted.values()]

    def check(self, *, waited_for: Iterable[Context]) -> None:
        """Verify that nobody who waits is forgotten.

        A suspended context is wanted if a pass, or somebody else in `waited_for`, needs it; of one on the device the
        first pass is in the queue or runs in a row, unless it has ended and waits for its step to be over.

        Raises:
            RuntimeError: somebody would wait for ever; this is a bug of the scheduler.
        """
        heads = [line[0] for line in self._lines.values()]
        for context in [*waited_for, *(head.context for head in heads)]:
            if context.away is not None and context.id not in self._wanted:
                raise RuntimeError(f"{context!r} is waited for, and nobody brings it back")
        if any(context.away is None for context in self._wanted.values()):
            raise RuntimeError("a context that is on the device is still wanted")
        queued, rows = set(self._queue), self._decoding.rows
        for head in heads:
            runs = head in queued or rows.row_of(head.context.id) is not None
            if self.is_here(head.context) and not runs and not head.over:
                raise RuntimeError(f"pass {head.sequence} of {head.context!r} is neither queued nor running")

    def _need(self, context: Context, reserved: dict[ContextId, int]) -> int:
        """Pages to bring a context back and let what is first in its line begin; never more than the device has."""
        line, size, end = self._lines.get(context.id), context.page_size, context.num_tokens
        if line:
            end += line[0].remaining if line[0].decode is None or line[0].decode.paused is None else 1
        more = max(0, reserved.get(context.id, 0), -(-end // size) - context.num_pages)
        return min(self.suspension.num_pages_to_restore(context) + more, self._contexts.num_pages)

    def _put_back(self, context: Context) -> None:
        del self._arriving[context.id]
        self.suspension.put_back(context)

    def _arrive(self, context: Context) -> None:
        self.suspension.finish(self._arriving.pop(context.id))
        context.used_s = time.monotonic()
        self._contexts.publish(context)
        line = self._lines.get(context.id)
        if line and not line[0].replay:
            self.go_on(line[0])
