"""What one process has said and its client has not been sent yet, within bounds.

While a client reads, a process that is ahead of it waits. While nobody reads, the oldest is dropped. Knows no socket.
"""

from __future__ import annotations

import asyncio
import codecs
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pie.errors import ProcessError
from pie.host.mailbox import Event
from pie_client.chunks import Chunk, content_hash, split
from pie_client.messages import EventKind, File, ProcessEvent

__all__ = ["KEPT_BYTES", "KEPT_EVENTS", "MAX_TEXT_BYTES", "Transcript"]

KEPT_EVENTS = 4096
KEPT_BYTES = 16 << 20
AHEAD_EVENTS = 64
AHEAD_BYTES = 256 << 10
MAX_TEXT_BYTES = (1 << 20) - 4096
"""Of one event: clients refuse frames above 1 MiB."""
PIECE_CHARACTERS = 64 << 10

_Item = ProcessEvent | tuple["_File", Chunk]


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    content_hash: str


@dataclass(frozen=True, slots=True)
class _Said:
    """An event or a file, and what it weighs."""

    content: ProcessEvent | _File
    num_bytes: int


class Transcript:
    """The events of a process, in order, with the last one, which stays.

    Attributes:
        num_bytes: of what waits.
        is_over: whether the last event has been said.
    """

    def __init__(self, process_id: str, *, captured: bool) -> None:
        """Start empty. Unless `captured`, what is said while nobody reads is dropped at once."""
        self.num_bytes = 0
        self._process_id = process_id
        self._captured = captured
        self._waiting: deque[_Said] = deque()
        self._chunks: deque[Chunk] = deque()  # of the file that is being sent
        self._last: ProcessEvent | None = None
        self._last_is_sent = False
        self._num_dropped = 0
        self._on_news: Callable[[], None] | None = None
        self._held_up: list[asyncio.Future[None]] = []
        self._heard = asyncio.Event()
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders: dict[EventKind, codecs.IncrementalDecoder] = {
            "stdout": decoder("replace"),
            "stderr": decoder("replace"),
        }

    @property
    def is_over(self) -> bool:
        """Whether the last event has been said."""
        return self._last is not None

    @property
    def is_read(self) -> bool:
        """Whether a client reads it."""
        return self._on_news is not None

    def hear(self, event: Event) -> Awaitable[None] | None:
        """Take what the process says; it waits for what is returned.

        Raises:
            ProcessError: `message-too-large`.
        """
        match event:
            case Event("file", bytes(data)):
                return self._say(_File(data, content_hash(data)), len(data))
            case Event("message", str(text)):
                _check_size(text)
                return self._say(self._event("message", text), len(text))
            case Event("stdout" | "stderr" as kind, bytes(data)):
                return self._print(kind, self._decoders[kind].decode(data))
        raise TypeError(f"a process said {event!r}")

    def note(self, text: str) -> None:
        """Tell the client something about the process that the process does not say itself."""
        self._say(self._event("stderr", f"pie: {text}\n"), len(text))

    def finish(self, kind: EventKind, text: str) -> None:
        """Take the last event."""
        for stream, decoder in self._decoders.items():
            self._print(stream, decoder.decode(b"", final=True))
        self._last = self._event(kind, text)
        self._tell()

    def attach(self, on_news: Callable[[], None]) -> None:
        """A client reads from now on; `on_news` is called when there may be something to send."""
        self._on_news = on_news
        self._last_is_sent = False
        self._heard.clear()
        self._chunks.clear()
        if self._num_dropped:
            text = f"pie: {self._num_dropped} earlier events were dropped, since nobody was attached\n"
            self._waiting.appendleft(_Said(self._event("stderr", text), 0))
            self._num_dropped = 0
        self._tell()

    def detach(self) -> None:
        """Nobody reads any more; the process goes on."""
        self._on_news = None
        self._heard.set()
        self._trim()
        self._let_go()

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        self._chunks.clear()
        self.num_bytes = 0

    def next(self) -> ProcessEvent | File | None:
        """What is to be sent next; the same until it `was_sent`. None if there is nothing."""
        if not self._waiting:
            return None if self._last_is_sent else self._last
        content = self._waiting[0].content
        if isinstance(content, ProcessEvent):
            return content
        if not self._chunks:
            self._chunks.extend(split(content.data))
        chunk = self._chunks[0]
        return File(
            process_id=self._process_id,
            file_hash=content.content_hash,
            chunk_index=chunk.index,
            total_chunks=chunk.total,
            chunk_data=chunk.data,
        )

    def was_sent(self) -> None:
        """What `next` returned has been handed to the client."""
        if not self._waiting:
            self._last_is_sent = True
            self._heard.set()
            return
        if self._chunks:
            self._chunks.popleft()
        if not self._chunks:
            self.num_bytes -= self._waiting.popleft().num_bytes
        if not self._is_ahead():
            self._let_go()

    async def heard(self) -> None:
        """Return when the client that reads has been sent the last event, or has left."""
        await self._heard.wait()

    def _print(self, kind: EventKind, text: str) -> Awaitable[None] | None:
        held_up = None
        for start in range(0, len(text), PIECE_CHARACTERS):
            piece = text[start : start + PIECE_CHARACTERS]
            held_up = self._say(self._event(kind, piece), len(piece))
        return held_up

    def _say(self, content: ProcessEvent | _File, num_bytes: int) -> Awaitable[None] | None:
        if not self._captured and self._on_news is None:
            return None
        self._waiting.append(_Said(content, num_bytes))
        self.num_bytes += num_bytes
        if self._on_news is None:
            self._trim()
            return None
        self._on_news()
        if not self._is_ahead():
            return None
        held_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held_up.append(held_up)
        return held_up

    def _is_ahead(self) -> bool:
        return len(self._waiting) > AHEAD_EVENTS or self.num_bytes > AHEAD_BYTES

    def _trim(self) -> None:
        """Drop the oldest until the rest fits; nothing of a transcript that is not captured is kept."""
        events, num_bytes = (KEPT_EVENTS, KEPT_BYTES) if self._captured else (0, 0)
        while len(self._waiting) > events or self.num_bytes > num_bytes:
            self.num_bytes -= self._waiting.popleft().num_bytes
            self._num_dropped += self._captured

    def _let_go(self) -> None:
        held_up, self._held_up = self._held_up, []
        for waiter in held_up:
            if not waiter.done():  # the process may have ended while it waited
                waiter.set_result(None)

    def _tell(self) -> None:
        if self._on_news is not None:
            self._on_news()

    def _event(self, kind: EventKind, text: str) -> ProcessEvent:
        return ProcessEvent(process_id=self._process_id, event=kind, value=text)


def _check_size(text: str) -> None:
    """Whether an event with this text fits into a frame that clients take."""
    if len(text) * 4 > MAX_TEXT_BYTES and (size := len(text.encode("utf-8", "replace"))) > MAX_TEXT_BYTES:
        raise ProcessError(
            "message-too-large",
            f"a message of {size} bytes was sent, more than {MAX_TEXT_BYTES}",
            remedy="Send it as a file, or in pieces.",
        )
