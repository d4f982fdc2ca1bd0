"""Where a text must end because one of several strings stands in it. The server does the same by itself."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["StopTexts"]


class StopTexts:
    """Passes a text on up to the first stop text that is complete; of several with the same end the longest counts."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.found = False
        self._texts = tuple(texts)
        self._held = ""

    def feed(self, piece: str) -> str:
        """Take the next piece; return what can be shown, without what may still become a stop text."""
        if self.found:
            return ""
        text = self._held + piece
        ends = [(text.find(one) + len(one), text.find(one)) for one in self._texts if one in text]
        if ends:
            self.found, self._held = True, ""
            return text[: min(ends)[1]]
        num_held = max((_overlap(text, one) for one in self._texts), default=0)
        shown, self._held = text[: len(text) - num_held], text[len(text) - num_held :]
        return shown

    def finish(self) -> str:
        """Return what was held back, as no more will come."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, wanted: str) -> int:
    """How many last characters of `text` may be the beginning of `wanted`."""
    for length in range(min(len(text), len(wanted) - 1), 0, -1):
        if text.endswith(wanted[:length]):
            return length
    return 0
