"""`pie list`: the installed programs."""

from __future__ import annotations

import json
import os

import click

from pie.config import Settings

__all__ = ["command"]


@click.command("list", short_help="List the installed programs.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def command(*, as_json: bool) -> None:
    """List the installed programs by name, older versions first.

    \b
    Examples:
      pie list
      pie list --json
    """
    from pie.cli.listing import size, table, when
    from pie.process.store import ProgramStore

    programs = ProgramStore(Settings.from_environment(os.environ).home / "programs").list()
    if as_json:
        click.echo(json.dumps([program.describe() for program in programs], indent=2))
        return
    table(
        ("name", "version", "kind", "size", "installed", "description"),
        [
            (
                program.name,
                program.version,
                program.kind,
                size(program.size_bytes),
                when(program.installed_at),
                program.manifest.package.description,
            )
            for program in programs
        ],
        empty="No programs are installed. Try: pie install PATH",
    )
