"""`pie auth`: who may come in to a server, by public keys and tokens."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pie.cli.completing import users
from pie.cli.grouping import Group
from pie.config import expand

if TYPE_CHECKING:
    from pie.server.limits import Limits
    from pie.server.users_editing import UsersEditor

__all__ = ["command"]

MAX_KEY_BYTES = 64 << 10
LIMITS = {
    "requests_per_minute": "HTTP requests in a minute.",
    "tokens_per_minute": "Tokens of prompts and answers in a minute.",
    "concurrent_requests": "HTTP requests that are answered at a time.",
}
C = TypeVar("C", bound=Callable[..., Any])


class Bound(click.ParamType[int]):
    """A number of at least 1, or `none`, which is 0 here."""

    name = "number|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        from pie.server.limits import MAX_LIMIT

        if value == "none":
            return 0
        return int(click.IntRange(1, MAX_LIMIT).convert(value, param, ctx))


def limit_options(command: C) -> C:
    """Add an option for each limit."""
    for name, meaning in reversed(LIMITS.items()):
        command = click.option(f"--{name.replace('_', '-')}", type=Bound(), metavar="N|none", help=meaning)(command)
    return command


@click.group("auth", cls=Group, short_help="Say who may come in to your server.")
def command() -> None:
    """Say who may come in to your server: users, their public SSH keys, their tokens and their limits.

    They are in authorized_users.toml in PIE_HOME, which only you may read. A server that runs reads the file anew when
    it has changed.

    \b
    Examples:
      pie auth add alice --key alice.pub
      pie auth token alice --name ci
      pie auth limit alice --requests-per-minute 60
      pie auth list
    """


@command.command("add", short_help="Add a user, or a key of one.")
@click.argument("user", shell_complete=users)
@click.option("--key", metavar="FILE", help="A public key, such as ~/.ssh/id_ed25519.pub; - reads it from stdin.")
@click.option("--name", help="What to call the key; its comment unless given, or 'key'.")
def add(*, user: str, key: str | None, name: str | None) -> None:
    """Add the user USER, or one more public key of USER. Without a key, a user comes in by a token.

    \b
    Examples:
      pie auth add alice --key ~/.ssh/id_ed25519.pub --name laptop
      ssh alice@host cat .ssh/id_ed25519.pub | pie auth add alice --key -
      pie auth add robot && pie auth token robot
    """
    from pie.server.users import fingerprint, parse_public_key
    from pie.server.users_editing import read_public_key

    if key is None:
        if name is not None:
            raise click.UsageError("--name goes with --key.")
        _editor().add_user(user)
        click.echo(f"Added {user}, who comes in when there is a key or a token: pie auth token {user}")
        return
    text = read_public_key(_read(key), "stdin" if key == "-" else key)
    name = name if name is not None else _comment_of(text)
    _editor().add_key(user, name, text)
    click.echo(f"Added the key {name} of {user}: {fingerprint(parse_public_key(text))}")


@command.command("list", short_help="List users, keys and tokens.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_users(*, as_json: bool) -> None:
    """List users with their keys, tokens and limits; of a token there is only its name.

    \b
    Examples:
      pie auth list
      pie auth list --json
    """
    from pie.cli.listing import table
    from pie.server.users import fingerprint

    known = _editor().users()
    if as_json:
        rows = [
            {
                "user": name,
                "keys": [{"name": key, "fingerprint": fingerprint(public)} for key, public in user.keys.items()],
                "tokens": [{"name": token, "limits": known.limits.told()} for token, known in user.tokens.items()],
                "limits": user.limits.told(),
            }
            for name, user in known.items()
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    lines = []
    for name, user in known.items():
        if user.limits.told() or not (user.keys or user.tokens):
            lines.append((name, "-", "", "", _shown(user.limits)))
        lines += [(name, "key", key, fingerprint(public), "") for key, public in user.keys.items()]
        lines += [(name, "token", token, "", _shown(held.limits)) for token, held in user.tokens.items()]
    heads = ("user", "kind", "name", "fingerprint", "limits")
    table(heads, lines, empty="There are no users; add one with `pie auth add`.")


@command.command("remove", short_help="Remove a user, a key or a token.")
@click.argument("user", shell_complete=users)
@click.option("--key", metavar="NAME", help="Remove this key alone.")
@click.option("--token", metavar="NAME", help="Remove this token alone.")
def remove(*, user: str, key: str | None, token: str | None) -> None:
    """Remove USER with all keys and tokens, or one of them. Sessions that are open stay open.

    \b
    Examples:
      pie auth remove alice
      pie auth remove alice --key laptop
      pie auth remove alice --token ci
    """
    if key is not None and token is not None:
        raise click.UsageError("give --key or --token, not both.")
    if key is not None:
        _editor().remove(user, "keys", key)
        click.echo(f"Removed the key {key} of {user}.")
    elif token is not None:
        _editor().remove(user, "tokens", token)
        click.echo(f"Removed the token {token} of {user}.")
    else:
        _editor().remove_user(user)
        click.echo(f"Removed {user}.")


@command.command("token", short_help="Make a token for a user.")
@click.argument("user", shell_complete=users)
@click.option("--name", default="token", show_default=True, help="What to call it.")
@limit_options
def token(*, user: str, name: str, **limits: int | None) -> None:
    """Make a token for USER and print it, this once: the file keeps no more than its hash, and its own limits.

    \b
    Examples:
      pie auth token alice
      pie auth token alice --name app --tokens-per-minute 20000 --concurrent-requests 2
      PIE_TOKEN=$(pie auth token alice --name ci) pie ps
    """
    from pie.server.limits import Limits

    editor = _editor()
    secret = editor.add_token(user, name, Limits(**{limit: bound or None for limit, bound in limits.items()}))
    try:
        click.echo(secret)
    except OSError:  # nobody has read it
        editor.remove(user, "tokens", name)
        raise
    click.echo(f"It is shown this once. Whoever has it comes in as {user}, with PIE_TOKEN set to it.", err=True)


@command.command("limit", short_help="Limit what a user or a token may ask for.")
@click.argument("user", shell_complete=users)
@click.option("--token", metavar="NAME", help="Limit this token alone, within the limits of its user.")
@limit_options
def limit(*, user: str, token: str | None, **limits: int | None) -> None:
    """Limit what USER, or one token of USER, may ask for over HTTP; the limits that are not given stay.

    Where a user has no limit, that of `[limits]` in the configuration holds; a token has none unless it is given one.

    \b
    Examples:
      pie auth limit alice --requests-per-minute 60 --concurrent-requests 4
      pie auth limit alice --token ci --tokens-per-minute 20000
      pie auth limit alice --requests-per-minute none
    """
    changes = {name: bound or None for name, bound in limits.items() if bound is not None}
    if not changes:
        raise click.UsageError("give a limit, such as --requests-per-minute 60.")
    left = _editor().limit(user, token, changes)
    whose = user if token is None else f"the token {token} of {user}"
    click.echo(f"Limits of {whose}: {_shown(left) or 'none of its own'}.")


def _shown(limits: Limits) -> str:
    return ", ".join(f"{bound} {name.replace('_', ' ')}" for name, bound in limits.told().items())


def _editor() -> UsersEditor:
    from pie.config import Settings
    from pie.server.users_editing import UsersEditor

    return UsersEditor(Settings.from_environment(os.environ).home / "authorized_users.toml")


def _read(word: str) -> bytes:
    if word != "-":
        with expand(word).open("rb") as file:
            return file.read(MAX_KEY_BYTES)
    if sys.stdin is None:  # closed by whoever started us
        return b""
    if sys.stdin.isatty():
        click.echo("Paste the public key, then press Ctrl-D.", err=True)
    return sys.stdin.buffer.read(MAX_KEY_BYTES)


def _comment_of(text: str) -> str:
    """What stands after the key in its line, or else 'key'."""
    words = text.split(maxsplit=2)
    return words[2] if len(words) > 2 and not text.startswith("-----") else "key"
