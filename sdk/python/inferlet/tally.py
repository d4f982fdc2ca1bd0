"""Counting the tokens of a generation: when it must end, and which of the drawn tokens count."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

__all__ = ["Kept", "Tally"]


@dataclass(frozen=True, slots=True)
class Kept:
    """The tokens of one step that count.

    Attributes:
        tokens: without the stop token and what follows it, and within the limit.
        stopped: a stop token was drawn.
    """

    tokens: list[int]
    stopped: bool

    @property
    def num_fed(self) -> int:
        """How many of them belong into the context: all after a stop, else all but the last, which is fed next."""
        return len(self.tokens) if self.stopped else max(0, len(self.tokens) - 1)


@dataclass(slots=True)
class Tally:
    """How many tokens there are, how many there may be, and which end the generation.

    Attributes:
        num_reasoning: how many of them were reasoning, of those that the server has made.
        completes: says of each token that counts whether what is said with it ends the generation.
    """

    max_tokens: int | None = None
    stop: set[int] = field(default_factory=set)
    num_generated: int = 0
    num_reasoning: int = 0
    done: bool = False
    completes: Callable[[int], bool] | None = None

    @property
    def num_remaining(self) -> int | None:
        """How many tokens may still come; None is without limit."""
        return None if self.max_tokens is None else max(0, self.max_tokens - self.num_generated)

    @property
    def is_over(self) -> bool:
        """Whether nothing more may come."""
        return self.done or self.num_remaining == 0

    def take(self, tokens: Iterable[int]) -> Kept:
        """Count drawn tokens up to a stop token or the limit."""
        kept: list[int] = []
        stopped = False
        for token in tokens:
            if self.is_over:
                break
            if token in self.stop:
                stopped = self.done = True
                break
            kept.append(token)
            self.num_generated += 1
            self.done = self.completes is not None and self.completes(token)
        return Kept(kept, stopped)
