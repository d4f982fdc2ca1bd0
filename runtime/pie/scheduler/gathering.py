"""Whether a step begins with what is there or waits a little for more: the batch policies of Pie 0.4.

- `greedy` never waits.
- `adaptive` waits for as many requests as lately took part in a step, for as long as the last step took at most; where
  fewer come it expects one less each time.
- `eager` waits for as many as took part in the last step, for as long as that took at most.

The first step's time is no measure, for much is done for the first time in it. A policy decides only; nothing here
waits, and no token depends on it.
"""

from __future__ import annotations

from pie.config import BatchPolicy

__all__ = ["Gathering"]


class Gathering:
    """What steps were like lately, and how long the next one waits for more requests."""

    def __init__(self, policy: BatchPolicy, *, most_requests: int) -> None:
        """Start without a step; one of `most_requests` requests never waits."""
        self._policy = policy
        self._most = most_requests
        self._expected = 0
        self._num_steps = 0
        self._last_s = 0.0

    def wait_s(self, num_requests: int, waited_s: float) -> float:
        """How much longer a step of so many requests waits for others, in seconds.

        Args:
            num_requests: generations that would take a step, and passes.
            waited_s: since the last step was over.
        """
        if self._policy == "greedy" or num_requests >= min(self._most, self._expected):
            return 0.0
        return max(0.0, self._last_s - waited_s)

    def began(self, num_requests: int) -> None:
        """Note that a step of so many requests begins."""
        self._expected = max(num_requests, self._expected - 1) if self._policy == "adaptive" else num_requests

    def ended(self, seconds: float) -> None:
        """Note that it took so long."""
        self._num_steps += 1
        self._last_s = seconds if self._num_steps > 1 else 0.0
