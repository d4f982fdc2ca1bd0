"""Drawing tokens from logits: filters, inverse-CDF draws and the counter-based numbers they use, in numpy.

This is the definition of what a draw means: the C++ sampler is tested against it, and the torch backend uses it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pie.engine.adjusting import adjust
from pie.engine.backend import Drawn, Draws, DrawStatus
from pie.forward import LogitMask

__all__ = ["draw_tokens", "kept_tokens", "uniforms"]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)

Float64Array = npt.NDArray[np.float64]


def uniforms(seeds: npt.NDArray[np.uint64], counters: npt.NDArray[np.uint64]) -> Float64Array:
    """Numbers in [0, 1), one per (seed, counter), a function of these two only.

    Number `counter` of the SplitMix64 stream whose start is the mixed seed (Steele, Lea and Flood, "Fast splittable
    pseudorandom number generators", OOPSLA 2014; the finaliser is Stafford's variant 13), its upper 53 bits.
    """
    with np.errstate(over="ignore"):
        state = _mix(seeds + _GAMMA) + (counters + np.uint64(1)) * _GAMMA
    return (_mix(state) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def draw_tokens(logits: npt.NDArray[np.float32], draws: Draws) -> Drawn:
    """Draw one token per sampler.

    The kept tokens (see `kept_tokens`) are laid side by side in the order of their ids, each as wide as its
    probability; the drawn token is the one that the sampler's uniform number falls on.

    Args:
        logits: [L, vocab] f32.
        draws: S samplers over these rows.

    Returns:
        `tokens` [S, 1]; where `status` is not `DRAWN` there is no token.
    """
    allowed = _allowed_logits(logits, draws)
    status = _status(logits, allowed, draws)
    tokens = np.zeros(len(status), np.int32)
    drawn = status == DrawStatus.DRAWN
    greedy = drawn & (draws.temperature == 0)
    tokens[greedy] = allowed[greedy].argmax(axis=1)  # numpy's argmax takes the lowest id of a tie
    random = np.flatnonzero(drawn & (draws.temperature > 0))
    if len(random):
        weights = kept_tokens(
            allowed[random], draws.temperature[random], draws.top_k[random], draws.top_p[random], draws.min_p[random]
        )
        tokens[random] = _invert(weights, uniforms(draws.seeds[random], draws.counters[random]))
    return Drawn(tokens[:, None], drawn.astype(np.int32), status)


def kept_tokens(
    logits: npt.NDArray[np.float32],
    temperature: npt.NDArray[np.float32],
    top_k: npt.NDArray[np.int32],
    top_p: npt.NDArray[np.float32],
    min_p: npt.NDArray[np.float32],
) -> Float64Array:
    """Weights `[S, vocab]` of the tokens left by the filters, 0 for the others, 1 for the most likely.

    Tokens are ranked by logit, equal ones by id. Top-k keeps the first k; top-p keeps the shortest run of the ranking
    whose share of what top-k left reaches p; min-p keeps what is at least min_p times as likely as the first.
    """
    scaled = logits.astype(np.float64)
    with np.errstate(over="ignore"):
        scaled = (scaled - scaled.max(axis=1, keepdims=True)) / temperature[:, None].astype(np.float64)
    weights: Float64Array = np.exp(scaled)
    ranked = np.flatnonzero((top_k > 0) | (top_p < 1))
    if len(ranked):
        order = np.argsort(-logits[ranked], axis=1, kind="stable")
        by_rank = np.take_along_axis(weights[ranked], order, axis=1)
        ranks = np.arange(weights.shape[1])
        limit = np.where(top_k[ranked] > 0, top_k[ranked], weights.shape[1])
        by_rank[ranks >= limit[:, None]] = 0
        wanted = top_p[ranked].astype(np.float64) * by_rank.sum(axis=1)
        before = np.zeros_like(by_rank)
        np.cumsum(by_rank[:, :-1], axis=1, out=before[:, 1:])
        beyond = (before >= wanted[:, None]) & (ranks > 0) & (top_p[ranked] < 1)[:, None]
        by_rank[beyond] = 0
        kept = np.zeros_like(by_rank)
        np.put_along_axis(kept, order, by_rank, axis=1)
        weights[ranked] = kept
    weights[weights < min_p[:, None]] = 0
    return weights


def _invert(weights: Float64Array, uniform: Float64Array) -> npt.NDArray[np.intp]:
    """Index of the weight that `uniform * sum` falls on, per row."""
    cumulated: Float64Array = np.cumsum(weights, axis=1)
    beyond = cumulated > (uniform * cumulated[:, -1])[:, None]
    # Rounding can put the target at the very end: then it is the last token that has any weight.
    beyond[np.arange(len(weights)), (cumulated < cumulated[:, -1:]).sum(axis=1)] = True
    index: npt.NDArray[np.intp] = beyond.argmax(axis=1)
    return index


def _allowed_logits(logits: npt.NDArray[np.float32], draws: Draws) -> npt.NDArray[np.float32]:
    """The samplers' rows `[S, vocab]`, adjusted, and -inf where their masks forbid."""
    allowed = logits[draws.sampler_rows]
    if draws.adjustments is not None:
        adjust(allowed, draws.adjustments)
    masked = np.flatnonzero(draws.sampler_masks >= 0)
    if len(masked):
        bits = _unpack(draws.logit_masks[draws.sampler_masks[masked]], logits.shape[1])
        allowed[masked] = np.where(bits, allowed[masked], -np.inf)
    return allowed


def _status(logits: npt.NDArray[np.float32], allowed: npt.NDArray[np.float32], draws: Draws) -> npt.NDArray[np.int32]:
    status = np.zeros(len(allowed), np.int32)
    status[allowed.max(axis=1) == -np.inf] = DrawStatus.NOTHING_ALLOWED
    unsound = ~(logits.max(axis=1) < np.inf)  # NaN compares false
    status[unsound[draws.sampler_rows] | (allowed.max(axis=1) == np.inf)] = DrawStatus.NOT_FINITE
    sound = (draws.temperature >= 0) & (draws.temperature < np.inf) & (draws.top_k >= 0)
    sound &= (draws.top_p >= 0) & (draws.top_p <= 1) & (draws.min_p >= 0) & (draws.min_p <= 1)
    status[~sound] = DrawStatus.BAD_SAMPLER
    return status


def _unpack(words: LogitMask, vocab_size: int) -> npt.NDArray[np.bool_]:
    octets = np.ascontiguousarray(words).view(np.uint8)
    return np.unpackbits(octets, axis=1, bitorder="little", count=vocab_size).astype(np.bool_)


def _mix(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
