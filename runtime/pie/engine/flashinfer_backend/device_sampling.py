"""Drawing tokens on the device: `pie.engine.sampling` and `pie.engine.adjusting` in torch, where the logits are.

flashinfer's own samplers draw by rejection, with numbers that depend on the batch, and rank equal logits in no fixed
order; ours draw what the definition draws, from the same numbers. Sums of f64 may be added up in another order, so a
draw can differ where a number falls on a border to within rounding.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from pie.adjustment import Adjustments
from pie.engine.backend import Draws, DrawStatus
from pie.engine.flashinfer_backend.upload import upload

__all__ = ["draw_on_device", "uniforms_on_device"]

_GAMMA = 0x9E3779B97F4A7C15
_ROWS_AT_ONCE = 32  # of 150,000 tokens in f64: some hundred megabytes


def draw_on_device(logits: torch.Tensor, draws: Draws) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one token per sampler; nothing waits for the device.

    Args:
        logits: [L, vocab] f32, left as they are.
        draws: S samplers over these rows.

    Returns:
        `tokens` [S] i32, zero where `status` [S] i32 (`DrawStatus`) is not `DRAWN`; on the device.
    """
    device = logits.device
    allowed = _allowed_logits(logits, draws)
    status = _status(logits, allowed, draws)
    tokens = allowed.argmax(dim=1)  # the lowest id of a tie
    random = np.flatnonzero(draws.temperature != 0)
    numbers = uniforms_on_device(draws.seeds[random], draws.counters[random], device)
    for start in range(0, len(random), _ROWS_AT_ONCE):
        part = random[start : start + _ROWS_AT_ONCE]
        index = upload(part, device)
        weights = _kept_tokens(allowed[index], draws, part)
        tokens[index] = _invert(weights, numbers[start : start + len(part)])
    return torch.where(status == DrawStatus.DRAWN, tokens, 0).to(torch.int32), status


def uniforms_on_device(
    seeds: npt.NDArray[np.uint64], counters: npt.NDArray[np.uint64], device: torch.device
) -> torch.Tensor:
    """`pie.engine.sampling.uniforms`, to the bit, [S] f64 on the device.

    torch computes with signed numbers alone: they wrap as unsigned ones do, and shifts lose the sign's copies.
    """
    gamma = _signed(_GAMMA)
    state = _mix(upload(seeds.view(np.int64), device) + gamma)
    state = state + (upload(counters.view(np.int64), device) + 1) * gamma
    return _shifted(_mix(state), 11).double() * 2.0**-53


def _kept_tokens(logits: torch.Tensor, draws: Draws, samplers: npt.NDArray[np.intp]) -> torch.Tensor:
    """`pie.engine.sampling.kept_tokens` of the samplers whose logits [S, vocab] these are."""
    device, vocab_size = logits.device, logits.shape[1]
    temperature, top_p, min_p = (
        upload(values[samplers].astype(np.float64), device)[:, None]
        for values in (draws.temperature, draws.top_p, draws.min_p)
    )
    scaled = logits.double()
    weights = ((scaled - scaled.amax(dim=1, keepdim=True)) / temperature).exp()
    ranked = np.flatnonzero((draws.top_k[samplers] > 0) | (draws.top_p[samplers] < 1))
    if len(ranked):
        index = upload(ranked, device)
        top_k = draws.top_k[samplers][ranked]
        limit = upload(np.where(top_k > 0, top_k, vocab_size).astype(np.int64), device)[:, None]
        order = torch.argsort(logits[index], dim=1, descending=True, stable=True)
        by_rank = weights[index].gather(1, order)
        ranks = torch.arange(vocab_size, device=device)
        by_rank = by_rank.masked_fill(ranks >= limit, 0)
        before = _sums_before(by_rank)
        wanted = top_p[index] * by_rank.sum(dim=1, keepdim=True)
        by_rank = by_rank.masked_fill((before >= wanted) & (ranks > 0) & (top_p[index] < 1), 0)
        weights[index] = torch.zeros_like(by_rank).scatter_(1, order, by_rank)
    return weights.masked_fill(weights < min_p, 0)


def _sums_before(values: torch.Tensor) -> torch.Tensor:
    before = torch.zeros_like(values)
    torch.cumsum(values[:, :-1], dim=1, out=before[:, 1:])
    return before


def _invert(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Index of the weight that `uniform * sum` falls on, per row."""
    cumulated = weights.cumsum(dim=1)
    beyond = cumulated > uniform[:, None] * cumulated[:, -1:]
    # Rounding can put the target at the very end: then it is the last token that has any weight.
    last = (cumulated < cumulated[:, -1:]).sum(dim=1, keepdim=True).clamp(max=weights.shape[1] - 1)
    return beyond.scatter_(1, last, True).to(torch.uint8).argmax(dim=1)  # noqa: FBT003 - torch's own order


def _allowed_logits(logits: torch.Tensor, draws: Draws) -> torch.Tensor:
    """The samplers' rows [S, vocab], adjusted, and -inf where their masks forbid."""
    device = logits.device
    allowed = logits[upload(draws.sampler_rows, device)]
    if draws.adjustments is not None:
        _adjust(allowed, draws.adjustments)
    masked = np.flatnonzero(draws.sampler_masks >= 0)
    if len(masked):
        words = upload(draws.logit_masks[draws.sampler_masks[masked]].view(np.int32), device)
        bits = (words[:, :, None] >> torch.arange(32, device=device, dtype=torch.int32)) & 1
        index = upload(masked, device)
        forbidden = bits.flatten(1)[:, : logits.shape[1]] == 0
        allowed[index] = allowed[index].masked_fill(forbidden, -torch.inf)
    return allowed


def _adjust(logits: torch.Tensor, wanted: Adjustments) -> None:
    """`pie.engine.adjusting.adjust`, for all adjusted samplers at once."""
    device = logits.device
    counts = np.diff(wanted.token_starts)
    repetition, frequency, presence = (
        upload(np.repeat(values.astype(np.float64), counts), device)
        for values in (wanted.repetition, wanted.frequency, wanted.presence)
    )
    place = (upload(np.repeat(wanted.samplers, counts), device), upload(wanted.token_ids, device))
    seen = upload(wanted.counts.astype(np.float64), device)
    values = logits[place].double()
    values = torch.where(values > 0, values / repetition, values * repetition)
    logits[place] = (values - (seen * frequency + (seen > 0) * presence)).float()
    biased = np.repeat(wanted.samplers, np.diff(wanted.bias_starts))
    place = (upload(biased, device), upload(wanted.bias_ids, device))
    logits[place] = (logits[place].double() + upload(wanted.biases.astype(np.float64), device)).float()


def _status(logits: torch.Tensor, allowed: torch.Tensor, draws: Draws) -> torch.Tensor:
    device = logits.device
    best = allowed.amax(dim=1)
    unsound = ~(logits.amax(dim=1) < torch.inf)  # NaN compares false
    status = torch.zeros(len(allowed), dtype=torch.int32, device=device)
    status.masked_fill_(best == -torch.inf, DrawStatus.NOTHING_ALLOWED)
    not_finite = unsound[upload(draws.sampler_rows, device)] | (best == torch.inf)
    status.masked_fill_(not_finite, DrawStatus.NOT_FINITE)
    sound = (draws.temperature >= 0) & (draws.temperature < np.inf) & (draws.top_k >= 0)
    sound &= (draws.top_p >= 0) & (draws.top_p <= 1) & (draws.min_p >= 0) & (draws.min_p <= 1)
    return status.masked_fill_(upload(~sound, device), DrawStatus.BAD_SAMPLER)


def _mix(z: torch.Tensor) -> torch.Tensor:
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shifted(z, 31)


def _shifted(z: torch.Tensor, bits: int) -> torch.Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
