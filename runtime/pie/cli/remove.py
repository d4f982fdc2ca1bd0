"""`pie remove`: an installed program is there no more."""

from __future__ import annotations

import json
import os

import click

from pie.cli.completing import installed
from pie.config import Settings

__all__ = ["command"]


@click.command("remove", short_help="Remove an installed program.")
@click.argument("identifier", metavar="NAME[@VERSION]", shell_complete=installed)
@click.option("--all", "every_version", is_flag=True, help="Remove all versions of NAME.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of what was removed.")
def command(*, identifier: str, every_version: bool, as_json: bool) -> None:
    """Remove the installed program NAME; of several versions, say which. What runs of it goes on.

    \b
    Examples:
      pie remove chat
      pie remove chat@0.1.0
      pie remove chat --all
    """
    from pie.process.store import ProgramStore

    store = ProgramStore(Settings.from_environment(os.environ).home / "programs")
    versions = [program.identifier for program in store.list() if program.name == identifier] if every_version else []
    removed = [store.remove(wanted) for wanted in versions or [identifier]]
    if as_json:
        click.echo(json.dumps(removed))
    else:
        click.echo(f"Removed {', '.join(removed)}.")
