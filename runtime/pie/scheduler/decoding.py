"""The running decodes between steps: room for the next tokens, what a step drew, who ends and why.

Edits the persistent rows and the pages of their contexts. Sinks are not called here; what they must hear is noted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pie.errors import PieError
from pie.forward import FinishReason, Int32Array, LogitMask, OutputSlot, StepResult, TokenLogprobs, Watch
from pie.scheduler import faults
from pie.scheduler.batch import Chunk
from pie.scheduler.contexts import ContextTable, PageCopy
from pie.scheduler.passes import Decode, PausedRow
from pie.scheduler.rows import DecodeRows

__all__ = ["Decoding", "Note", "told"]


Note = tuple[Decode, Sequence[int], FinishReason | PieError | None]
"""What a decode's sink must hear: tokens, then perhaps the end. A plain tuple, for there is one per token."""

Ends = Mapping[int, FinishReason | PieError]
"""How decodes end, by their place in a step."""


class Decoding:
    """The decodes that are past their first pass, and the notes for the sinks of all of them."""

    def __init__(self, contexts: ContextTable, rows: DecodeRows, *, vocab_size: int, max_positions: int) -> None:
        """Start without any."""
        self.rows = rows
        self.notes: list[Note] = []
        self._contexts = contexts
        self._mask_shape = ((vocab_size + 31) // 32,)
        self._max_positions = max_positions

    def end(self, decode: Decode, end: FinishReason | PieError) -> None:
        """Note that a decode is over; it keeps its row until `leave`."""
        if not decode.over:
            decode.over = True
            self.notes.append((decode, (), end))

    def first_masks(self, planned: Sequence[Chunk]) -> tuple[list[Chunk], list[LogitMask | None]]:
        """Ask for the masks of first draws; the chunk of a decode whose constraint raises is left out, and it ends."""
        chunks: list[Chunk] = []
        masks: list[LogitMask | None] = []
        for chunk in planned:
            mask, decode = None, chunk.item.decode
            if decode is not None and not chunk.item.goes_on and chunk.num_tokens == chunk.item.remaining:
                with self.foreign_code_of(decode):
                    mask = self.checked(decode.next_mask())
                if decode.over:
                    continue
            chunks.append(chunk)
            masks.append(mask)
        return chunks, masks

    @contextlib.contextmanager
    def foreign_code_of(self, decode: Decode) -> Iterator[None]:
        """Let what a decode's constraint or drafter raises end that decode, see `Decode.over`, and nothing else."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - see above
            self.end(decode, _as_fault(error))

    def join(self, decode: Decode, slot: OutputSlot) -> None:
        """Take the token drawn in a first pass, whose input the context knows; the decode goes on in a row or ends."""
        context, request = decode.context, decode.request
        self._contexts.commit(context, len(context.working_tokens) // context.page_size)
        self.slide(decode)
        limit = self._max_positions - context.next_position
        if request.max_tokens is not None:
            limit = min(limit, request.max_tokens - 1)
        stopped = slot.tokens[-1] in request.stop_ids
        end = None if request.watch is None or stopped else _seen(request.watch, slot.tokens)[1]
        mask = self.take(decode, slot.tokens, limit, told([slot]), end=end)
        if not decode.over:
            row = self.rows.join(decode, token=slot.tokens[0], limit=limit, counter=request.counter + 1)
            self.rows.set_mask(row, mask)

    def leave(self, decode: Decode) -> None:
        """Free the row of a decode that is over, if it has one, and the pages it asked for in vain."""
        row = self.rows.row_of(decode.context.id)
        if row is not None and self.rows.decodes[row] is decode:
            self.rows.settle(row)
            self.rows.leave(row)

    def pause(self, decode: Decode) -> None:
        """Free the row of a decode whose context leaves the device, and remember where it goes on."""
        rows, row = self.rows, self.rows.row_of(decode.context.id)
        if row is None:
            raise RuntimeError(f"no row decodes {decode.context!r}")
        rows.settle(row)
        token, limit, counter = int(rows.token[row]), int(rows.limit[row]), int(rows.counters[row])
        decode.paused = PausedRow(token, limit, counter, rows.mask_of(row))
        rows.leave(row)
        self._contexts.trim(decode.context, keep=decode.floor_pages)

    def resume(self, decode: Decode) -> None:
        """Go on where `pause` stopped."""
        paused, decode.paused = decode.paused, None
        if paused is None:
            raise RuntimeError(f"the decode of {decode.context!r} was not paused")
        row = self.rows.join(decode, token=paused.token, limit=paused.limit, counter=paused.counter)
        self.rows.set_mask(row, paused.mask)

    def grow(self, rows: Sequence[int], *, steps: int) -> list[PageCopy]:
        """Make room for the next tokens of these rows; returns the page copies that the step must begin with."""
        copies: list[PageCopy] = []
        size = self._contexts.page_size
        for row in rows:
            start = int(self.rows.kv_index[row])
            end = start + min(int(self.rows.limit[row]), steps)
            copies += self._contexts.prepare_write(self.rows.decodes[row].context, start, end - start)
            self.rows.copy_pages(row, first=start // size)
            self.rows.capacity[row] = -(-end // size) * size
        return copies

    def watched(self, selected: slice | Int32Array, result: StepResult) -> tuple[StepResult, Ends]:
        """Show the tokens of a step to those who watch them.

        Returns:
            The result with only the tokens that count, and how decodes end with the last of them, by their place.
        """
        if not self.rows.num_watched:
            return result, {}
        num_tokens, ends = result.num_tokens.copy(), dict[int, FinishReason | PieError]()
        for place, decode in enumerate(self.rows.decodes_of(selected)):
            if decode.request.watch is None or decode.over or place in result.failures:
                continue
            drawn = result.tokens[place, : num_tokens[place]].tolist()
            is_stopped = drawn[-1:] and drawn[-1] in decode.request.stop_ids
            count, end = _seen(decode.request.watch, drawn[:-1] if is_stopped else drawn)
            if end is not None:
                num_tokens[place], ends[place] = count, end
        return replace(result, num_tokens=num_tokens), ends

    def deliver(
        self, selected: slice | Int32Array, result: StepResult, ends: Ends, told: Sequence[int] | None = None
    ) -> tuple[list[Decode], list[Decode]]:
        """Take what the rows of a step drew, and how some end with it; all stay in their rows.

        Args:
            selected: the rows.
            result: what they drew.
            ends: how some end with it.
            told: how many of its tokens each sink has heard of; None is none.

        Returns:
            The decodes that are over now, and those whose drafters have heard of new tokens.
        """
        rows = self.rows
        indices = range(rows.count) if isinstance(selected, slice) else selected.tolist()
        tokens, num_tokens = result.tokens[: len(indices)], result.num_tokens[: len(indices)]
        num_tokens = self._drop_lost(indices, num_tokens, result)
        rows.advance(selected, tokens, num_tokens)
        self._commit_full(selected)
        self._slide_windows(selected)
        lefts, counts, lists = rows.limit[selected].tolist(), num_tokens.tolist(), tokens.tolist()
        ended, drafting = [], []
        for place, (row, drawn, count, left) in enumerate(zip(indices, lists, counts, lefts, strict=True)):
            decode = rows.decodes[row]
            if count == len(drawn) and left > 0 and decode.is_plain and drawn[-1] not in decode.request.stop_ids:
                self.notes.append((decode, drawn if told is None else drawn[told[place] :], None))
                continue
            if not decode.over:
                heard = 0 if told is None else told[place]
                likely = _of_step(result, place)
                mask = self.take(decode, drawn[:count], left, likely, end=ends.get(place), heard=heard)
                if decode.request.constraint is not None and not decode.over:
                    rows.set_mask(row, mask)
                if decode.request.drafter is not None and not decode.over:
                    with self.foreign_code_of(decode):
                        decode.request.drafter.feed(drawn[:count])
            if decode.over:
                ended.append(decode)
            elif decode.request.drafter is not None:
                drafting.append(decode)
        return ended, drafting

    def _drop_lost(
        self, indices: Sequence[int], num_tokens: npt.NDArray[np.int32], result: StepResult
    ) -> npt.NDArray[np.int32]:
        """End the decodes whose slot failed, and count no tokens for those that were over before the answer came."""
        for sampler in sorted(result.failures):
            if sampler < len(indices):
                self.end(self.rows.decodes[indices[sampler]], faults.readout_failed(result.failures[sampler]))
        over = [number for number, row in enumerate(indices) if self.rows.decodes[row].over]
        if over:
            num_tokens = num_tokens.copy()
            num_tokens[over] = 0
        return num_tokens

    def _commit_full(self, selected: slice | Int32Array) -> None:
        rows, size = self.rows, self._contexts.page_size
        full = (rows.kv_index[selected] - rows.committed[selected] >= size).nonzero()[0]
        for row in (full if isinstance(selected, slice) else selected[full]).tolist():
            context = rows.decodes[row].context
            first = context.num_committed
            rows.settle(row)
            self._contexts.commit(context, len(context.working_tokens) // size)
            rows.copy_pages(row, first=first)
            rows.committed[row] = context.num_committed * size

    def _slide_windows(self, selected: slice | Int32Array) -> None:
        rows, size = self.rows, self._contexts.page_size
        if not rows.num_windowed:
            return
        # A row leaves pages behind only once it is narrow, and then it takes one step at a time.
        behind = rows.kv_index[selected] + 1 - rows.window[selected]
        turned = ((rows.window[selected] > 0) & (behind > 0) & (behind % size == 0)).nonzero()[0]
        for row in (turned if isinstance(selected, slice) else selected[turned]).tolist():
            rows.settle(row)
            self.slide(rows.decodes[row])
            rows.copy_pages(row, first=0)

    def slide(self, decode: Decode) -> None:
        """Give back the committed pages that the window of a decode has left behind, whose context knows its tokens."""
        if decode.request.window is None:
            return
        context = decode.context
        unseen = decode.request.window.unseen_pages(context.num_tokens, context.page_size)
        end = min(unseen.stop, context.num_committed)
        first = end
        while first > unseen.start and first - 1 not in context.discarded:
            first -= 1
        if first < end:
            self._contexts.discard(context, first, end - first)

    def take(
        self,
        decode: Decode,
        drawn: Sequence[int],
        left: int,
        logprobs: Sequence[TokenLogprobs] = (),
        *,
        end: FinishReason | PieError | None = None,
        heard: int = 0,
    ) -> LogitMask | None:
        """Note drawn tokens and the end, given or found, tell how likely they were; returns the mask of the next draw.

        Args:
            decode: whose tokens they are.
            drawn: at least one.
            left: how many more it may draw.
            logprobs: of the tokens.
            end: how its watch ends it with the last of them.
            heard: how many of them its sink has heard of.
        """
        decode.num_drawn += len(drawn)
        if decode.counts is not None:
            decode.counts.add(drawn)
        mask = None
        if drawn[-1] in decode.request.stop_ids:
            drawn, end = drawn[:-1], "stop"
        elif left <= 0 and end is None:
            end = "length"
        if decode.request.logprobs is not None:
            decode.request.logprobs.tell(logprobs[: len(drawn)])
        if decode.request.constraint is not None and drawn:
            end, mask = self._steer(decode, drawn, end)
        elif decode.request.constraint is None:
            mask = decode.request.mask
        decode.over = end is not None
        self.notes.append((decode, drawn[heard:], end))
        return mask

    def _steer(
        self, decode: Decode, drawn: Sequence[int], end: FinishReason | PieError | None
    ) -> tuple[FinishReason | PieError | None, LogitMask | None]:
        """Advance the constraint and ask what it allows next."""
        constraint = decode.request.constraint
        try:
            if constraint is not None and any(constraint.accept(token) for token in drawn):
                return "complete", None
            return end, self.checked(decode.next_mask()) if end is None else None
        except Exception as error:  # noqa: BLE001 - a constraint is foreign code: it ends its own decode, nothing else
            return _as_fault(error), None

    def checked(self, mask: LogitMask | None) -> LogitMask | None:
        """A constraint's mask, if it is one.

        Raises:
            RequestError: `bad-mask` if it has another size than the vocabulary.
        """
        if mask is not None and mask.shape != self._mask_shape:
            raise faults.bad_mask(f"a constraint made a mask of shape {mask.shape}, not {self._mask_shape}")
        return mask


def _seen(watch: Watch, drawn: Sequence[int]) -> tuple[int, FinishReason | PieError | None]:
    """How many tokens a watch has seen, and how it ends the decode with the last of them."""
    for count, token in enumerate(drawn, 1):
        try:
            if watch.accept(token):
                return count, "complete"
        except Exception as error:  # noqa: BLE001 - as in `_steer`
            return count, _as_fault(error)
    return len(drawn), None


def told(slots: Sequence[OutputSlot | None]) -> list[TokenLogprobs]:
    """How likely the tokens of some slots were, as far as it was asked."""
    return [slot.logprobs for slot in slots if slot is not None and slot.logprobs is not None]


def _of_step(result: StepResult, sampler: int) -> list[TokenLogprobs]:
    return [result.logprobs[sampler]] if sampler in result.logprobs else []


def _as_fault(error: Exception) -> PieError:
    return error if isinstance(error, PieError) else faults.constraint_failed(error)
