"""What is asked of passes and generations, and what can be wrong about it, with the code that must be told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.random_calls.contexts import VOCABULARY

from pie.wasm.values import Variant

__all__ = ["GENERATION_DEFECTS", "PASS_DEFECTS", "Asked", "ask", "hide", "options", "rows_of"]

GREEDY = Variant("top-p", (0.0, 1.0))
PASS_DEFECTS = {
    "no input": "empty-pass",
    "token": "bad-token",
    "number of positions": "bad-positions",
    "position": "prompt-too-long",
    "index": "bad-index",
    "sampler": "bad-sampler",
    "probe": "bad-token",
    "rows": "bad-mask",
    "logit mask": "bad-mask",
}
GENERATION_DEFECTS = {
    "no input": "empty-pass",
    "token": "bad-token",
    "limit": "bad-request",
    "sampler": "bad-sampler",
    "probe": "bad-sampler",
    "logit mask": "bad-mask",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A pass: its input, its masks, and one sampler."""

    tokens: list[int]
    positions: list[int]
    masks: list[list[int]] | None
    logit_mask: list[int] | None
    index: int
    sampler: Variant = GREEDY

    def spoilt(self, defect: str, *, max_positions: int) -> Asked:
        """The same with one of PASS_DEFECTS, if it is one."""
        wrong: dict[str, dict[str, Any]] = {
            "no input": {"tokens": [], "positions": []},
            "token": {"tokens": [VOCABULARY, *self.tokens[1:]]},
            "number of positions": {"positions": self.positions[1:]},
            "position": {"positions": [*self.positions[:-1], max_positions]},
            "index": {"index": len(self.tokens)},
            "sampler": {"sampler": Variant("min-p", (math.nan, 0.5))},
            "probe": {"sampler": Variant("logprob", VOCABULARY)},
            "rows": {"masks": [[0, 1]] * (len(self.tokens) + 1)},
            "logit mask": {"logit_mask": [0, VOCABULARY + 1]},
        }
        return replace(self, **wrong.get(defect, {}))


def ask(tokens: list[int], positions: list[int], masks: list[list[int]] | None, allowed: int | None) -> Asked:
    """A pass that draws after its last token, one of the last `allowed` tokens of the vocabulary."""
    logit_mask = None if allowed is None else [VOCABULARY - allowed, allowed]
    return Asked(tokens, positions, masks, logit_mask, len(tokens) - 1)


def hide(length: int, hidden: int) -> list[int]:
    """A BRLE over `length` keys that hides the first `hidden` ones, but never the last."""
    first = min(hidden, length - 1)
    return [first, length - first]


def rows_of(mask: Sequence[int]) -> list[bool]:
    """What a BRLE of `hide` lets see."""
    first, rest = mask
    return [False] * first + [True] * rest


def options(tokens: list[int], max_tokens: int, stop: set[int], *, speculate: bool, defect: str) -> dict[str, Any]:
    """The record `options` of a generation, with something wrong about it."""
    right: dict[str, Any] = {
        "tokens": tokens,
        "sampler": GREEDY,
        "adjustment": None,
        "logprobs": None,
        "max_tokens": max_tokens,
        "stop": sorted(stop),
        "stop_texts": [],
        "logit_mask": None,
        "speculate": speculate,
        "seed": None,
        "counter": 0,
        "adapter_seed": None,
        "window": None,
        "notify_every": 0,
        "pipe": False,
        "hide_reasoning": False,
    }
    wrong: dict[str, dict[str, Any]] = {
        "no input": {"tokens": []},
        "token": {"tokens": [*tokens, VOCABULARY]},
        "limit": {"max_tokens": 0},
        "sampler": {"sampler": Variant("top-k", (-1.0, 3))},
        "probe": {"sampler": Variant("entropy")},
        "logit mask": {"logit_mask": [0, VOCABULARY + 1]},
    }
    return right | wrong.get(defect, {})
