"""`pie config`: write the configuration file, look at what holds, change a key."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from pie.cli.completing import keys_of_configuration
from pie.cli.grouping import Group
from pie.errors import UsageError

__all__ = ["command"]


@click.group("config", cls=Group, short_help="Look at the configuration, and change it.")
def command() -> None:
    """Look at the configuration, and change it.

    \b
    Examples:
      pie config show
      pie config set server.port 9000
    """


@command.command("init", short_help="Write the file.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(*, force: bool) -> None:
    """Write the configuration file, with every key and its default in it as comments.

    \b
    Example:
      pie config init
    """
    from pie.configuration.configuration import configuration_path
    from pie.configuration.file import template, write_file

    path = configuration_path(os.environ)
    if path.exists() and not force:
        raise UsageError("already-there", f"{path} exists", remedy="Edit it, or replace it with --force.")
    write_file(path, template())
    click.echo(f"Wrote {path}.")


@command.command("show", short_help="Show what holds.")
@click.argument("key", required=False, shell_complete=keys_of_configuration)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(*, key: str | None, as_json: bool) -> None:
    """Show every value and where it is from, or the value of KEY alone.

    \b
    Examples:
      pie config show
      pie config show server.port
    """
    from pie.configuration.configuration import load_configuration
    from pie.configuration.keys import find_key

    name = find_key(key).name if key else None
    configuration = load_configuration(os.environ)
    rows = [
        {"key": row, "value": value, "from": configuration.origins[row]}
        for row, value in configuration.values.items()
        if name in (None, row)
    ]
    if as_json:
        click.echo(json.dumps(rows[0] if name else rows, indent=2))
    elif name:
        click.echo(_shown(configuration[name]))
    else:
        _print_table(rows)


@command.command("set", short_help="Set a key in the file.")
@click.argument("key", shell_complete=keys_of_configuration)
@click.argument("value")
def set_key(*, key: str, value: str) -> None:
    """Set KEY to VALUE in the configuration file; the rest of the file stays as it is.

    \b
    Examples:
      pie config set server.port 9000
      pie config set http.allowed_hosts example.com,api.example.com:8443
    """
    from pie.configuration.configuration import configuration_path
    from pie.configuration.file import set_in_file
    from pie.configuration.keys import find_key

    found = find_key(key)
    path = configuration_path(os.environ)
    kept = set_in_file(path, found, value)
    click.echo(f"{found.name} = {_shown(kept)} in {path}")
    if found.variable in os.environ:
        click.echo(f"The environment wins: {found.variable} is {os.environ[found.variable]!r}.", err=True)


@command.command("keys", short_help="List every key.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def keys(*, as_json: bool) -> None:
    """List every key with what it means.

    \b
    Example:
      pie config keys
    """
    from pie.configuration.keys import KEYS

    if as_json:
        described = [
            {
                "key": key.name,
                "variable": key.variable,
                "holds": key.holds(),
                "default": key.default,
                "meaning": key.meaning,
            }
            for key in KEYS
        ]
        click.echo(json.dumps(described, indent=2))
        return
    width = max(len(key.name) for key in KEYS)
    for key in KEYS:
        click.echo(f"{key.name:<{width}}  {key.meaning}")


@command.command("reference", short_help="Print docs/configuration.md.")
def print_reference() -> None:
    """Print the page about all keys, as Markdown.

    \b
    Example:
      pie config reference > configuration.md
    """
    from pie.configuration.reference import reference

    click.echo(reference(), nl=False)


def _print_table(rows: list[dict[str, Any]]) -> None:
    width = max(len(row["key"]) for row in rows)
    values = [_shown(row["value"]) for row in rows]
    column = min(40, max(map(len, values)))
    for row, value in zip(rows, values, strict=True):
        click.echo(f"{row['key']:<{width}}  {value:<{column}}  {row['from']}")


def _shown(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case list():
            return ",".join(value) or "-"
        case _:
            return str(value)
