"""`pie stop`: end processes of a running server."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from typing import Any

import click

from pie.cli.completing import endable_processes
from pie.cli.connecting import Place, connected, find_place, find_process, server_options

__all__ = ["command"]


@click.command("stop", short_help="End processes on a running server.")
@click.argument("words", metavar="[ID]...", nargs=-1, shell_complete=endable_processes)
@click.option("--all", "everything", is_flag=True, help="End all processes and daemons of yours.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of the ids.")
@server_options
def command(*, words: tuple[str, ...], everything: bool, as_json: bool, **options: Any) -> None:
    """End the processes and daemons ID, which may be shortened as far as they are unique.

    \b
    Examples:
      pie stop 3f2a
      pie stop --all
    """
    if everything == bool(words):
        raise click.UsageError("give the ids of processes, or --all.")
    stopped = asyncio.run(_stop(find_place(os.environ, **options), words))
    if as_json:
        click.echo(json.dumps(stopped))
    else:
        click.echo(f"Stopped {', '.join(stopped)}." if stopped else "Nothing of yours runs.")


async def _stop(place: Place, words: Sequence[str]) -> list[str]:
    """End what the words name, all if there are none; nothing is ended unless every word names something."""
    async with connected(place) as client:
        if words:
            ids = list(dict.fromkeys([await find_process(client, word, daemons=True) for word in words]))
        else:
            ids = [row.id for row in await client.list_processes()]
        for process_id in ids:
            await client.terminate_process(process_id)
        return ids
