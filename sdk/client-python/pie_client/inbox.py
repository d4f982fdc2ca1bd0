"""What the server has sent of each process and nobody has read yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pie_client.chunks import Assembly, BadTransfer, Chunk
from pie_client.errors import ClientError, ConnectionLost
from pie_client.messages import File, ProcessEvent

__all__ = ["Inbox", "Inboxes"]

MAX_FILE_BYTES = 1 << 30
MAX_EARLY = 256
Kind = Literal["stdout", "stderr", "message", "file", "return", "error"]


class Inbox:
    """Events of one process, in order."""

    def __init__(self) -> None:
        """Start empty."""
        self._events: deque[tuple[Kind, str | bytes]] = deque()
        self._files: dict[str, Assembly] = {}
        self._changed = asyncio.Event()
        self._end: ClientError | None = None

    def put(self, message: ProcessEvent | File) -> None:
        """Take in what came; a file becomes an event with its last chunk."""
        if isinstance(message, ProcessEvent):
            self._events.append((message.event, message.value))
            if message.event in ("return", "error"):
                self.end(ConnectionLost("process-ended", f"process {message.process_id} has ended"))
        elif (data := self._add(message)) is not None:
            self._events.append(("file", data))
        self._changed.set()

    def end(self, error: ClientError) -> None:
        """Nothing more will come, for this reason."""
        self._end = self._end or error
        self._changed.set()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self._end is not None

    async def get(self) -> tuple[Kind, str | bytes]:
        """The next event; raises the reason once nothing is left and nothing will come."""
        while not self._events:
            if self._end is not None:
                raise self._end
            self._changed.clear()
            await self._changed.wait()
        return self._events.popleft()

    def _add(self, message: File) -> bytes | None:
        name, total = message.file_hash, message.total_chunks
        assembly = self._files.setdefault(name, Assembly(name, total, max_bytes=MAX_FILE_BYTES))
        try:
            data = assembly.add(Chunk(message.chunk_index, total, message.chunk_data))
        except BadTransfer as error:
            del self._files[name]
            self.end(error)
            return None
        if data is not None:
            del self._files[name]
        return data


class Inboxes:
    """The inboxes of a connection by process; one is there from the first message, asked for or not."""

    def __init__(self) -> None:
        """Start with none."""
        self._inboxes: dict[str, Inbox] = {}
        self._early: deque[str] = deque()
        self._end: ClientError | None = None

    @property
    def num_kept(self) -> int:
        """Inboxes that wait for more, or for whoever knows their process."""
        return len(self._inboxes)

    def open(self, process_id: str) -> Inbox:
        """The inbox of a process that the client knows; what came before it knew is in it."""
        inbox = self._inboxes.get(process_id)
        if inbox is not None and process_id in self._early:
            self._early.remove(process_id)
            if inbox.is_over:
                del self._inboxes[process_id]  # its process holds it
            return inbox
        if inbox is None or inbox.is_over:
            inbox = self._inboxes[process_id] = Inbox()
            if self._end is not None:
                inbox.end(self._end)
        return inbox

    @contextmanager
    def opening(self, process_id: str) -> Iterator[Inbox]:
        """The inbox of a process while it is asked for its events, which may come at once with the answer.

        It is given up if that fails.
        """
        known = self._inboxes.get(process_id)
        inbox = self.open(process_id)
        try:
            yield inbox
        except BaseException:
            if inbox is not known and self._inboxes.get(process_id) is inbox:
                del self._inboxes[process_id]
            raise

    def put(self, message: ProcessEvent | File) -> None:
        """Take in what came of a process; of those that nobody has asked for, a few are kept."""
        process_id = message.process_id
        inbox = self._inboxes.get(process_id)
        if inbox is None:
            if len(self._early) == MAX_EARLY:
                del self._inboxes[self._early.popleft()]
            self._early.append(process_id)
            inbox = self._inboxes[process_id] = Inbox()
        inbox.put(message)
        if inbox.is_over and process_id not in self._early:
            del self._inboxes[process_id]  # its process holds it

    def end(self, error: ClientError) -> None:
        """The connection has ended, for this reason."""
        self._end = error
        for inbox in self._inboxes.values():
            inbox.end(error)
