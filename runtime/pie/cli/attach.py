"""`pie attach`: listen to a process of a running server, and talk to it."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import click

from pie.cli.completing import running_processes
from pie.cli.connecting import Place, connected, find_place, find_process, server_options
from pie.cli.interrupt import Interrupt
from pie.cli.printer import Printer
from pie.cli.showing import show
from pie.cli.terminal import Progress

__all__ = ["command"]


@click.command("attach", short_help="Listen to a process, and talk to it.")
@click.argument("process_id", metavar="ID", shell_complete=running_processes)
@click.option("--json", "as_json", is_flag=True, help="Print every event as one line of JSON.")
@server_options
@click.pass_obj
def command(debug: bool, /, *, process_id: str, as_json: bool, **options: Any) -> int:  # noqa: FBT001 (click's call)
    """Show what the process ID says, first what nobody has heard yet; each line of stdin is a text for it.

    ID may be shortened as far as it is unique. Ctrl-C leaves the process alone, which goes on. One client listens to a
    process at a time.

    \b
    Examples:
      pie attach 3f2a
      pie attach 3f2a --json
    """
    place = find_place(os.environ, **options)

    async def work(printer: Printer, _progress: Progress, interrupt: Interrupt) -> None:
        await _attach(place, process_id, printer, interrupt)

    return asyncio.run(show(work, as_json=as_json, debug=debug))


async def _attach(place: Place, word: str, printer: Printer, interrupt: Interrupt) -> None:
    from pie.cli.following import follow

    async with connected(place) as client:
        process = await client.attach_process(await find_process(client, word))
        try:
            await follow(process, printer)
        except asyncio.CancelledError:
            if interrupt.code is not None:
                click.echo(f"Detached. It goes on: pie attach {process.process_id}", err=True)
            raise
