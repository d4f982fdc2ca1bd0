"""Typed values out of a model's `config.json`, and the errors for those that are missing, senseless or unsupported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pie.errors import ModelError

__all__ = ["MOST_LAYERS", "bad_config", "optional_float", "positive_float", "positive_int", "unsupported"]

MOST_LAYERS: Final = 1000
"""What is refused beyond: no model has as many, and looking at each of a million would take minutes."""
_MOST: Final = 2**31 - 1  # what kernels count with
_LEAST_FLOAT: Final = 1.2e-38  # float32 has nothing between it and zero that keeps its digits
_MOST_FLOAT: Final = 3.4e38


def positive_int(raw: Mapping[str, object], key: str, *, default: int | None = None, most: int = _MOST) -> int:
    """The positive integer at `key`, `most` at most; raises ModelError(`bad-config`)."""
    value = raw.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise bad_config(f"`{key}` must be a positive integer, not {value!r}")
    if value > most:
        raise bad_config(f"`{key}` is {_short(value)}, and may be {most:,} at most")
    return value


def positive_float(raw: Mapping[str, object], key: str, *, default: float | None = None) -> float:
    """The positive number at `key`, within the range of float32; raises ModelError(`bad-config`)."""
    value = raw.get(key)
    value = default if value is None else value
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
        raise bad_config(f"`{key}` must be a positive number, not {value!r}")
    if not _LEAST_FLOAT <= value <= _MOST_FLOAT:
        raise bad_config(
            f"`{key}` must be within the range of float32, not {float(value) if value < 1e300 else 'more'}"
        )
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


def _short(value: int) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"a number of {len(text)} digits"
