"""Tells the text of a turn from its calls while the turn is written, so that both can go on as they come.

Held back is only what may still become something else: an unfinished character or mark, what may be the beginning of a
call, white space (before a call it belongs to nothing), and what may become a stop text. Left out are reasoning, and
text after the first call, where families write what separates calls. Feeding token by token gives the same as feeding
all at once, up to how text and arguments are cut into deltas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pie.text.markers import Markers
from pie.text.pieces import Closed, Ended, Opened, Part, Piece, Text, Token
from pie.text.said import ArgumentsDelta, CallBegun, CallPiece, CallReader, NoCall, Said, TextDelta
from pie.text.stop_texts import StopTexts
from pie.text.tokenizer import Tokenizer
from pie.text.turn import TurnReader
from pie.text.written_calls import call_reader

__all__ = ["AnswerReader"]


class AnswerReader:
    """Reads turns, one after the other."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        markers: Markers,
        *,
        stop_ids: Iterable[int],
        starts_inside: bool = False,
        stop_texts: Sequence[str] = (),
    ) -> None:
        """Start at the assistant's turn.

        Args:
            tokenizer: the model's tokenizer.
            markers: the model's marks; without tool marks nothing is ever a call.
            stop_ids: tokens that end the turn.
            starts_inside: the cue already opened a block of reasoning (`ChatTemplate.cue_opens_reasoning`).
            stop_texts: the text ends before the first of them, and nothing follows.
        """
        self._marks = markers.tools
        self._reader = TurnReader(tokenizer, markers, stop_ids=stop_ids, starts_inside=starts_inside)
        self._stop_texts = stop_texts
        self._begin()

    def feed(self, token_ids: Sequence[int]) -> list[Said]:
        """What the next tokens say; after a stop token a new turn begins."""
        return self._said(self._reader.feed(token_ids), is_cut=False)

    def finish(self) -> list[Said]:
        """No more tokens will come, and no stop token ended the turn: what was held back, then be as new."""
        return self._said([*self._reader.finish(), Ended()], is_cut=True)

    def _begin(self) -> None:
        self._call: CallReader | None = None
        self._held: list[str] = []  # what may turn out to be no call
        self._stops = StopTexts(self._stop_texts)
        self._space = ""
        self._is_after_reasoning = self._has_text = self._has_called = False

    def _said(self, pieces: Sequence[Piece], *, is_cut: bool) -> list[Said]:
        said: list[Said] = []
        for piece in pieces:
            for one in self._read(piece, is_cut=is_cut):
                _add(said, one)
        return said

    def _read(self, piece: Piece, *, is_cut: bool) -> list[Said]:
        match piece:
            case Ended():
                rest = self._stops.feed(self._space) + self._stops.finish()
                self._begin()
                return [TextDelta(rest)] if rest else []
            case _ if self._stops.found:
                return []
            case Opened(part=Part.CALL) if self._marks is not None:
                self._call = call_reader(self._marks, piece)
            case Text(part=Part.CALL, text=text) if self._call is not None:
                self._held += [] if self._has_called else [text]
                return self._called(self._call.feed(text))
            case Token(text=text) if self._call is not None and text:
                return self._called(self._call.feed(text))
            case Closed(part=Part.CALL) if self._call is not None:
                call, self._call = self._call, None
                return self._called(call.close(is_cut=is_cut))
            case Text(part=Part.ANSWER, text=text):
                return self._text(text)
            case Closed(part=Part.REASONING):
                self._is_after_reasoning = True
        return []

    def _text(self, text: str) -> list[Said]:
        if self._has_called:
            return []
        if self._is_after_reasoning and not self._has_text:
            text = text.lstrip()
        self._has_text = self._has_text or bool(text)
        text = self._space + text
        shown = text.rstrip()
        self._space = text[len(shown) :]
        shown = self._stops.feed(shown)
        return [TextDelta(shown)] if shown else []

    def _called(self, pieces: Sequence[CallPiece]) -> list[Said]:
        said: list[Said] = []
        for piece in pieces:
            match piece:
                case NoCall():
                    said += self._text("".join(self._held))
                    self._held = []
                case CallBegun():
                    self._space, self._has_called, self._held = "", True, []
                    before = self._stops.finish()
                    said += [*([TextDelta(before)] if before else []), piece]
                case _:
                    said.append(piece)
        return said


def _add(said: list[Said], one: Said) -> None:
    """Neighbouring text is one delta, and so are neighbouring arguments."""
    last = said[-1] if said else None
    if isinstance(one, TextDelta) and isinstance(last, TextDelta):
        said[-1] = TextDelta(last.text + one.text)
    elif isinstance(one, ArgumentsDelta) and isinstance(last, ArgumentsDelta):
        said[-1] = ArgumentsDelta(last.text + one.text)
    else:
        said.append(one)
