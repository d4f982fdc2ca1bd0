"""The conversation of one process with its client: what it says goes to a listener, what it is told waits here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

__all__ = ["Event", "Listener", "Mailbox"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something a process said: a `message`, a `file`, or bytes of its `stdout` or `stderr`."""

    kind: Literal["message", "file", "stdout", "stderr"]
    data: str | bytes


Listener = Callable[[Event], Awaitable[None] | None]
"""Hears what a process says. What it may return is done once the event has arrived; the process waits for it."""

T = TypeVar("T", str, bytes)


class Mailbox:
    """Outgoing events go to the listener at once; incoming texts and files queue until the process takes them."""

    def __init__(self, listener: Listener, *, on_receive: Callable[[], None] | None = None) -> None:
        """Make a mailbox whose process speaks to `listener`; `on_receive` is called when it first wants a text."""
        self._listener = listener
        self._on_receive = on_receive
        self._texts: _Queue[str] = _Queue()
        self._files: _Queue[bytes] = _Queue()

    def say(self, event: Event) -> Awaitable[None] | None:
        """Pass an event of the process on to its client; see `Listener` for what is returned."""
        return self._listener(event)

    def deliver(self, text: str) -> None:
        """Give the process a text from its client."""
        self._texts.put(text)

    def deliver_file(self, data: bytes) -> None:
        """Give the process a file from its client."""
        self._files.put(data)

    def receive(self) -> asyncio.Future[str | None]:
        """The next text; None once the mailbox is closed and empty."""
        if self._on_receive is not None:
            on_receive, self._on_receive = self._on_receive, None
            on_receive()
        return self._texts.take()

    def receive_file(self) -> asyncio.Future[bytes | None]:
        """The next file; None once the mailbox is closed and empty."""
        return self._files.take()

    @property
    def num_waiting(self) -> int:
        """Texts and files that the process has not taken."""
        return len(self._texts) + len(self._files)

    @property
    def num_waiting_bytes(self) -> int:
        """Their size: bytes of files, characters of texts."""
        return self._texts.num_bytes + self._files.num_bytes

    def close(self) -> None:
        """Nothing more will come in: what waits gets None."""
        self._texts.close()
        self._files.close()


class _Queue(Generic[T]):
    """First in, first out; a taker that gave up (its future is cancelled) takes nothing."""

    def __init__(self) -> None:
        self.num_bytes = 0
        self._items: deque[T] = deque()
        self._takers: deque[asyncio.Future[T | None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(item)
                return
        self._items.append(item)
        self.num_bytes += len(item)

    def take(self) -> asyncio.Future[T | None]:
        taker: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        if self._items:
            item = self._items.popleft()
            self.num_bytes -= len(item)
            taker.set_result(item)
        elif self._closed:
            taker.set_result(None)
        else:
            self._takers.append(taker)
        return taker

    def close(self) -> None:
        self._closed = True
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
