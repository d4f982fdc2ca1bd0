"""Ends a decode at a stop text: a watch that reads what the tokens say."""

from __future__ import annotations

from collections.abc import Sequence

from pie.text.decoders import ChatDecoder, Delta
from pie.text.stop_texts import StopTexts

__all__ = ["TextStop"]


class TextStop:
    """A `Watch` that ends the decode with the token that completes the first stop text."""

    def __init__(self, decoder: ChatDecoder, texts: Sequence[str]) -> None:
        """Watch the visible text.

        Args:
            decoder: makes it of the tokens; used by this watch alone.
            texts: what ends it.
        """
        self._decoder = decoder
        self._stops = StopTexts(texts)

    def accept(self, token_id: int) -> bool:
        """Take a token; True if the text has a stop text now."""
        for event in self._decoder.feed([token_id]):
            if isinstance(event, Delta):
                self._stops.feed(event.text)
        return self._stops.found
