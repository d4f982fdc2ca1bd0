"""How much of prompts a step computes while generations run, so that none of them waits long for its next token.

The number follows what was measured: a step that took too long makes the next ones smaller at once, by how much it was
too long; one that used all it might and was fast makes them larger, twofold at most. What is common to all steps, such
as reading the weights, is part of what is measured. Where nobody waits for a token, steps are as large as they may be.
"""

from __future__ import annotations

__all__ = ["Pace"]

_FEWEST_TOKENS = 16
_MOST_GROWTH = 2.0


class Pace:
    """Tokens of prompts in a step beside running generations.

    Attributes:
        num_tokens: at most so many; a prompt moves on by some tokens however slow the device is.
    """

    def __init__(self, *, most_tokens: int, step_s: float | None) -> None:
        """Start with the most.

        Args:
            most_tokens: of any step.
            step_s: about how long such a step may last; None is as long as it takes.
        """
        self.num_tokens = most_tokens
        self._most = most_tokens
        self._step_s = step_s

    def timed(self, num_tokens: int, seconds: float) -> None:
        """Take how long a step with so many tokens of prompts, perhaps none, lasted."""
        if self._step_s is None or not num_tokens:
            return
        fitting = int(num_tokens * min(_MOST_GROWTH, self._step_s / max(seconds, 1e-9)))
        is_slow, is_full = seconds > self._step_s, num_tokens >= self.num_tokens
        if (is_slow and fitting < self.num_tokens) or (is_full and fitting > self.num_tokens):
            self.num_tokens = min(self._most, max(_FEWEST_TOKENS, fitting))
