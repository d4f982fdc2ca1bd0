"""What a turn says, while it is written: text of the answer, and calls of tools piece by piece.

The words that `answers` and the readers of calls share. It does not know how any family writes calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["ArgumentsDelta", "CallBegun", "CallEnded", "CallPiece", "CallReader", "NoCall", "Said", "TextDelta"]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A call of the tool with this name begins."""

    name: str


@dataclass(frozen=True, slots=True)
class ArgumentsDelta:
    """More of the arguments of the call, JSON as the model writes it."""

    text: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The arguments of the call are whole; a call that is cut has no end."""


@dataclass(frozen=True, slots=True)
class NoCall:
    """All that stood in the place of a call so far is none, so it is text of the answer."""


Said = TextDelta | CallBegun | ArgumentsDelta | CallEnded
CallPiece = CallBegun | ArgumentsDelta | CallEnded | NoCall


class CallReader(Protocol):
    """Reads what stands in the place of a call, or of a list of calls.

    A call begins with the first brace of its arguments. Until then it may still turn out to be none.
    """

    def feed(self, text: str) -> list[CallPiece]:
        """What the next text makes."""
        ...

    def close(self, *, is_cut: bool) -> list[CallPiece]:
        """It is over, because the model ended it or, `is_cut`, because no more is written."""
        ...
