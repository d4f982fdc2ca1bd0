"""`pie publish`: a program goes into a registry, a folder that any static web server can offer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from pie.cli.terminal import Progress
from pie.config import Settings

__all__ = ["command"]


@click.command("publish", short_help="Put a program into a registry.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR",
              help="The registry's folder; made if it is not there.")  # fmt: skip
@click.option(
    "--manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The Pie.toml of PATH, if it does not lie beside it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(*, path: Path, folder: Path, manifest: Path | None, as_json: bool) -> None:
    """Put the program at PATH into the registry in the folder DIR, from which `pie install` takes it.

    A version that was published does not change: raise the version in Pie.toml for another one. Offer the folder
    with any web server, or as it is.

    \b
    Examples:
      pie publish inferlets/chat --to registry
      pie install chat --registry registry
    """
    from pie.process.publishing import publish
    from pie.process.release import read_release

    tools_dir = Settings.from_environment(os.environ).cache / "javascript"
    with Progress() as progress:
        release = read_release(path, manifest=manifest, tools_dir=tools_dir, progress=progress)
    is_new = publish(release, folder)
    identifier = f"{release.name}@{release.version}"
    if as_json:
        click.echo(json.dumps({"name": release.name, "version": release.version, "new": is_new}))
    else:
        click.echo(f"Published {identifier} to {folder}." if is_new else f"{identifier} was in {folder} already.")
