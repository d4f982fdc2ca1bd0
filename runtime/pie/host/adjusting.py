"""From the adjustment of a generation in the contract to that of a decode, with its ranges checked."""

from __future__ import annotations

from typing import Any

from pie.adjustment import Adjustment
from pie.errors import RequestError

__all__ = ["adjustment_of"]

_RANGES = {
    "repetition_penalty": (0.01, 100.0),
    "frequency_penalty": (-2.0, 2.0),
    "presence_penalty": (-2.0, 2.0),
}
_MAX_BIAS = 100.0


def adjustment_of(record: dict[str, Any] | None, vocab_size: int) -> Adjustment | None:
    """Translate one value of the WIT record `adjustment`; None if it changes nothing.

    Raises:
        RequestError: `bad-sampler` if a number is out of range, or two biases have one token; `bad-token`.
    """
    if record is None:
        return None
    for name, (low, high) in _RANGES.items():
        if not low <= _rounded(record[name]) <= high:
            raise _out_of_range(name.replace("_", " "), record[name], low, high)
    biases: dict[int, float] = {}
    for token, bias in record["logit_bias"]:
        if not -_MAX_BIAS <= bias <= _MAX_BIAS:
            raise _out_of_range(f"the logit bias of token {token}", bias, -_MAX_BIAS, _MAX_BIAS)
        if token >= vocab_size:
            cause = f"the logit bias of token {token} is of none of the {vocab_size} tokens of the vocabulary"
            raise RequestError("bad-token", cause, remedy="Use tokens of this model's own tokenizer.")
        if token in biases:
            raise RequestError(
                "bad-sampler", f"token {token} has two logit biases", remedy="Give each token one bias at most."
            )
        biases[token] = bias
    penalties = {name: record[name] for name in _RANGES}
    found = Adjustment(**penalties, logit_bias=tuple(biases.items()))
    return None if found == Adjustment() else found


def _rounded(value: float) -> float:
    """Without the error of the contract's 32 bits, so that a bound is inside."""
    return round(value, 6)


def _out_of_range(what: str, value: float, low: float, high: float) -> RequestError:
    return RequestError("bad-sampler", f"{what} is {value:g}", remedy=f"Give a number from {low:g} to {high:g}.")
