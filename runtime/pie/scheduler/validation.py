"""What makes a request unacceptable: at the door by itself, and at its start by the state of its context."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pie.adjustment import Adjustment
from pie.errors import ContextError, PieError
from pie.forward import DecodeRequest, DeviceInfo, ForwardRequest, LogitMask, Logprobs, Readout, Sampler
from pie.mask import brle_to_bools
from pie.scheduler import faults
from pie.scheduler.contexts import ContextTable
from pie.scheduler.passes import Pass

__all__ = ["at_least_zero", "check_decode", "check_forward", "refusal"]

_MAX_DRAWS = 65536
_MOST_ADDED = 100


def at_least_zero(count: int) -> int:
    """A count, if it is one.

    Raises:
        RequestError: `bad-request` if it is negative.
    """
    if count < 0:
        raise faults.bad_request(f"a count of {count}", remedy="Give a count of 0 or more.")
    return count


def check_forward(request: ForwardRequest, info: DeviceInfo) -> None:
    """Refuse a forward pass that no context could run.

    Raises:
        RequestError: `empty-pass`, `bad-token`, `positions`, `prompt-too-long`, `bad-index`, `bad-mask`, `bad-request`.
    """
    _check_tokens(request.token_ids, info)
    count = len(request.token_ids)
    if len(request.positions) != count:
        raise faults.positions_mismatch(f"{count} tokens come with {len(request.positions)} positions")
    if min(request.positions) < 0:
        raise faults.positions_mismatch(f"position {min(request.positions)} is negative")
    if max(request.positions) >= info.max_positions:
        raise faults.prompt_too_long(max(request.positions), info.max_positions)
    if request.attention_mask is not None and len(request.attention_mask) != count:
        raise faults.bad_mask(f"{count} tokens come with {len(request.attention_mask)} attention rows")
    if any(run < 0 for runs in request.attention_mask or () for run in runs):
        raise faults.bad_mask("an attention row has a run of negative length")
    _check_stream(request.counter)
    for readout in request.readouts:
        _check_readout(readout, count, info)


def check_decode(request: DecodeRequest, info: DeviceInfo) -> None:
    """Refuse a decode that no context could run.

    Raises:
        RequestError: `empty-pass`, `bad-token`, `bad-mask`, `bad-request`.
    """
    _check_tokens(request.token_ids, info)
    if request.max_tokens is not None and request.max_tokens < 1:
        raise faults.bad_request(
            f"a decode of at most {request.max_tokens} tokens", remedy="Ask for at least one token."
        )
    if request.sampler.draws != 1:
        raise faults.bad_request(f"a decode that draws {request.sampler.draws} tokens a step", remedy="Draw one.")
    if request.window is not None and (request.window.size < 1 or request.window.sink < 0):
        raise faults.bad_request(f"a decode under {request.window}", remedy="Let each token see at least itself.")
    _check_stream(request.counter)
    _check_sampler(request.sampler)
    _check_logit_mask(request.mask, info)
    if request.logprobs is not None and not 0 <= request.num_top <= info.vocab_size:
        raise faults.bad_request(
            f"the {request.num_top} most likely of {info.vocab_size} tokens", remedy="Ask for fewer tokens."
        )
    if request.adjustment is not None:
        _check_adjustment(request.adjustment, info)


def refusal(item: Pass, contexts: ContextTable, max_positions: int) -> PieError | None:
    """Why a pass that is about to start cannot, in the state its context is in; None if it can.

    Waiting does not help any of these.
    """
    context, size = item.context, contexts.page_size
    end = context.num_tokens + item.num_tokens
    if item.decode is None:
        if end > len(context.pages) * size:
            return faults.no_room(
                wanted=item.num_tokens,
                working_pages=context.num_working_pages,
                working_tokens=len(context.working_tokens),
                page_size=size,
            )
        return _mask_refusal(item) or _discarded_refusal(item)
    if context.discarded and item.attention_mask is None:
        return faults.discarded_page(context.id, min(context.discarded))
    if context.next_position + item.num_tokens > max_positions:
        return faults.prompt_too_long(context.next_position + item.num_tokens - 1, max_positions)
    wanted = -(-end // size) - (context.num_pages - context.num_held_pages)
    if wanted > contexts.num_pages:
        return faults.out_of_pages(wanted=wanted, free=contexts.num_pages, total=contexts.num_pages)
    try:
        contexts.check_increasing(context)
    except ContextError as error:
        return error
    return _discarded_refusal(item)


def _mask_refusal(item: Pass) -> PieError | None:
    for index, runs in enumerate(item.attention_mask or ()):
        visible = item.context.num_tokens + index + 1
        if sum(runs) > visible:
            return faults.bad_mask(f"the attention row of token {index} covers {sum(runs)} keys, {visible} are visible")
    return None


def _discarded_refusal(item: Pass) -> PieError | None:
    context = item.context
    if not context.discarded:
        return None
    numbers, size = np.array(list(context.discarded)), context.page_size
    for index in range(item.num_tokens):
        runs = item.attention_mask[index] if item.attention_mask is not None else ()
        if not runs:
            return faults.discarded_page(context.id, int(numbers.min()), index)
        visible = brle_to_bools(runs, context.num_tokens + index + 1)[: context.num_committed * size]
        seen = numbers[visible.reshape(-1, size)[numbers].any(axis=1)]
        if len(seen):
            return faults.discarded_page(context.id, int(seen[0]), index)
    return None


def _check_tokens(token_ids: Sequence[int], info: DeviceInfo) -> None:
    if not token_ids:
        raise faults.empty_pass()
    for token_id in (min(token_ids), max(token_ids)):
        if not 0 <= token_id < info.vocab_size:
            raise faults.bad_token(token_id, info.vocab_size)


def _check_stream(counter: int) -> None:
    if counter < 0:
        raise faults.bad_request(f"a random stream cannot begin at draw {counter}", remedy="Count draws from 0.")


def _check_readout(readout: Readout, count: int, info: DeviceInfo) -> None:
    if not 0 <= readout.index < count:
        raise faults.bad_index(readout.index, count)
    if isinstance(readout.what, Sampler):
        _check_sampler(readout.what)
        _check_logit_mask(readout.mask, info)
    elif isinstance(readout.what, Logprobs) and readout.what.token_ids:
        _check_tokens(readout.what.token_ids, info)


def _check_sampler(sampler: Sampler) -> None:
    fine = (
        sampler.temperature >= 0
        and sampler.temperature != float("inf")
        and 0 <= sampler.top_k < 1 << 31
        and 0 <= sampler.top_p <= 1
        and 0 <= sampler.min_p <= 1
        and 1 <= sampler.draws <= _MAX_DRAWS
    )
    if not fine:
        raise faults.bad_request(
            f"{sampler} is not a sampler",
            remedy=f"Use temperature >= 0, top_k >= 0, top_p and min_p from 0 to 1, and 1 to {_MAX_DRAWS} draws.",
        )


def _check_adjustment(adjustment: Adjustment, info: DeviceInfo) -> None:
    biases = dict(adjustment.logit_bias)
    if biases:
        _check_tokens(tuple(biases), info)
    numbers = (adjustment.frequency_penalty, adjustment.presence_penalty, *biases.values())
    is_fine = all(-_MOST_ADDED <= number <= _MOST_ADDED for number in numbers)
    if not is_fine or not 0 < adjustment.repetition_penalty < float("inf") or len(biases) < len(adjustment.logit_bias):
        raise faults.bad_request(
            f"{adjustment} is no adjustment",
            remedy=f"Use a repetition penalty above 0, numbers up to {_MOST_ADDED}, and one bias per token.",
        )


def _check_logit_mask(mask: LogitMask | None, info: DeviceInfo) -> None:
    words = (info.vocab_size + 31) // 32
    if mask is not None and mask.shape != (words,):
        raise faults.bad_mask(f"a mask of shape {mask.shape} for {words} words of a vocabulary of {info.vocab_size}")
