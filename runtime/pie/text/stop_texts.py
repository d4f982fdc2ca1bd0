"""Where a text must end because one of several strings stands in it: shows what is before it and holds back the rest.

It knows strings alone, neither tokens nor what makes the text.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["StopTexts"]


class StopTexts:
    """Passes a text on up to the first stop text that is complete, however the text is cut into pieces.

    Of several that are complete with the same character the longest counts, so that nothing of it is shown.

    Attributes:
        found: one of them stands in the text; nothing more is passed on.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """Look for these, none of which is empty."""
        self.found = False
        self._texts = tuple(texts)
        self._held = ""

    def feed(self, piece: str) -> str:
        """Take the next piece; returns what can be shown now."""
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
        """No more will come; returns what was held back for a stop text that did not."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, wanted: str) -> int:
    """How many last characters of `text` may be the beginning of `wanted`."""
    for length in range(min(len(text), len(wanted) - 1), 0, -1):
        if text.endswith(wanted[:length]):
            return length
    return 0
