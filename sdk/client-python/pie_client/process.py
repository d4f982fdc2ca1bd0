"""A process on the server, as its client sees it: events come out, texts and files go in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from pie_client.checking import bytes_of
from pie_client.chunks import content_hash, split
from pie_client.connection import Connection
from pie_client.errors import ProcessFailed
from pie_client.inbox import Inbox
from pie_client.messages import AttachProcess, SignalProcess, TerminateProcess, TransferFile

__all__ = ["Event", "Process", "ProcessInfo"]


class ProcessInfo(msgspec.Struct, frozen=True):
    """A row of the list of processes.

    Attributes:
        id: identifies the process.
        username: who launched it.
        program: name and version.
        input: JSON text.
        elapsed_secs: since its launch.
        port: where it answers HTTP requests, if it is a daemon.
        ended: whether it has ended; then the input is not told.
    """

    id: str
    username: str
    program: str
    input: str
    elapsed_secs: float
    port: int | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something a process said, or how it ended.

    Attributes:
        kind: `return` and `error` come once and are the last.
        value: the bytes of a file, else text; that of `return` is JSON.
    """

    kind: Literal["stdout", "stderr", "message", "file", "return", "error"]
    value: str | bytes

    @property
    def is_last(self) -> bool:
        """Whether the process has ended with it."""
        return self.kind in ("return", "error")


class Process:
    """A process that this session launched or attached to.

    Its events wait here until they are read: whoever lets a process talk should listen.
    """

    def __init__(self, connection: Connection, process_id: str, inbox: Inbox) -> None:
        """Made by the client."""
        self.process_id = process_id
        self._connection = connection
        self._inbox = inbox

    async def recv(self) -> Event:
        """The next event.

        Raises:
            ConnectionLost: there is none left and none will come: the connection or the process has ended.
        """
        kind, value = await self._inbox.get()
        return Event(kind, value)

    async def __aiter__(self) -> AsyncIterator[Event]:
        """All events up to the last one."""
        while True:
            event = await self.recv()
            yield event
            if event.is_last:
                return

    async def result(self) -> Any:
        """What the process returns; other events are passed over.

        Raises:
            ProcessFailed: it ends with an error.
        """
        async for event in self:
            match event:
                case Event("return", value):
                    return json.loads(value)
                case Event("error", str(value)):
                    raise ProcessFailed(value)
        raise RuntimeError("the events ended without a last one")

    async def signal(self, text: str) -> None:
        """Give it a text, which `session.receive` of the program takes."""
        await self._connection.send(SignalProcess(process_id=self.process_id, message=text))

    async def send_file(self, data: bytes) -> None:
        """Give it a file, which `session.receive_file` of the program takes."""
        data = bytes_of("data", data)
        file_hash = content_hash(data)
        for chunk in split(data):
            message = TransferFile(
                process_id=self.process_id,
                file_hash=file_hash,
                chunk_index=chunk.index,
                total_chunks=chunk.total,
                chunk_data=chunk.data,
            )
            await self._connection.send(message)

    async def terminate(self) -> None:
        """End it; its last event is an error.

        Raises:
            Refused: it is not there any more, or somebody else's.
        """
        await self._connection.request(lambda number: TerminateProcess(corr_id=number, process_id=self.process_id))

    async def attach(self) -> None:
        """Ask for its events, for a process that was launched without."""
        await self._connection.request(lambda number: AttachProcess(corr_id=number, process_id=self.process_id))
