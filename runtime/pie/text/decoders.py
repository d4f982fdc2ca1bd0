"""What a model says, read from its tokens: visible text, reasoning, tool calls.

Three decoders of one shape: `feed` takes the next tokens and returns every event they make, in order; `finish` says
that no more will come; `reset` forgets. Feeding token by token gives the same events as feeding all at once, up to how
the text is cut into deltas. Each is a view of the pieces that `turn` makes; the cost of a token does not grow with the
text.

The chat decoder passes on all text but the marks, so text inside `<think>` or `<tool_call>` is part of what it emits,
unless it is told to leave reasoning out. Marks that are control tokens are reported as `Interrupt`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pie.text.calls import MalformedCall, ToolCall, read_calls, read_guess
from pie.text.markers import Markers
from pie.text.pieces import Closed, Ended, Opened, Part, Piece, Text, Token
from pie.text.tokenizer import Tokenizer
from pie.text.turn import TurnReader

__all__ = [
    "ChatDecoder",
    "ChatEvent",
    "Delta",
    "Done",
    "Interrupt",
    "MalformedCall",
    "ReasoningComplete",
    "ReasoningDecoder",
    "ReasoningDelta",
    "ReasoningEvent",
    "ReasoningStart",
    "ToolCall",
    "ToolDecoder",
    "ToolEvent",
    "ToolStart",
]


@dataclass(frozen=True, slots=True)
class Delta:
    """More visible text."""

    text: str


@dataclass(frozen=True, slots=True)
class Interrupt:
    """A control token that does not end the turn."""

    token_id: int


@dataclass(frozen=True, slots=True)
class Done:
    """The turn ended; `text` is all of it, the deltas joined."""

    text: str


ChatEvent = Delta | Interrupt | Done


@dataclass(frozen=True, slots=True)
class ReasoningStart:
    """A block of reasoning begins."""


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningComplete:
    """The block ended; `text` is all of it."""

    text: str


ReasoningEvent = ReasoningStart | ReasoningDelta | ReasoningComplete


@dataclass(frozen=True, slots=True)
class ToolStart:
    """A tool call begins."""


ToolEvent = ToolStart | ToolCall | MalformedCall


class ChatDecoder:
    """Reads visible text up to a stop token.

    Attributes:
        num_reasoning: how many tokens so far were reasoning, marks included.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        markers: Markers,
        *,
        stop_ids: Iterable[int],
        starts_inside: bool = False,
        with_reasoning: bool = True,
    ) -> None:
        """Start at the assistant's turn.

        Args:
            tokenizer: the model's tokenizer; its special tokens are control tokens.
            markers: the model's marks.
            stop_ids: tokens that end the turn.
            starts_inside: the cue already opened a block of reasoning (`ChatTemplate.cue_opens_reasoning`).
            with_reasoning: False leaves reasoning out, and white space between it and the answer.
        """
        self._reader = TurnReader(tokenizer, markers, stop_ids=stop_ids, starts_inside=starts_inside)
        self._with_reasoning = with_reasoning
        self._is_after_reasoning = self._is_reasoning = False
        self._pieces: list[str] = []
        self.num_reasoning = 0

    def feed(self, token_ids: Sequence[int]) -> list[ChatEvent]:
        """Events of the next tokens; neighbouring text is one delta. After `Done` a new turn begins."""
        pieces: list[Piece] = []
        for token_id in token_ids:
            made = self._reader.feed([token_id])
            self.num_reasoning += self._follow_reasoning(made)
            pieces += made
        return self._events(pieces)

    def finish(self) -> list[ChatEvent]:
        """The turn ended without a stop token."""
        pieces = self._reader.finish()
        self._follow_reasoning(pieces)
        return self._events([*pieces, Ended()])

    def reset(self) -> None:
        """Forget the turn."""
        self.finish()

    def _events(self, pieces: Sequence[Piece]) -> list[ChatEvent]:
        events: list[ChatEvent] = []
        text = ""
        for piece in pieces:
            match piece:
                case Text():
                    text += self._visible(piece)
                case Token(token_id=token_id):
                    events += [*_delta(text), Interrupt(token_id)]
                    text = ""
                case Ended():
                    events += [*_delta(text), Done("".join(self._pieces))]
                    text, self._pieces, self._is_after_reasoning = "", [], False
                case Closed(part=Part.REASONING):
                    self._is_after_reasoning = True
        return [*events, *_delta(text)]

    def _follow_reasoning(self, pieces: Sequence[Piece]) -> bool:
        """Whether the token that made these pieces is one of reasoning."""
        is_one = self._is_reasoning
        for piece in pieces:
            if isinstance(piece, Opened | Closed) and piece.part is Part.REASONING:
                self._is_reasoning = isinstance(piece, Opened)
                is_one = True
        return is_one

    def _visible(self, piece: Text) -> str:
        text = piece.text
        if not self._with_reasoning:
            if piece.part is Part.REASONING:
                return ""
            if self._is_after_reasoning and not self._pieces:
                text = text.lstrip()
        if text:
            self._pieces.append(text)
        return text


class ReasoningDecoder:
    """Reads blocks of reasoning and nothing else."""

    def __init__(
        self, tokenizer: Tokenizer, markers: Markers, *, stop_ids: Iterable[int], starts_inside: bool = False
    ) -> None:
        """Start at the assistant's turn.

        Args:
            tokenizer: the model's tokenizer.
            markers: the model's marks; without reasoning marks nothing is ever reasoning.
            stop_ids: tokens that end the turn and with it an open block.
            starts_inside: the cue already opened a block (`ChatTemplate.cue_opens_reasoning`).
        """
        self._reader = TurnReader(tokenizer, markers, stop_ids=stop_ids, starts_inside=starts_inside)
        self._pieces: list[str] = []

    def feed(self, token_ids: Sequence[int]) -> list[ReasoningEvent]:
        """Events of the next tokens; neighbouring text is one delta."""
        return self._events(self._reader.feed(token_ids))

    def finish(self) -> list[ReasoningEvent]:
        """No more tokens will come: an open block is complete."""
        return self._events(self._reader.finish())

    def reset(self) -> None:
        """Forget everything: a new turn begins."""
        self.finish()

    def _events(self, pieces: Sequence[Piece]) -> list[ReasoningEvent]:
        events: list[ReasoningEvent] = []
        text = ""
        for piece in pieces:
            match piece:
                case Opened(part=Part.REASONING):
                    events.append(ReasoningStart())
                case Text(part=Part.REASONING, text=more):
                    text += more
                    self._pieces.append(more)
                case Closed(part=Part.REASONING):
                    events += [*_reasoning_delta(text), ReasoningComplete("".join(self._pieces))]
                    text, self._pieces = "", []
        return [*events, *_reasoning_delta(text)]


class ToolDecoder:
    """Reads tool calls and nothing else."""

    def __init__(
        self, tokenizer: Tokenizer, markers: Markers, *, stop_ids: Iterable[int], starts_inside: bool = False
    ) -> None:
        """Start at the assistant's turn.

        Args:
            tokenizer: the model's tokenizer.
            markers: the model's marks; without tool marks nothing is ever a call.
            stop_ids: tokens that end the turn and with it an open call.
            starts_inside: the cue already opened a block of reasoning (`ChatTemplate.cue_opens_reasoning`).
        """
        self._marks = markers.tools
        self._reader = TurnReader(tokenizer, markers, stop_ids=stop_ids, starts_inside=starts_inside)
        self._call: Opened | None = None
        self._pieces: list[str] = []

    def feed(self, token_ids: Sequence[int]) -> list[ToolEvent]:
        """Events of the next tokens, however many calls they hold."""
        return self._events(self._reader.feed(token_ids))

    def finish(self) -> list[ToolEvent]:
        """No more tokens will come: an open call is read as it stands."""
        return self._events(self._reader.finish())

    def reset(self) -> None:
        """Forget an open call."""
        self.finish()

    def _events(self, pieces: Sequence[Piece]) -> list[ToolEvent]:
        events: list[ToolEvent] = []
        for piece in pieces:
            match piece:
                case Opened(part=Part.CALL):
                    self._call = piece
                    events += [] if piece.is_guess else [ToolStart()]
                case Text(part=Part.CALL, text=text) | Token(text=text):
                    self._pieces.append(text)
                case Closed(part=Part.CALL):
                    events += self._closed()
        return events

    def _closed(self) -> list[ToolEvent]:
        text, call = "".join(self._pieces), self._call
        self._pieces, self._call = [], None
        if self._marks is None or call is None:
            return []
        if call.is_guess:
            guessed = read_guess(text, self._marks)
            return [] if guessed is None else [ToolStart(), guessed]
        return [*read_calls(text, self._marks, name=call.name)]


def _delta(text: str) -> list[Delta]:
    return [Delta(text)] if text else []


def _reasoning_delta(text: str) -> list[ReasoningDelta]:
    return [ReasoningDelta(text)] if text else []
