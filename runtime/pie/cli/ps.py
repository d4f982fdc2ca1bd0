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
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@server_options
def command(*, as_json: bool, **options: Any) -> None:
    """List your processes and daemons that run on a server.

    \b
    Examples:
      pie ps
      pie ps --json --server ws://127.0.0.1:9000
    """
    from pie.cli.listing import table

    processes = asyncio.run(_processes(find_place(os.environ, **options)))
    if as_json:
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(processes), indent=2))
        return
    table(
        ("id", "program", "user", "seconds", "port", "input"),
        [
            (
                row.id[:SHORT_ID],
                row.program,
                row.username,
                f"{row.elapsed_secs:.0f}",
                "" if row.port is None else str(row.port),
                row.input,
            )
            for row in processes
        ],
        empty="Nothing of yours runs.",
    )


async def _processes(place: Place) -> Sequence[ProcessInfo]:
    async with connected(place) as client:
        return await client.list_processes()
