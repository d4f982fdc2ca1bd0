"""Decodes that guess: where there are guesses, a step is one pass over the token drawn last and what may follow it.

Every row of the pass draws with the counter of its own place in the output, so a guess is right if it equals what the
row before it drew, and the tokens are those of a decode that does not guess. Where there are none, the decode is a row
among the others, which costs less than a pass. When a pass runs is the plan's business, and what sinks hear is noted
by `Decoding`.
"""

from __future__ import annotations

from pie.forward import LogitMask, Readout
from pie.scheduler import faults
from pie.scheduler.contexts import ContextTable
from pie.scheduler.decoding import Decoding, told
from pie.scheduler.passes import Decode, Pass
from pie.scheduler.stats import Stats

__all__ = ["Speculation"]

_MOST_GUESSES = 16


class Speculation:
    """What speculating decodes do between their steps."""

    def __init__(self, contexts: ContextTable, decoding: Decoding, stats: Stats, *, max_positions: int) -> None:
        """Start without any."""
        self._contexts = contexts
        self._decoding = decoding
        self._stats = stats
        self._max_positions = max_positions

    def take(self, item: Pass) -> None:
        """Take what a pass of such a decode drew, whose input the context knows; the decode has a row then, or is over.

        Guesses that were wrong leave the context.
        """
        decode, context = item.decode, item.context
        if decode is None or decode.request.drafter is None:
            raise RuntimeError(f"pass {item.sequence} does not guess")
        drawn = _verified(item)
        if not drawn:
            context.drop(item.num_tokens)
            self._decoding.end(decode, faults.readout_failed(item.failed[0]))
            return
        self._drop_wrong(item, num_right=len(drawn) - 1)
        self._contexts.commit(context, len(context.working_tokens) // context.page_size)
        self._decoding.slide(decode)
        left = self._num_left(decode, decode.num_drawn + len(drawn))
        mask = self._decoding.take(decode, drawn, left, told(item.slots[: len(drawn)]))
        if decode.over:
            return
        with self._decoding.foreign_code_of(decode):
            decode.request.drafter.feed(drawn if item.goes_on else [*context.token_ids(), *drawn])
        counter = decode.request.counter + decode.num_drawn
        row = self._decoding.rows.join(decode, token=drawn[-1], limit=left, counter=counter)
        self._decoding.rows.set_mask(row, mask)

    def go_on(self, item: Pass) -> None:
        """Make `item` the next pass of a decode in a row, which it then leaves, if there are guesses to be checked."""
        decode, rows = item.decode, self._decoding.rows
        row = rows.row_of(item.context.id)
        if decode is None or row is None:
            return
        rows.settle(row)
        guesses: list[int] = []
        ahead: list[LogitMask | None] = []
        with self._decoding.foreign_code_of(decode):
            guesses, ahead = self._guess(decode, left=int(rows.limit[row]))
        if decode.over or not guesses:
            return
        token, masks = int(rows.token[row]), [rows.mask_of(row), *ahead]
        rows.leave(row)
        readouts = [Readout(index, decode.request.sampler, mask) for index, mask in enumerate(masks)]
        item.go_on([token, *guesses], readouts, counter=decode.request.counter + decode.num_drawn)

    def _num_left(self, decode: Decode, num_drawn: int) -> int:
        left = self._max_positions - decode.context.next_position
        if decode.request.max_tokens is not None:
            left = min(left, decode.request.max_tokens - num_drawn)
        return left

    def _guess(self, decode: Decode, *, left: int) -> tuple[list[int], list[LogitMask | None]]:
        """Guesses for what follows the token that is drawn but not fed, and the masks of the draws at them.

        None of them is a stop token or ends the constraint: the draw before it tells as much.
        """
        request = decode.request
        if request.drafter is None:
            return [], []
        guesses = list(request.drafter.propose(min(left - 1, _MOST_GUESSES, self._num_fitting(decode))))
        stops = [index for index, token in enumerate(guesses) if token in request.stop_ids]
        guesses = guesses[: stops[0]] if stops else guesses
        if request.constraint is None:
            return guesses, [request.mask] * len(guesses)
        masks = []
        for mask in request.constraint.masks_ahead(guesses) if guesses else ():
            mask = decode.with_static(mask)
            if mask is not None and not mask.any():
                break
            masks.append(self._decoding.checked(mask))
        return guesses[: len(masks)], masks

    def _num_fitting(self, decode: Decode) -> int:
        """How many guesses can be written without a page that somebody may need more."""
        context, size = decode.context, decode.context.page_size
        in_page = size - 1 - context.num_tokens % size
        spare = self._contexts.pool.num_available - len(self._contexts)
        return in_page if spare <= 0 else in_page + spare * size

    def _drop_wrong(self, item: Pass, *, num_right: int) -> None:
        if item.goes_on:
            num_guesses = item.num_tokens - 1
            item.context.drop(num_guesses - num_right)
            self._stats.proposed_tokens += num_guesses
            self._stats.accepted_tokens += num_right


def _verified(item: Pass) -> list[int]:
    """The drawn tokens that follow from right guesses only; none if the first draw failed."""
    guesses = item.token_ids[1:].tolist() if item.goes_on else []
    drawn: list[int] = []
    for index, slot in enumerate(item.slots):
        if slot is None or index in item.failed:
            break
        drawn.append(slot.tokens[0])
        if index == len(guesses) or drawn[-1] != guesses[index]:
            break
    return drawn
