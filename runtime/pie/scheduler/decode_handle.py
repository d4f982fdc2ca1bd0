"""A running decode, as its asker holds it."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["DecodeHandle"]


class DecodeHandle:
    """A running decode, as its asker holds it."""

    def __init__(self, cancel: Callable[[], None]) -> None:
        """Wrap what ends it."""
        self._cancel = cancel

    def cancel(self) -> None:
        """End the decode; its sink hears no more. Nothing happens if it is over already."""
        self._cancel()
