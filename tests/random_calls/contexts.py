"""Contexts and their pages in plain Python: what each call must do to them, and which code it must be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from tests.scheduler.fake_device import noise
from tests.scheduler.oracle import History

__all__ = ["PAGE", "VOCABULARY", "Believed", "Generated"]

PAGE = 4
"""Tokens of a page."""
VOCABULARY = 97


@dataclass(frozen=True, slots=True)
class Generated:
    """What a greedy generation gives.

    Attributes:
        tokens: its tokens.
        finish: why it ends.
    """

    tokens: list[int]
    finish: str


@dataclass(slots=True)
class Believed:
    """What a context must be.

    Attributes:
        history: its tokens, with what each could see.
        positions: of its tokens.
        committed: number of committed pages.
        working: number of pages behind them.
        discarded: numbers of committed pages that were given back.
    """

    history: History = field(default_factory=History)
    positions: list[int] = field(default_factory=list)
    committed: int = 0
    working: int = 0
    discarded: set[int] = field(default_factory=set)
    is_alive: bool = True

    def copy(self, *, trimmed: bool = False) -> Believed:
        """A context with the same tokens; `trimmed` without empty pages, as it is saved."""
        working = -(-self.working_tokens // PAGE) if trimmed else self.working
        return Believed(
            self.history.copy(), list(self.positions), self.committed, working, set(self.discarded), self.is_alive
        )

    @property
    def working_tokens(self) -> int:
        return len(self.history) - self.committed * PAGE if self.is_alive else 0

    @property
    def next_position(self) -> int:
        return self.positions[-1] + 1 if self.positions else 0

    @property
    def counts(self) -> tuple[int, int, int]:
        """Committed pages, working pages, tokens in these: what the host must tell."""
        return (self.committed, self.working, self.working_tokens) if self.is_alive else (0, 0, 0)

    def is_increasing(self, num_tokens: int) -> bool:
        """Whether the positions of the first working tokens increase, and exceed those of all committed ones."""
        start = self.committed * PAGE
        positions = [self.positions[start - 1] if start else -1, *self.positions[start : start + num_tokens]]
        return all(a < b for a, b in pairwise(positions))

    def write(self, tokens: Sequence[int], positions: Sequence[int], rows: Sequence[Sequence[bool]] | None) -> None:
        """Tokens of a pass, each of which sees what its row says."""
        for index, (token, position) in enumerate(zip(tokens, positions, strict=True)):
            self.history.append(token, position, None if rows is None else rows[index])
            self.positions.append(position)

    def draw(self, allowed: range | None = None) -> int:
        """The token that a greedy sampler draws after the last one, of those allowed."""
        scores = noise(self.history.states[-1], VOCABULARY) * 8.0
        if allowed is not None:
            forbidden = np.ones(VOCABULARY, np.bool_)
            forbidden[list(allowed)] = False
            scores[forbidden] = -np.inf
        return int(scores.argmax())

    def truncate(self, num_tokens: int) -> None:
        num_tokens = min(num_tokens, self.working_tokens)
        self.history.drop(num_tokens)
        del self.positions[len(self.positions) - num_tokens :]

    def release(self, num_pages: int) -> None:
        num_pages = min(num_pages, self.working)
        self.truncate(max(0, self.working_tokens - (self.working - num_pages) * PAGE))
        self.working -= num_pages

    def commit(self, num_pages: int) -> None:
        self.committed += num_pages
        self.working -= num_pages

    def foresee(self, tokens: Sequence[int], *, max_tokens: int, stop: set[int]) -> Generated:
        """What a generation after these tokens gives."""
        twin, made = self.copy(), list[int]()
        twin.extend(tokens)
        while True:
            token = twin.draw()
            if token in stop:
                return Generated(made, "stop")
            made.append(token)
            if len(made) == max_tokens:
                return Generated(made, "length")
            twin.extend([token])

    def extend(self, tokens: Sequence[int]) -> None:
        """Tokens at successive positions, each of which sees all before it."""
        self.write(tokens, range(self.next_position, self.next_position + len(tokens)), None)

    def was_generated(self, tokens: Sequence[int]) -> None:
        """A generation fed these tokens: pages were taken as needed, and all full ones committed."""
        self.extend(tokens)
        num_pages = max(self.committed + self.working, -(-len(self.history) // PAGE))
        self.committed = len(self.history) // PAGE
        self.working = num_pages - self.committed
