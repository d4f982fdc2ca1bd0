"""A constraint and a watch that the scheduler's tests share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pie.forward import LogitMask
from pie.mask import bools_to_brle, brle_to_bitmask

__all__ = ["Cycle", "Until"]


class Cycle:
    """Allows in step i the tokens that are i modulo 3; ends after so many tokens."""

    def __init__(self, length: int = 1000, *, fails_ahead: bool = False) -> None:
        self.count = 0
        self.length = length
        self.fails_ahead = fails_ahead

    def mask(self) -> LogitMask | None:
        return self.mask_at(self.count)

    def mask_at(self, step: int) -> LogitMask:
        return brle_to_bitmask(bools_to_brle(np.arange(97) % 3 == step % 3), 97)

    def accept(self, token_id: int) -> bool:
        assert token_id % 3 == self.count % 3
        self.count += 1
        return self.count == self.length

    def masks_ahead(self, token_ids: Sequence[int]) -> list[LogitMask | None]:
        if self.fails_ahead:
            raise ValueError("cannot look ahead")
        masks: list[LogitMask | None] = []
        for step, token in enumerate(token_ids, self.count):
            if token % 3 != step % 3 or step + 1 == self.length:
                break
            masks.append(self.mask_at(step + 1))
        return masks


class Until:
    """A watch that ends a decode with so many tokens that a number divides."""

    def __init__(self, divisor: int, count: int = 1, *, fails: bool = False) -> None:
        self.seen: list[int] = []
        self.divisor = divisor
        self.count = count
        self.fails = fails

    def accept(self, token_id: int) -> bool:
        self.seen.append(token_id)
        self.count -= token_id % self.divisor == 0
        if self.fails and self.count == 0:
            raise ValueError("it cannot see")
        return self.count == 0
