"""Ends a decode at a stop text: a constraint that allows every token and reads what the tokens say."""

from __future__ import annotations

from collections.abc import Sequence

from pie.forward import Constraint, LogitMask
from pie.text.decoders import ChatDecoder, Delta
from pie.text.stop_texts import StopTexts

__all__ = ["TextStop"]


class TextStop:
    """A `Constraint` after whose first stop text nothing may follow; another one may restrict the tokens meanwhile."""

    def __init__(self, decoder: ChatDecoder, texts: Sequence[str], inner: Constraint | None) -> None:
        """Watch the visible text.

        Args:
            decoder: makes it of the tokens; used by this constraint alone.
            texts: what ends it.
            inner: what else restricts the tokens.
        """
        self._decoder = decoder
        self._stops = StopTexts(texts)
        self._inner = inner

    def mask(self) -> LogitMask | None:
        """The tokens that the inner constraint allows."""
        return None if self._inner is None else self._inner.mask()

    def accept(self, token_id: int) -> bool:
        """Take a token; True if the text has a stop text now, or nothing may follow for the inner constraint."""
        is_complete = self._inner is not None and self._inner.accept(token_id)
        for event in self._decoder.feed([token_id]):
            if isinstance(event, Delta):
                self._stops.feed(event.text)
        return is_complete or self._stops.found

    def masks_ahead(self, token_ids: Sequence[int]) -> list[LogitMask | None]:
        """None: which guess would complete a stop text is known only once it is read."""
        return []
