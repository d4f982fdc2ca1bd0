"""What is to be sent to one client: answers first, then of each process that has something to say one frame in turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from pie.server.transcript import Transcript
from pie_client.messages import File, ServerMessage, encode

__all__ = ["Outbox"]

MAX_ANSWERS = 1000
SETTLING_S = 0.05
"""How long files of a process wait after the answer: the client of Pie 0.4 drops those that come together with it."""


class Outbox:
    """The outgoing side of a connection. Answers are bounded by whoever reads requests, see `room`."""

    def __init__(self) -> None:
        """Start empty."""
        self._answers: deque[ServerMessage] = deque()
        self._speaking: dict[Transcript, None] = {}  # in their order
        self._settling: set[Transcript] = set()
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def send(self, message: ServerMessage) -> None:
        """Send a message before all events."""
        self._answers.append(message)
        if len(self._answers) >= MAX_ANSWERS:
            self._has_room.clear()
        self._changed.set()

    def attach(self, transcript: Transcript) -> None:
        """Send the events of a process from now on."""
        self._settling.add(transcript)
        asyncio.get_running_loop().call_later(SETTLING_S, self._settled, transcript)
        transcript.attach(lambda: self._has_news(transcript))

    def detach(self, transcript: Transcript) -> None:
        """Send no more events of a process, which were attached; what has not been sent waits for the next reader."""
        self._settling.discard(transcript)
        self._speaking.pop(transcript, None)
        transcript.detach()

    async def room(self) -> None:
        """Return when the client has taken enough to be answered more."""
        await self._has_room.wait()

    async def next(self) -> tuple[bytes, Callable[[], None] | None]:
        """The next frame, and what must be called when it was sent."""
        while True:
            if self._answers:
                frame = encode(self._answers.popleft())
                if len(self._answers) < MAX_ANSWERS:
                    self._has_room.set()
                return frame, None
            while self._speaking:
                transcript = next(iter(self._speaking))
                del self._speaking[transcript]
                offer = transcript.next()
                if offer is not None and not (isinstance(offer.message, File) and transcript in self._settling):
                    self._speaking[transcript] = None
                    return encode(offer.message), partial(transcript.was_sent, offer)
            self._changed.clear()
            await self._changed.wait()

    def _settled(self, transcript: Transcript) -> None:
        if transcript in self._settling:
            self._settling.discard(transcript)
            self._has_news(transcript)

    def _has_news(self, transcript: Transcript) -> None:
        self._speaking.setdefault(transcript)
        self._changed.set()
