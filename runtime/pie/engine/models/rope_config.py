"""How a layer turns queries and keys by their position: the RoPE settings of `config.json` as data.

The keys are those of Hugging Face, old and new; what the numbers do is in `pie.engine.rope`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from pie.engine.models.families import Family, LayerKind
from pie.engine.models.values import bad_config, optional_float, positive_float, positive_int, unsupported

__all__ = ["LinearScaling", "Llama3Scaling", "LongScaling", "RopeConfig", "YarnScaling", "read_rope"]


@dataclass(frozen=True, slots=True)
class LinearScaling:
    """All frequencies divided by `factor`."""

    factor: float


@dataclass(frozen=True, slots=True)
class Llama3Scaling:
    """Stretching of the long RoPE wavelengths, as Llama 3.1 does it."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_positions: int


@dataclass(frozen=True, slots=True)
class YarnScaling:
    """Stretching by a ramp over the pairs, between `beta_fast` and `beta_slow` turns in the original context."""

    factor: float
    beta_fast: float
    beta_slow: float
    original_max_positions: int
    truncate: bool


@dataclass(frozen=True, slots=True)
class LongScaling:
    """A divisor for the frequency of each pair (LongRoPE's short factors), and how far they hold."""

    factors: tuple[float, ...]
    original_max_positions: int


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """The rotation of one kind of layer.

    Attributes:
        theta: base of the wavelengths.
        rotary_dim: how many numbers of a head are turned, from its start; even.
        scaling: what is done to the frequencies, or None.
        amplitude: factor of cosines and sines.
    """

    theta: float
    rotary_dim: int
    scaling: LinearScaling | Llama3Scaling | YarnScaling | LongScaling | None = None
    amplitude: float = 1.0


def read_rope(raw: Mapping[str, object], family: Family, *, head_dim: int, kind: LayerKind) -> RopeConfig:
    """The rotation of a kind of layer, from `config.json` with the family's defaults.

    Raises:
        ModelError: `bad-config` or `unsupported-feature`.
    """
    section = _section(raw, family, kind)
    settings = {**raw, **section}
    if raw.get("original_max_position_embeddings") is not None:
        settings["original_max_position_embeddings"] = raw["original_max_position_embeddings"]
    theta = positive_float(settings, "rope_theta", default=10000.0)
    share = positive_float(settings, "partial_rotary_factor", default=1.0)
    rotary_dim = int(head_dim * share)
    if share > 1 or (share != 1 and not family.partial_rotary) or rotary_dim % 2 or not rotary_dim:
        raise unsupported(f"partial_rotary_factor {share}")
    scaling = str(section.get("rope_type", section.get("type", "default")))
    match family.rope_aliases.get(scaling, scaling):
        case "default" | "dynamic":  # dynamic scaling begins past the model's context, where no position is
            return RopeConfig(theta, rotary_dim)
        case "linear":
            return RopeConfig(theta, rotary_dim, LinearScaling(positive_float(settings, "factor")))
        case "llama3":
            return RopeConfig(theta, rotary_dim, _llama3(settings))
        case "yarn":
            return _yarn(settings, theta, rotary_dim)
        case "longrope":
            return _long(settings, theta, rotary_dim)
    raise unsupported(f"RoPE scaling {scaling!r}")


def _section(raw: Mapping[str, object], family: Family, kind: LayerKind) -> Mapping[str, object]:
    """`rope_parameters` in newer files, `rope_scaling` in older ones, perhaps with a table per kind of layer."""
    section = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(section, Mapping):
        raise bad_config(f"the RoPE settings must be a table, not {section!r}")
    nested = any(name in section for name in get_args(LayerKind))
    local = family.local_rope and kind == "sliding_attention"
    if nested:
        section = section.get(kind) or {}
        if not isinstance(section, Mapping):
            raise bad_config(f"the RoPE settings of {kind} must be a table, not {section!r}")
    elif local:
        section = {}
    return {"rope_theta": raw["rope_local_base_freq"], **section} if local else section


def _original(settings: Mapping[str, object]) -> int:
    default = positive_int(settings, "max_position_embeddings")
    return positive_int(settings, "original_max_position_embeddings", default=default)


def _llama3(settings: Mapping[str, object]) -> Llama3Scaling:
    scaling = Llama3Scaling(
        factor=positive_float(settings, "factor"),
        low_freq_factor=positive_float(settings, "low_freq_factor"),
        high_freq_factor=positive_float(settings, "high_freq_factor"),
        original_max_positions=_original(settings),
    )
    if scaling.high_freq_factor <= scaling.low_freq_factor:
        raise bad_config("`high_freq_factor` must exceed `low_freq_factor`")
    return scaling


def _yarn(settings: Mapping[str, object], theta: float, rotary_dim: int) -> RopeConfig:
    original = _original(settings)
    factor = positive_float(settings, "factor", default=positive_int(settings, "max_position_embeddings") / original)
    scaling = YarnScaling(
        factor=factor,
        beta_fast=positive_float(settings, "beta_fast", default=32.0),
        beta_slow=positive_float(settings, "beta_slow", default=1.0),
        original_max_positions=original,
        truncate=bool(settings.get("truncate", True)),
    )
    if theta <= 1:
        raise bad_config(f"`rope_theta` must exceed 1 for RoPE scaling 'yarn', not be {theta}")
    numerator, denominator = (optional_float(settings, key) for key in ("mscale", "mscale_all_dim"))
    if numerator and denominator:
        amplitude = _yarn_amplitude(factor, numerator) / _yarn_amplitude(factor, denominator)
    else:
        amplitude = _yarn_amplitude(factor, 1.0)
    return RopeConfig(theta, rotary_dim, scaling, positive_float(settings, "attention_factor", default=amplitude))


def _yarn_amplitude(factor: float, scale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0


def _long(settings: Mapping[str, object], theta: float, rotary_dim: int) -> RopeConfig:
    original = _original(settings)
    if original == 1:
        raise bad_config("`original_max_position_embeddings` must exceed 1")
    factors = settings.get("short_factor")
    if not isinstance(factors, list) or len(factors) != rotary_dim // 2:
        raise bad_config(f"`short_factor` must be a list of {rotary_dim // 2} numbers")
    divisors = tuple(positive_float({"short_factor": value}, "short_factor") for value in factors)
    factor = positive_float(settings, "factor", default=positive_int(settings, "max_position_embeddings") / original)
    amplitude = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    amplitude = positive_float(settings, "attention_factor", default=amplitude)
    return RopeConfig(theta, rotary_dim, LongScaling(divisors, original), amplitude)
