"""`pie snapshot`: the saved contexts of this machine."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from pie.cli.completing import snapshots
from pie.cli.grouping import Group
from pie.config import Settings
from pie.errors import ContextError

if TYPE_CHECKING:
    from pie.scheduler.snapshot_index import SnapshotIndex

__all__ = ["command"]


@click.group("snapshot", cls=Group, short_help="List and remove saved contexts.")
def command() -> None:
    """List and remove saved contexts. A server that runs keeps in memory what it has open.

    \b
    Examples:
      pie snapshot list
      pie snapshot remove my-document
    """


@command.command("list", short_help="List saved contexts.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_snapshots(*, as_json: bool) -> None:
    """List saved contexts by user and name.

    \b
    Example:
      pie snapshot list --json
    """
    from pie.cli.listing import size, table, when

    index = _index()
    saved = index.mend()
    if as_json:
        rows = [
            {
                "user": one.user,
                "name": one.name,
                "model": one.model,
                "tokens": one.num_tokens,
                "size_bytes": one.size_bytes,
                "saved_at": when(one.saved_at),
                "digest": one.digest,
                "file": str(index.path_of(one)),
            }
            for one in saved
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    table(
        ("name", "user", "model", "tokens", "size", "saved"),
        [
            (one.name, one.user, one.model, str(one.num_tokens), size(one.size_bytes), when(one.saved_at))
            for one in saved
        ],
        empty="There are no saved contexts.",
    )


@command.command("remove", short_help="Remove a saved context.")
@click.argument("name", shell_complete=snapshots)
@click.option("--user", default="local", show_default=True, help="Whose it is.")
def remove(*, name: str, user: str) -> None:
    """Remove the saved context NAME.

    \b
    Example:
      pie snapshot remove my-document
    """
    from pie.cli.listing import nearest_name

    index = _index()
    saved = index.mend()
    found = next((one for one in saved if (one.user, one.name) == (user, name)), None)
    if found is None:
        raise ContextError(
            "snapshot-not-found",
            f"user {user!r} has no saved context {name!r}",
            remedy=nearest_name(name, [one.name for one in saved if one.user == user], "pie snapshot list"),
        )
    index.remove(index.path_of(found))
    click.echo(f"Removed {name}.")


def _index() -> SnapshotIndex:
    from pie.scheduler.snapshot_index import SnapshotIndex

    return SnapshotIndex(Settings.from_environment(os.environ).home / "snapshots")
