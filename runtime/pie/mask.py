"""Binary run-length masks (BRLE): u32 run lengths that alternate, the first run False (and possibly empty).

True means "may attend" or "may be drawn". A mask shorter than what it covers forbids the rest; an empty list
is "no restriction". Source of the format: the `brle` type of `pie:core/inference`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pie.errors import RequestError

__all__ = ["Window", "bitmask_to_brle", "brle_to_bitmask", "brle_to_bools", "bools_to_brle"]

_LONGEST = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Window:
    """The mask of a token that sees the last tokens and the first ones only.

    Attributes:
        size: so many last tokens, itself included, >= 1.
        sink: so many first tokens.
    """

    size: int
    sink: int = 0

    @property
    def narrow_from(self) -> int:
        """Tokens before this place see all that is before them; at most 2^31 - 1, where no text reaches."""
        return min(self.size + self.sink, _LONGEST)

    def runs(self, place: int) -> tuple[int, ...]:
        """What the token at a place of its sequence sees, as BRLE; empty if that is everything."""
        if place < self.narrow_from:
            return ()
        first = place + 1 - self.size
        return (0, self.sink, first - self.sink, self.size) if self.sink else (first, self.size)

    def unseen_pages(self, num_tokens: int, page_size: int) -> range:
        """The pages of a sequence of `num_tokens` tokens that no later token sees."""
        first = -(-self.sink // page_size)
        return range(first, max(first, (num_tokens + 1 - self.size) // page_size))


def brle_to_bools(runs: Sequence[int], length: int) -> npt.NDArray[np.bool_]:
    """Expand `runs` to `length` booleans; what the runs do not reach is False.

    Raises:
        RequestError: `bad-mask` if the runs cover more than `length`.
    """
    lengths = np.asarray(runs, dtype=np.int64)
    total = int(lengths.sum())
    if total > length:
        raise RequestError(
            "bad-mask",
            f"a mask covers {total} entries where {length} exist",
            remedy="Make the runs of the mask add up to at most that length.",
        )
    values = np.zeros(len(lengths), np.bool_)
    values[1::2] = True
    out = np.zeros(length, np.bool_)
    out[:total] = np.repeat(values, lengths)
    return out


def bools_to_brle(bools: npt.NDArray[np.bool_]) -> list[int]:
    """Compress booleans to runs; the inverse of `brle_to_bools` up to a trailing False run."""
    if not len(bools):
        return []
    edges = np.flatnonzero(bools[1:] != bools[:-1]) + 1
    runs: list[int] = np.diff(np.concatenate(([0], edges, [len(bools)]))).tolist()
    return [0, *runs] if bools[0] else runs


def brle_to_bitmask(runs: Sequence[int], length: int) -> npt.NDArray[np.uint32]:
    """Pack `runs` over `length` entries into u32 words `[ceil(length / 32)]`, entry i at bit i % 32 of word i // 32."""
    bools = np.zeros((length + 31) // 32 * 32, np.bool_)
    bools[:length] = brle_to_bools(runs, length)
    return np.packbits(bools, bitorder="little").view(np.uint32)


def bitmask_to_brle(words: npt.NDArray[np.uint32], length: int) -> list[int]:
    """Unpack u32 words into the runs over the first `length` entries; the inverse of `brle_to_bitmask`."""
    bits = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), bitorder="little", count=length)
    return bools_to_brle(bits.astype(np.bool_))
