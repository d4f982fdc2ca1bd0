"""Rotary position embedding: the cosines and sines of every position, computed once."""

from __future__ import annotations

import math

import torch

from pie.engine.models.rope_config import LinearScaling, Llama3Scaling, LongScaling, RopeConfig, YarnScaling

__all__ = ["inverse_frequencies", "rope_tables"]


def inverse_frequencies(rope: RopeConfig) -> torch.Tensor:
    """RoPE angle per position of each pair of a head, `[rotary_dim / 2]` f32 (Su et al., "RoFormer", 2021)."""
    wavelengths = rope.theta ** (torch.arange(0, rope.rotary_dim, 2).float() / rope.rotary_dim)
    match rope.scaling:
        case None:
            return 1.0 / wavelengths
        case LinearScaling(factor=factor):
            return 1.0 / wavelengths / factor
        case LongScaling(factors=factors):
            return 1.0 / (torch.tensor(factors) * wavelengths)
        case Llama3Scaling():
            return _llama3(1.0 / wavelengths, rope.scaling)
        case YarnScaling():
            return _yarn(wavelengths, rope, rope.scaling)


def rope_tables(rope: RopeConfig, max_positions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine `[max_positions, rotary_dim / 2]` f32, contiguous."""
    angles = torch.outer(torch.arange(max_positions).float(), inverse_frequencies(rope))
    return (angles.cos() * rope.amplitude).contiguous(), (angles.sin() * rope.amplitude).contiguous()


def _llama3(plain: torch.Tensor, scaling: Llama3Scaling) -> torch.Tensor:
    """Divide frequencies of wavelengths beyond the original context, keep the short ones, blend between.

    From the Llama 3.1 model card.
    """
    turns = scaling.original_max_positions / (2 * math.pi / plain)
    blend = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    blend = blend.clamp(0.0, 1.0)
    return (1 - blend) * plain / scaling.factor + blend * plain


def _yarn(wavelengths: torch.Tensor, rope: RopeConfig, scaling: YarnScaling) -> torch.Tensor:
    """Keep what turns often in the original context, divide what does not, by a ramp (Peng et al., "YaRN", 2023)."""

    def pair_of(turns: float) -> float:
        ratio = scaling.original_max_positions / (turns * 2 * math.pi)
        return rope.rotary_dim * math.log(ratio) / (2 * math.log(rope.theta))

    low, high = pair_of(scaling.beta_fast), pair_of(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rope.rotary_dim - 1)
    high = high + 0.001 if low == high else high
    ramp = ((torch.arange(rope.rotary_dim // 2).float() - low) / (high - low)).clamp(0, 1)
    kept = 1 - ramp
    return 1.0 / (scaling.factor * wavelengths) * (1 - kept) + 1.0 / wavelengths * kept
