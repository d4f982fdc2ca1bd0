"""What is done with a process of a running server while a command listens: events are shown, lines of stdin sent."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pie.cli.printer import Printer
from pie.cli.stdin import read_stdin
from pie.errors import ProcessError

if TYPE_CHECKING:
    from pie_client import Process

__all__ = ["failure_of", "follow"]

ENDED_BY_CLIENT = "Signal"
"""What the server tells of a process that a client has ended."""


@dataclass(frozen=True, slots=True)
class _Said:
    kind: str
    data: str | bytes


async def follow(process: Process, printer: Printer) -> None:
    """Show what a process says until it has ended.

    Raises:
        ProcessError: it failed, with its code; `terminated` if a client has ended it.
        ClientError: the connection has ended.
    """
    lines: asyncio.Queue[str] = asyncio.Queue()
    read_stdin(lines.put_nowait)
    sending = asyncio.get_running_loop().create_task(_send(process, lines), name="send lines")
    try:
        await _show(process, printer)
    finally:
        sending.cancel()
        await asyncio.wait([sending])


async def _show(process: Process, printer: Printer) -> None:
    async for event in process:
        value = event.value
        match event.kind, value:
            case "return", str():
                printer.result(value)
            case "error", str():
                raise failure_of(value)
            case "stdout" | "stderr" as kind, str():
                await _shown(printer.event(_Said(kind, value.encode())))
            case kind, _:
                await _shown(printer.event(_Said(kind, value)))


async def _shown(caught_up: asyncio.Future[None] | None) -> None:
    """Read no further before the reader of our output has caught up."""
    if caught_up is not None:
        await caught_up


async def _send(process: Process, lines: asyncio.Queue[str]) -> None:
    from pie_client import ConnectionLost

    with suppress(ConnectionLost):  # whoever reads the events is told
        while True:
            await process.signal(await lines.get())


def failure_of(text: str) -> ProcessError:
    """The error in the last event of a process that failed."""
    from pie_client import ProcessFailed

    if text == ENDED_BY_CLIENT:
        return ProcessError("terminated", "the process was ended", remedy="Launch it again if that was not meant.")
    error = ProcessFailed(text)
    return ProcessError(error.code, error.cause)
