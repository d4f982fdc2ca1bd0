"""What one process has said: what its client has not been sent yet, and something of what it has, within bounds.

While a client reads, a process that is ahead of it waits. While nobody reads, the oldest is dropped. Whoever asks for a
page of it takes nothing away. Knows no socket.
"""

from __future__ import annotations

import asyncio
import codecs
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import chain

import msgspec

from pie.errors import ProcessError
from pie.host.mailbox import Event
from pie.server.history import HEARD_CHARACTERS, Heard, Said, page_of
from pie_client.chunks import Chunk, content_hash, split
from pie_client.logs import LogPage
from pie_client.messages import EventKind, File, ProcessEvent

__all__ = ["KEPT_BYTES", "KEPT_EVENTS", "MAX_TEXT_BYTES", "Offer", "Transcript"]

KEPT_EVENTS = 4096
KEPT_BYTES = 16 << 20
AHEAD_EVENTS = 64
AHEAD_BYTES = 256 << 10
MAX_TEXT_BYTES = (1 << 20) - 4096
"""Of one event: clients refuse frames above 1 MiB."""
PIECE_CHARACTERS = 64 << 10


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    content_hash: str


@dataclass(frozen=True, slots=True)
class _Said:
    """An event or a file, and what it weighs."""

    content: ProcessEvent | _File
    num_bytes: int

    def told(self) -> Said:
        """As it is told later."""
        if isinstance(self.content, ProcessEvent):
            return Said(self.content.event, self.content.value)
        return Said("file", str(self.num_bytes))


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """What is to be sent next, and what it stands for: while it is being sent, another client may come and read."""

    message: ProcessEvent | File
    what: object


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
        self._chunks: deque[Chunk] = deque()  # of the file that is the oldest
        self._last: ProcessEvent | None = None
        self._num_dropped = 0
        # Each stands for what the client that reads now is owed, not for what another one was; None if that was sent.
        self._owed_last: object | None = object()
        self._owed_note: object | None = None
        self._num_said = 0
        self._heard_events = Heard()
        self._curious: list[asyncio.Future[None]] = []
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
        self._wake()
        self._tell()

    def attach(self, on_news: Callable[[], None]) -> None:
        """A client reads from now on; `on_news` is called when there may be something to send."""
        self._on_news = on_news
        self._owed_last = object()
        self._owed_note = object() if self._num_dropped else None
        self._heard.clear()
        self._chunks.clear()
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
        self.forget()

    def forget(self) -> None:
        """Remember nothing of what has been heard."""
        self._heard_events.forget()

    @property
    def num_remembered(self) -> int:
        """Characters that are remembered when all has been heard, at most."""
        return min(self._heard_events.num_characters + self.num_bytes, HEARD_CHARACTERS)

    def page(self, position: int, offset: int) -> LogPage:
        """What has been said from a position on, as far as it fits into a page; see `LogQuery`."""
        heard = self._heard_events.events
        last = [] if self._last is None else [Said(self._last.event, self._last.value)]
        first, end = self._num_said - len(self._waiting) - len(heard), self._num_said + len(last)
        said = chain(heard, map(_Said.told, self._waiting), last)
        page = page_of(said, first=first, end=end, position=position, offset=offset)
        return msgspec.structs.replace(page, is_over=self.is_over)

    async def said_more(self, position: int) -> None:
        """Return when there is something at a position, or nothing more will come."""
        while position >= self._num_said and not self.is_over:
            news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._curious.append(news)
            try:
                await news
            finally:
                if news in self._curious:
                    self._curious.remove(news)

    def next(self) -> Offer | None:
        """What is to be sent next; the same until it `was_sent`. None if there is nothing."""
        if self._owed_note is not None:
            text = f"pie: {self._num_dropped} earlier events were dropped, since nobody was attached\n"
            return Offer(self._event("stderr", text), self._owed_note)
        if not self._waiting:
            return None if self._last is None or self._owed_last is None else Offer(self._last, self._owed_last)
        said = self._waiting[0]
        if isinstance(said.content, ProcessEvent):
            return Offer(said.content, said)
        if not self._chunks:
            self._chunks.extend(split(said.content.data))
        return Offer(self._piece(said.content, self._chunks[0]), self._chunks[0])

    def was_sent(self, offer: Offer) -> None:
        """What was offered has been handed to a client; nothing happens if another one reads, and is owed it again."""
        if offer.what is self._owed_note:
            self._owed_note, self._num_dropped = None, 0
        elif offer.what is self._owed_last:
            self._owed_last = None
            self._heard.set()
        elif self._chunks and offer.what is self._chunks[0]:
            self._chunks.popleft()
            if not self._chunks:
                self._pass_on()
        elif self._waiting and offer.what is self._waiting[0]:
            self._pass_on()
        if not self._is_ahead():
            self._let_go()

    async def heard(self) -> None:
        """Return when the client that reads has been sent the last event, or has left."""
        await self._heard.wait()

    def _piece(self, file: _File, chunk: Chunk) -> File:
        return File(
            process_id=self._process_id,
            file_hash=file.content_hash,
            chunk_index=chunk.index,
            total_chunks=chunk.total,
            chunk_data=chunk.data,
        )

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
        self._num_said += 1
        self._wake()
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
            self._pass_on()
            self._num_dropped += self._captured

    def _pass_on(self) -> None:
        """The oldest does not wait any more."""
        said = self._waiting.popleft()
        self._chunks.clear()
        self.num_bytes -= said.num_bytes
        self._heard_events.add(said.told())

    def _let_go(self) -> None:
        held_up, self._held_up = self._held_up, []
        for waiter in held_up:
            if not waiter.done():  # the process may have ended while it waited
                waiter.set_result(None)

    def _tell(self) -> None:
        if self._on_news is not None:
            self._on_news()

    def _wake(self) -> None:
        curious, self._curious = self._curious, []
        for news in curious:
            if not news.done():
                news.set_result(None)

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
