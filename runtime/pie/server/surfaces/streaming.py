"""An answer as events, while its program runs: what it says, then what its answer has beyond that."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from pie.errors import PieError
from pie.server.surfaces.running import Run, Said
from pie.server.surfaces.sender import Sender
from pie.server.surfaces.vocabulary import (
    Answer,
    CallPiece,
    TokenLogprobs,
    Took,
    ToolCall,
    bad_answer,
    read_answer,
    read_told,
)

__all__ = ["Words", "stream", "stream_end"]


class Words(Protocol):
    """The events of an answer that is streamed; one with a `type` is named by it.

    Attributes:
        marks_end: whether `[DONE]` follows a whole answer.
    """

    marks_end: bool

    def hear(self, told: Sequence[TokenLogprobs]) -> None:
        """Take how likely the next tokens of the one choice were, of which pieces may come then."""
        ...

    def piece(self, text: str) -> Iterable[dict[str, Any]]:
        """The events of more text of the one choice."""
        ...

    def call(self, piece: CallPiece) -> Iterable[dict[str, Any]]:
        """The events of more of its calls, which come after all text."""
        ...

    def end(self, answer: Answer, took: Took) -> Iterable[dict[str, Any]]:
        """The last events, after all text and all calls."""
        ...

    def failed(self, error: PieError) -> dict[str, Any]:
        """The last event of a stream that cannot go on."""
        ...


class Sent:
    """How much of an answer was sent already."""

    def __init__(self) -> None:
        """Nothing was."""
        self.num_logprobs = 0
        self._num_characters = 0
        self._num_arguments: list[int] = []

    def text(self, text: str) -> None:
        """Count text that is sent now.

        Raises:
            ProcessError: `bad-answer`.
        """
        if text and self._num_arguments:
            raise bad_answer("text after a call")
        self._num_characters += len(text)

    def call(self, piece: CallPiece) -> None:
        """Count a piece of a call that is sent now.

        Raises:
            ProcessError: `bad-answer`.
        """
        if piece.name is not None:
            self._num_arguments.append(0)
        if not self._num_arguments:
            raise bad_answer("arguments before the name of a tool")
        self._num_arguments[-1] += len(piece.arguments)

    def rest_of(self, text: str) -> str:
        """What is beyond the text that was sent."""
        return text[self._num_characters :]

    def rest_of_calls(self, calls: Sequence[ToolCall]) -> Iterable[CallPiece]:
        """What is beyond the pieces that were sent."""
        sent = [*self._num_arguments]
        for index, call in enumerate(calls):
            if index >= len(sent):
                yield CallPiece(call.name, call.arguments)
            elif rest := call.arguments[sent[index] :]:
                if index + 1 < len(sent):
                    raise bad_answer("more arguments of a call after the next one")
                yield CallPiece(arguments=rest)


async def stream(words: Words, run: Run, sender: Sender, ping_s: float | None) -> Answer:
    """Send what the program says, then the rest of its text and calls; before there is something, only pings.

    Returns:
        The whole answer, for `stream_end`.

    Raises:
        PieError: why the program ended, or `bad-answer`.
    """
    sent = Sent()
    while (said := await _next(run, sender, ping_s)) is not None:
        await _send(words, said, sent, sender)
    answer = read_answer(await run.value(), num_choices=1)
    choice = answer.choices[0]
    words.hear(choice.logprobs[sent.num_logprobs :])
    rest = sent.rest_of(choice.text)
    sent.text(rest)
    await _events(words.piece(rest) if rest else (), sender)
    for piece in sent.rest_of_calls(choice.tool_calls):
        await _events(words.call(piece), sender)
    return answer


async def stream_end(words: Words, answer: Answer, took: Took, sender: Sender) -> None:
    """Send what ends a stream."""
    await _events(words.end(answer, took), sender)
    if words.marks_end:
        await sender.done()
    await sender.end()


async def _send(words: Words, said: Said, sent: Sent, sender: Sender) -> None:
    told = [read_told(message) for message in said.messages]
    for logprobs in [one.logprobs for one in told if one.logprobs]:
        sent.num_logprobs += len(logprobs)
        words.hear(logprobs)
    sent.text(said.text)
    await _events(words.piece(said.text) if said.text else (), sender)
    for piece in [piece for one in told for piece in one.tool_calls or []]:
        sent.call(piece)
        await _events(words.call(piece), sender)


async def _events(events: Iterable[dict[str, Any]], sender: Sender) -> None:
    for event in events:
        await sender.event(event)


async def _next(run: Run, sender: Sender, ping_s: float | None) -> Said | None:
    """More that it says, with pings for as long as there is nothing."""
    while True:
        try:
            async with asyncio.timeout(ping_s):
                return await run.more()
        except TimeoutError:
            await sender.ping()
