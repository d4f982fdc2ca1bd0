"""Looking for stop texts in what tokens say, for generations that the program runs step by step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from inferlet import chat
from inferlet.stop_texts import StopTexts

if TYPE_CHECKING:
    from inferlet.model import Model

__all__ = ["TextWatch"]


class TextWatch:
    """Reads the tokens of a generation until what they say has a stop text."""

    def __init__(self, model: Model, stop_texts: Iterable[str], *, reasoning: bool) -> None:
        self._decoder = chat.Decoder(model, reasoning=reasoning)
        self._stops = StopTexts(stop_texts)

    def completes(self, token: int) -> bool:
        """Take the next token; return whether a stop text is there now."""
        event = self._decoder.feed([token])
        while not isinstance(event, chat.Event.Idle):  # a token can make several
            if isinstance(event, chat.Event.Delta):
                self._stops.feed(event.text)
            event = self._decoder.feed([])
        return self._stops.found
