"""`pie logs`: what a process of a running server has said, without taking it from whoever attaches."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pie.cli.completing import known_processes
from pie.cli.connecting import connected, find_place, find_process, server_options
from pie.cli.interrupt import Interrupt
from pie.cli.printer import Printer
from pie.cli.showing import show
from pie.cli.terminal import Progress

if TYPE_CHECKING:
    from pie_client import LogEvent

__all__ = ["command"]


@dataclass(frozen=True, slots=True)
class _Told:
    kind: str
    data: str | bytes


@click.command("logs", short_help="Show what a process has said.")
@click.argument("process_id", metavar="ID", shell_complete=known_processes)
@click.option("-f", "--follow", is_flag=True, help="Go on until the process ends.")
@click.option("--json", "as_json", is_flag=True, help="Print every event as one line of JSON.")
@server_options
@click.pass_obj
def command(debug: bool, /, *, process_id: str, follow: bool, as_json: bool, **options: Any) -> int:  # noqa: FBT001 (click's call)
    """Show what the process ID has said, its newest part if that is much, and how it ended if it has.

    Others may listen to it meanwhile: whoever attaches later still hears what nobody has heard. ID may be shortened as
    far as it is unique. The exit code is 0 also if the process failed.

    \b
    Examples:
      pie logs 3f2a
      pie logs -f 3f2a
      pie logs 3f2a --json | head
    """
    place = find_place(os.environ, **options)

    async def work(printer: Printer, _progress: Progress, _interrupt: Interrupt) -> None:
        async with connected(place) as client:
            whole = await find_process(client, process_id, ended=True)
            async for event in client.logs(whole, follow=follow):
                await _tell(event, printer, as_json=as_json)

    return asyncio.run(show(work, as_json=as_json, debug=debug))


async def _tell(event: LogEvent, printer: Printer, *, as_json: bool) -> None:
    if event.kind == "return":
        printer.result(event.value)
        return
    if event.kind == "error":
        from pie.cli.following import failure_of

        error = failure_of(event.value)
        printer.error(error)
        told = _Told("stderr", f"error[{error.code}]: {error.cause}\n".encode())
    else:
        told = _Told(event.kind, event.value) if as_json else _for_people(event)
    if event.kind != "error" or not as_json:
        caught_up = printer.event(told)
        if caught_up is not None:
            await caught_up


def _for_people(event: LogEvent) -> _Told:
    match event.kind:
        case "file":
            return _Told("message", f"[file of {event.value} bytes]")
        case "dropped":
            return _Told("stderr", f"pie: {event.value} earlier events are not kept any more\n".encode())
        case "message":
            return _Told("message", event.value)
    return _Told(event.kind, event.value.encode())
