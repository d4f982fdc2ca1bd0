"""What an adjusted decode counts: which tokens its prompt has, and how often each is in its output.

Belongs to the decode, not to a row or a step: a decode that is suspended, or changes between row and pass, counts on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pie.adjustment import Adjusted, Adjustment

__all__ = ["TokenCounts"]


class TokenCounts:
    """The counts of one decode."""

    def __init__(self, adjustment: Adjustment, prompt: Sequence[int]) -> None:
        """Start with no output; the prompt counts for the repetition penalty alone."""
        self._adjustment = adjustment
        self._counts = dict.fromkeys(prompt if adjustment.repetition_penalty != 1 else (), 0)

    def add(self, token_ids: Sequence[int]) -> None:
        """Count tokens of the output."""
        for token in token_ids:
            self._counts[token] = self._counts.get(token, 0) + 1

    def adjusted(self, sampler: int, guesses: Sequence[int] = ()) -> Adjusted:
        """What a step is told of the decode's sampler, which draws after these guesses as if they were output."""
        counts = self._counts
        if guesses:
            counts = dict(counts)
            for token in guesses:
                counts[token] = counts.get(token, 0) + 1
        ids = np.fromiter(counts, np.int32, len(counts))
        return Adjusted(sampler, self._adjustment, ids, np.fromiter(counts.values(), np.int32, len(counts)))
