"""What a process has said and its client has heard, kept for whoever asks later: within bounds, by position."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from pie_client.logs import LogKind, LogPage, LogPiece

__all__ = ["HEARD_CHARACTERS", "HEARD_EVENTS", "PAGE_CHARACTERS", "Heard", "HeardRoom", "Said", "page_of"]

HEARD_EVENTS = 4096
HEARD_CHARACTERS = 1 << 20
PAGE_CHARACTERS = 64 << 10
"""Of one page: even if JSON makes six bytes of each, it fits into a frame that clients take."""
PAGE_PIECES = 2048
ENDED_CHARACTERS = 64 << 20


@dataclass(frozen=True, slots=True)
class Said:
    """An event as it is told later: of a file there is only its size."""

    kind: LogKind
    value: str


class Heard:
    """The newest of what has been heard."""

    def __init__(self) -> None:
        """Start empty."""
        self.events: deque[Said] = deque()
        self.num_characters = 0
        self._remembers = True

    def add(self, said: Said) -> None:
        """Remember an event, and forget the oldest where that is too much."""
        self.events.append(said)
        self.num_characters += len(said.value)
        events, characters = (HEARD_EVENTS, HEARD_CHARACTERS) if self._remembers else (0, 0)
        while len(self.events) > events or self.num_characters > characters:
            self.num_characters -= len(self.events.popleft().value)

    def forget(self) -> None:
        """Remember nothing, now and later."""
        self.events.clear()
        self.num_characters = 0
        self._remembers = False


class Remembering(Protocol):
    """What has said something, and may be asked to forget it."""

    @property
    def num_remembered(self) -> int:
        """An upper bound of the characters that it will remember."""
        ...

    def forget(self) -> None:
        """Remember nothing that has been heard."""
        ...


class HeardRoom:
    """Memory for what ended processes have said: the oldest forget first."""

    def __init__(self, max_characters: int = ENDED_CHARACTERS) -> None:
        """Start empty."""
        self.num_characters = 0
        self._max_characters = max_characters
        self._remembering: dict[str, tuple[Remembering, int]] = {}

    def add(self, process_id: str, transcript: Remembering) -> None:
        """A process has ended."""
        self._remembering[process_id] = transcript, transcript.num_remembered
        self.num_characters += transcript.num_remembered
        while self.num_characters > self._max_characters:
            self.discard(next(iter(self._remembering)))

    def discard(self, process_id: str) -> None:
        """Let a process forget what it said, if it has not yet."""
        if process_id in self._remembering:
            transcript, num_characters = self._remembering.pop(process_id)
            self.num_characters -= num_characters
            transcript.forget()


def page_of(said: Iterable[Said], *, first: int, end: int, position: int, offset: int) -> LogPage:
    """The pieces from a position on that fit into one page.

    Args:
        said: all that is kept.
        first: the position of the first of them.
        end: the position after the last of them.
        position: of the first event that is wanted.
        offset: characters of it that are known.
    """
    start = min(max(position, first), end)
    offset = offset if start == position else 0
    pieces: list[LogPiece] = []
    room, at = PAGE_CHARACTERS, start
    for one in islice(said, start - first, start - first + PAGE_PIECES):
        value = one.value[offset : offset + room]
        room -= len(value)
        more = offset + len(value) < len(one.value)
        pieces.append(LogPiece(event=one.kind, value=value, more=more))
        if more:
            offset += len(value)
            break
        at, offset = at + 1, 0
        if not room:
            break
    else:
        offset = 0
    dropped = max(0, min(start, first) - position)
    return LogPage(pieces=pieces, position=at, offset=offset, dropped=dropped, end=end, is_over=False)
