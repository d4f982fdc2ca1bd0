"""Passes that wait or are under way, and the decodes that some of them begin.

A *pass* is one forward pass, or the first pass of a decode; long ones are computed in chunks over several steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pie.forward import (
    DecodeRequest,
    ForwardRequest,
    ForwardResult,
    Int32Array,
    LogitMask,
    OutputSlot,
    Readout,
    TokenSink,
)
from pie.mask import Window, brle_to_bools
from pie.scheduler.adjusting import TokenCounts
from pie.scheduler.context import Context
from pie.scheduler.origins import RowOrigin, adapted, masked
from pie.scheduler.prefix import page_digest, page_key, row_key

__all__ = ["Decode", "Pass", "PausedRow"]


def _is_i32(token_id: int) -> bool:
    return 0 <= token_id < 1 << 31


def _attention_rows(window: Window | None, start: int, count: int) -> tuple[tuple[int, ...], ...] | None:
    """What `count` tokens from place `start` on see; None if each sees all before it."""
    if window is None or start + count <= window.narrow_from:
        return None
    return tuple(window.runs(place) for place in range(start, start + count))


@dataclass(frozen=True, slots=True, eq=False)
class PausedRow:
    """What the row of a decode held that does not follow from its request and its context.

    Attributes:
        token: the token to feed next.
        limit: tokens it may still draw.
        counter: index of its next draw.
        mask: the tokens the next draw may give, None for any.
    """

    token: int
    limit: int
    counter: int
    mask: LogitMask | None


class Decode:
    """A decode from its request to its end.

    Attributes:
        context: what it extends.
        request: what was asked.
        sink: who gets the tokens.
        stop_ids: the request's stop tokens, sorted, i32.
        floor_pages: pages the context had before; so many stay if the decode needs fewer.
        num_drawn: tokens drawn so far; only counted where `is_plain` is not.
        counts: what its adjustment counts, once it has begun; None without one.
        over: it has ended or was cancelled; it draws no more tokens.
        cancelled: its sink hears no more.
        paused: where it goes on, while its context is off the device.
        sequence: a number that grows with the time of asking.
    """

    __slots__ = (
        "cancelled",
        "context",
        "counts",
        "floor_pages",
        "num_drawn",
        "over",
        "paused",
        "request",
        "sequence",
        "sink",
        "stop_ids",
    )

    def __init__(self, context: Context, request: DecodeRequest, sink: TokenSink, *, sequence: int) -> None:
        """Note the request."""
        self.context = context
        # A watch may end the decode before a guess that is right, so it goes without them.
        self.request = request if request.watch is None else replace(request, drafter=None)
        self.sink = sink
        self.stop_ids: Int32Array = np.array(sorted(filter(_is_i32, request.stop_ids)), np.int32)
        self.floor_pages = 0
        self.num_drawn = 0
        self.counts: TokenCounts | None = None
        self.over = False
        self.cancelled = False
        self.paused: PausedRow | None = None
        self.sequence = sequence

    @property
    def is_plain(self) -> bool:
        """Whether nothing but a stop token or the limit ends it, and nobody looks at its tokens before its sink."""
        request = self.request
        helpers = (request.constraint, request.watch, request.drafter, request.adjustment, request.logprobs)
        return not self.over and all(helper is None for helper in helpers)

    def begin(self) -> None:
        """Note what the context has before the first pass."""
        request, context = self.request, self.context
        self.floor_pages = len(context.pages)
        if request.adjustment is not None and self.counts is None:
            self.counts = TokenCounts(request.adjustment, [*context.token_ids(), *request.token_ids])

    def row_origins(self, start: int, count: int) -> Mapping[int, RowOrigin]:
        """As `Pass.row_origins`, of `count` tokens that were fed one by one from place `start` of the context on."""
        adapter, window = self.request.adapter, self.request.window
        origins = {} if adapter is None else dict.fromkeys(range(count), adapted(adapter))
        if window is not None:
            for place in range(max(start, window.narrow_from), start + count):
                runs = window.runs(place)
                origins[place - start] = masked(runs, brle_to_bools(runs, place + 1), adapter)
        return origins

    def next_mask(self) -> LogitMask | None:
        """The tokens the next draw may give: the static mask and the constraint's, whatever it raises."""
        return self.with_static(self.request.constraint.mask() if self.request.constraint else None)

    def with_static(self, moving: LogitMask | None) -> LogitMask | None:
        """What the request's static mask leaves of a mask."""
        static = self.request.mask
        if static is None or moving is None:
            return moving if static is None else static
        return static & moving


class Pass:
    """One pass on its way.

    Attributes:
        context: what it reads and extends.
        token_ids, positions: the input, `[num_tokens]` i32; a decode's positions are set when it starts.
        readouts: what to read.
        seed, counter: of the request.
        attention_mask: of the request; a decode's follows from its window when it starts.
        future: who waits for the result of a forward pass; None for a decode.
        decode: the decode this is the first pass of; None for a forward pass.
        sequence: a number that grows with the time of asking.
        base: tokens in KV before the pass; -1 until it is first considered.
        done: tokens of it that are in KV, reused ones included.
        slots: the answers so far.
        origins: token index -> where its KV comes from, for rows that are not causal.
        adapter: of the request.
        failed: readout -> why it has no answer; only of a decode that guesses, where not every readout counts.
        goes_on: it is a later pass of a decode that guesses, and brings its own masks.
        started: pages are written for it, its context is pinned.
        over: it was answered or cancelled.
        replay: it computes again what the context knows it holds, and answers nobody.
    """

    __slots__ = (
        "_digests",
        "adapter",
        "attention_mask",
        "base",
        "context",
        "counter",
        "decode",
        "done",
        "failed",
        "future",
        "goes_on",
        "origins",
        "over",
        "positions",
        "readouts",
        "replay",
        "seed",
        "sequence",
        "slots",
        "started",
        "token_ids",
    )

    def __init__(
        self,
        context: Context,
        request: ForwardRequest | DecodeRequest,
        *,
        sequence: int,
        future: asyncio.Future[ForwardResult] | None = None,
        decode: Decode | None = None,
        replay: bool = False,
    ) -> None:
        """Note the request, with a future or a decode to answer to, or none of them for a replay."""
        self.context = context
        self.token_ids: Int32Array = np.array(request.token_ids, np.int32)
        self.seed = request.seed
        self.counter = request.counter
        self.future = future
        self.decode = decode
        self.replay = replay
        self.sequence = sequence
        self.readouts: tuple[Readout, ...]
        if isinstance(request, ForwardRequest):
            self.positions: Int32Array = np.array(request.positions, np.int32)
            self.readouts = request.readouts
            self.attention_mask = request.attention_mask
        else:
            self.positions = np.zeros(0, np.int32)
            self.readouts = (Readout(len(request.token_ids) - 1, request.sampler),)
            self.attention_mask = None
        self.adapter = request.adapter
        self.base = -1
        self.done = 0
        self.slots: list[OutputSlot | None] = [None] * len(self.readouts)
        self.origins: dict[int, RowOrigin] = {}
        self.failed: dict[int, str] = {}
        self.goes_on = False
        self.started = False
        self.over = False
        self._digests: list[bytes] | None = None

    def row_origins(self) -> Mapping[int, RowOrigin]:
        """Token index -> what its KV follows from besides tokens and positions; plain causal rows are not in it."""
        if self.adapter is None:
            return self.origins
        return dict.fromkeys(range(self.num_tokens), adapted(self.adapter)) | self.origins

    @property
    def num_tokens(self) -> int:
        """Input tokens in all."""
        return len(self.token_ids)

    @property
    def remaining(self) -> int:
        """Input tokens not yet in KV."""
        return len(self.token_ids) - self.done

    @property
    def speculates(self) -> bool:
        """Whether it belongs to a decode that guesses."""
        return self.decode is not None and self.decode.request.drafter is not None

    @property
    def is_under_way(self) -> bool:
        """Whether it, or a pass before it of the same decode, has taken pages."""
        return self.started or self.goes_on

    @property
    def owner(self) -> str:
        """Whose turn it takes."""
        return self.context.owner or ""

    def begin(self, num_reused: int) -> None:
        """Start where so many of its tokens are in known pages."""
        if self.decode is not None and not self.goes_on:
            self.decode.begin()
        self.started, self.done = True, num_reused
        if not self.replay:
            self.context.reused_tokens += num_reused

    def advance(self, num_tokens: int) -> tuple[int, list[bytes]]:
        """Note that more of its tokens are in KV.

        Returns:
            The number of a page, and the digests of the pages from there on that are final now. Of none if a program
            may still change them: what a forward pass wrote is the program's to commit.
        """
        first, self.done = self.done, self.done + num_tokens
        if not self.leads:
            return 0, []
        size = self.context.page_size
        return (self.base + first) // size, self.reusable_digests()[first // size : self.done // size]

    def digest_at(self, num_tokens: int) -> bytes | None:
        """The digest of the page after so many of its tokens; None if that is not to be had from elsewhere."""
        digests, number = self.reusable_digests(), num_tokens // self.context.page_size
        return digests[number] if number < len(digests) else None

    @property
    def leads(self) -> bool:
        """Whether others may reuse its pages before it is over."""
        return self.decode is not None and not self.goes_on

    def go_on(self, token_ids: Sequence[int], readouts: Sequence[Readout], *, counter: int) -> None:
        """Become the next pass of the same decode, over these tokens."""
        self.token_ids = np.array(token_ids, np.int32)
        self.readouts = tuple(readouts)
        self.counter = counter
        self.base, self.done = -1, 0
        self.slots = [None] * len(self.readouts)
        self.origins, self.failed = {}, {}
        self.started, self.goes_on = False, True

    def place(self) -> None:
        """Note where the pass stands if its context stays as it is."""
        if self.base == self.context.num_tokens:
            return
        self.base = self.context.num_tokens
        self._digests = None
        if self.decode is not None:
            position = self.context.next_position
            self.positions = np.arange(position, position + self.num_tokens, dtype=np.int32)
            self.attention_mask = _attention_rows(self.decode.request.window, self.base, self.num_tokens)

    def reusable_digests(self) -> list[bytes]:
        """Digests of the leading full pages whose KV could be taken from elsewhere; computed once per place.

        None of these pages has a readout or the last token, because somebody wants what is computed there.
        """
        self.place()
        if self._digests is None:
            self._digests = self._compute_digests()
        return self._digests

    def _compute_digests(self) -> list[bytes]:
        context, size = self.context, self.context.page_size
        if context.num_tokens % size or self.attention_mask is not None:
            return []
        if len(self.positions) > 1 and (np.diff(self.positions) != 1).any():
            return []
        first_needed = min([self.num_tokens - 1, *(readout.index for readout in self.readouts)])
        if first_needed < size:
            return []
        digest = context.tail.digest if context.tail else context.root
        for page in context.describe_working():
            digest = page.digest
        digests = []
        keys = b"" if self.adapter is None else page_key(dict.fromkeys(range(size), row_key(self.adapter)))
        for start in range(0, first_needed // size * size, size):
            end = start + size
            digest = page_digest(digest, self.token_ids[start:end], self.positions[start:end], keys)
            digests.append(digest)
        return digests
