"""`pie version`: what is installed, as one would write it into a report of a fault."""

from __future__ import annotations

import importlib.metadata
import json
import platform

import click

from pie import __version__

__all__ = ["command"]

PACKAGES = ("torch", "wasmtime", "xgrammar", "tokenizers", "componentize-py")


@click.command("version", short_help="Show the versions of Pie and of what it stands on.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, as_json: bool) -> None:
    """Show the versions of Pie and of what it stands on, as a report of a fault needs them.

    \b
    Example:
      pie version --json
    """
    versions = {"pie": __version__, "python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in PACKAGES}
    if as_json:
        click.echo(json.dumps(versions, indent=2))
        return
    for name, version in versions.items():
        click.echo(f"{name} {version}")
