"""Typed values out of a model's `config.json`, and the errors for those that are missing, senseless or unsupported."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pie.errors import ModelError

__all__ = ["bad_config", "optional_float", "positive_float", "positive_int", "unsupported"]


def positive_int(raw: Mapping[str, object], key: str, *, default: int | None = None) -> int:
    """The positive integer at `key`; raises ModelError(`bad-config`)."""
    value = raw.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise bad_config(f"`{key}` must be a positive integer, not {value!r}")
    return value


def positive_float(raw: Mapping[str, object], key: str, *, default: float | None = None) -> float:
    """The positive finite number at `key`; raises ModelError(`bad-config`)."""
    value = raw.get(key)
    value = default if value is None else value
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not (math.isfinite(value) and value > 0):
        raise bad_config(f"`{key}` must be a positive number, not {value!r}")
    return float(value)


def optional_float(raw: Mapping[str, object], key: str) -> float | None:
    """The positive finite number at `key`, None without one; raises ModelError(`bad-config`)."""
    return None if raw.get(key) is None else positive_float(raw, key)


def bad_config(cause: str) -> ModelError:
    """The error of a missing or senseless value."""
    return ModelError("bad-config", f"config.json: {cause}", remedy="Download the model's config.json again.")


def unsupported(feature: str) -> ModelError:
    """The error of a value that this engine does not run."""
    return ModelError(
        "unsupported-feature",
        f"config.json asks for {feature}, which this engine does not run",
        remedy="Choose a model without it.",
    )
