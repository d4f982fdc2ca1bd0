"""How likely the tokens of a generation were."""

from __future__ import annotations

from dataclasses import dataclass

from wit_world.imports import generation as wit_generation

__all__ = ["TokenLogprobs", "paired"]


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """How likely a token was in the model's own distribution: at temperature 1, before penalties, biases and masks.

    Attributes:
        token: which one was drawn.
        logprob: the natural logarithm of its probability.
        top: the most likely tokens and theirs, most likely first, as many as were asked for.
    """

    token: int
    logprob: float
    top: list[tuple[int, float]]


def paired(progress: wit_generation.Progress) -> list[TokenLogprobs]:
    """What the server tells of new tokens; empty if it was not asked."""
    if not progress.logprobs:
        return []
    pairs = zip(progress.tokens, progress.logprobs, strict=True)
    return [TokenLogprobs(token, told.logprob, told.top) for token, told in pairs]
