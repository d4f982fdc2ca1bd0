"""`pie adapter`: the named adapters of this machine."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pie.cli.completing import adapters
from pie.cli.grouping import Group
from pie.cli.terminal import Progress
from pie.config import Settings
from pie.errors import AdapterError

if TYPE_CHECKING:
    from pie.host.adapter_store import SavedAdapter

__all__ = ["command"]


@click.group("adapter", cls=Group, short_help="List, import and remove adapters.")
def command() -> None:
    """List, import and remove the named adapters of the configured model. Start a server again to have it see changes.

    \b
    Examples:
      pie adapter import ./my-lora --name tone
      pie adapter list
    """


@command.command("list", short_help="List adapters.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_adapters(*, as_json: bool) -> None:
    """List the adapters of all models by user and name.

    \b
    Example:
      pie adapter list --json
    """
    from pie.cli.listing import size, table, when

    saved = _saved()
    if as_json:
        rows = [
            {
                "user": one.user,
                "name": one.name,
                "model": one.model,
                "size_bytes": one.size_bytes,
                "saved_at": when(one.saved_at),
            }
            for one in saved
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    table(
        ("name", "user", "model", "size", "saved"),
        [(one.name, one.user, one.model, size(one.size_bytes), when(one.saved_at)) for one in saved],
        empty="There are no adapters.",
    )


@command.command("import", short_help="Give a PEFT directory a name.")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", required=True, help="What programs call it.")
@click.option("--user", default="local", show_default=True, help="Whose it is to be.")
@click.option("--model", type=click.Path(), help="The model it was made for; the configured one unless given.")
def import_adapter(*, path: Path, name: str, user: str, model: str | None) -> None:
    """Give the adapter at PATH a name: a PEFT directory with safetensors weights, or a file that a program saved.

    \b
    Example:
      pie adapter import ./my-lora --name tone
    """
    from pie.configuration.configuration import load_configuration

    settings = load_configuration(os.environ, {"model.path": model}).settings(os.environ)
    with Progress() as progress:
        asyncio.run(_import(path, name, user, settings, progress))
    click.echo(f"Imported {name}.")


@command.command("remove", short_help="Remove an adapter.")
@click.argument("name", shell_complete=adapters)
@click.option("--user", default="local", show_default=True, help="Whose it is.")
def remove(*, name: str, user: str) -> None:
    """Remove the adapter NAME of every model.

    \b
    Example:
      pie adapter remove tone
    """
    from pie.cli.listing import nearest_name

    saved = _saved()
    found = [one for one in saved if (one.user, one.name) == (user, name)]
    if not found:
        raise AdapterError(
            "adapter-not-found",
            f"user {user!r} has no adapter {name!r}",
            remedy=nearest_name(name, [one.name for one in saved if one.user == user], "pie adapter list"),
        )
    for one in found:
        one.path.unlink(missing_ok=True)
    click.echo(f"Removed {name}.")


def _saved() -> list[SavedAdapter]:
    from pie.host.adapter_store import saved_adapters

    return saved_adapters(Settings.from_environment(os.environ).home / "named-adapters")


async def _import(path: Path, name: str, user: str, settings: Settings, progress: Progress) -> None:
    from pie.host.adapter_paths import read_local_files
    from pie.runtime import Runtime

    files = await asyncio.to_thread(read_local_files, path)
    progress("Loading the model")
    async with Runtime(settings) as runtime:
        adapters = runtime.model.adapters
        adapter = await adapters.create(user, name)
        try:
            await adapters.load(adapter, files)
        except BaseException:
            adapters.destroy(adapter)
            raise
        adapters.close(adapter)
