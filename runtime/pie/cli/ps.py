"""`pie ps`: what runs on a server."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pie.cli.connecting import Place, connected, find_place, server_options

if TYPE_CHECKING:
    from pie_client import ProcessInfo

__all__ = ["command"]

SHORT_ID = 8


@click.command("ps", short_help="List your processes on a running server.")
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that have ended, for ten minutes.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@server_options
def command(*, everything: bool, as_json: bool, **options: Any) -> None:
    """List your processes and daemons that run on a server.

    \b
    Examples:
      pie ps
      pie ps --all
      pie ps --json --server ws://127.0.0.1:9000
    """
    from pie.cli.listing import table

    processes = asyncio.run(_processes(find_place(os.environ, **options), ended=everything))
    if as_json:
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(processes), indent=2))
        return
    head: tuple[str, ...] = ("id", "program", "user", "seconds", "port", "input")
    rows = [_row(process) for process in processes]
    if everything:
        head = ("state", *head)
        rows = [("ended" if process.ended else "runs", *row) for process, row in zip(processes, rows, strict=True)]
    table(head, rows, empty="Nothing of yours runs.")


def _row(process: ProcessInfo) -> tuple[str, ...]:
    port = "" if process.port is None else str(process.port)
    return process.id[:SHORT_ID], process.program, process.username, f"{process.elapsed_secs:.0f}", port, process.input


async def _processes(place: Place, *, ended: bool) -> Sequence[ProcessInfo]:
    async with connected(place) as client:
        return await client.list_processes(ended=ended)
