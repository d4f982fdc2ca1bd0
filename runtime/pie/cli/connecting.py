"""How a command finds a running server and is let in. The only reader of PIE_TOKEN and of the server's token file."""

from __future__ import annotations

import getpass
import ipaddress
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import click

from pie.config import expand
from pie.errors import UsageError

if TYPE_CHECKING:
    from pie_client import Client, ClientError

__all__ = ["Place", "connected", "find_place", "find_process", "server_options", "user_options"]

UUID_CHARACTERS = 36
NOT_FOUND = ("Process not found", "Invalid process_id", "Invalid process ID")
Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Place:
    """A server, and how we enter it.

    Attributes:
        url: where it answers.
        user: who we say we are.
        key: the file of a private key that proves it.
        token: instead of a key.
    """

    url: str
    user: str
    key: Path | None = None
    token: str | None = field(default=None, repr=False)


def server_options(command: Command) -> Command:
    """Give a command the options that `find_place` takes."""
    add_server = click.option("--server", metavar="URL", help="The server; that of the configuration unless given.")
    return add_server(user_options(command))


def user_options(command: Command) -> Command:
    """Give a command the options that tell who we are."""
    key = click.option("--key", metavar="FILE", help="A private key, such as ~/.ssh/id_ed25519, that the server knows.")
    user = click.option("--user", metavar="NAME", help="Who we are, for --key or a server without authentication.")
    return user(key(command))


def find_place(environ: Mapping[str, str], *, server: str | None, user: str | None, key: str | None) -> Place:
    """Decide by options, then by PIE_TOKEN, then by the token file of a server of this machine.

    Args:
        environ: the environment.
        server: its address; None or empty is that of the configuration.
        user: a name; None is that of the account.
        key: the path of a private key.

    Raises:
        UsageError: `bad-server-url`, or what the configuration raises.
    """
    from pie.config import Settings
    from pie.configuration.configuration import load_configuration

    if not server:
        configuration = load_configuration(environ)
        host, port = configuration["server.host"], configuration["server.port"]
        server = f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"
    address = _checked(server)
    token = None
    if user is None and key is None:
        home = Settings.from_environment(environ).home
        token = environ.get("PIE_TOKEN") or _local_token(home, address)
    return Place(server, user or getpass.getuser(), expand(key) if key else None, token)


@asynccontextmanager
async def connected(place: Place) -> AsyncIterator[Client]:
    """A session with the server, in which we are known; what the client raises within becomes an error of ours.

    Raises:
        UsageError: `no-server`, `not-let-in`, `key-unreadable`, or the code that the client or the server gives.
    """
    from pie_client import Client, ClientError

    try:
        async with Client(place.url) as client:
            await _authenticate(client, place)
            yield client
    except ClientError as error:
        if error.code == "cannot-connect":
            raise UsageError(
                "no-server", f"no server answers: {error.cause}", remedy="Start one with `pie serve`."
            ) from None
        raise _clear(error) from None


async def find_process(client: Client, word: str, *, ended: bool = False, daemons: bool = False) -> str:
    """The id of the process that `word` is the beginning of.

    A whole id is taken as it is: it may be of a process that has ended, which the server still remembers.

    Args:
        client: a session.
        word: what was given of an id.
        ended: whether processes that have ended are meant too.
        daemons: whether daemons are meant too, which say nothing and take no texts.

    Raises:
        UsageError: `process-not-found`, `ambiguous-process`, `is-a-daemon`.
    """
    found = [row for row in await client.list_processes(ended=ended) if row.id.startswith(word.lower())]
    if len(word) == UUID_CHARACTERS and not found:
        return word
    if not found or not word:
        raise UsageError(
            "process-not-found", f"no process of yours begins with {word!r}", remedy="Take an id of `pie ps`."
        )
    if len(found) > 1:
        raise UsageError(
            "ambiguous-process", f"{len(found)} processes begin with {word!r}", remedy="Give more of the id."
        )
    if found[0].port is not None and not daemons:
        raise UsageError(
            "is-a-daemon",
            f"{found[0].id} is a daemon, which answers HTTP requests at port {found[0].port}",
            remedy="Send it a request there, or end it with `pie stop`.",
        )
    return found[0].id


def _clear(error: ClientError) -> UsageError:
    """An error of the client or the server; what Pie 0.4 answers about processes has no code of its own."""
    if error.code == "refused" and error.cause == "Permission denied":
        return UsageError("not-yours", "the process is another user's", remedy="Take an id of `pie ps`.")
    if error.code == "refused" and error.cause in NOT_FOUND:
        cause = "no process of yours has that id, or another client listens to it"
        return UsageError("process-not-found", cause, remedy="Take an id of `pie ps`.")
    return UsageError(error.code, error.cause)


async def _authenticate(client: Client, place: Place) -> None:
    from pie_client import ClientError, ConnectionLost

    key = None if place.key is None else _read_key(place.key)
    try:
        await client.authenticate(place.user, key=key, token=place.token)
    except ConnectionLost:
        raise
    except ClientError as error:
        raise _not_let_in(place, error) from None


def _read_key(path: Path) -> Any:
    from pie_client import ClientError, PrivateKey

    try:
        return PrivateKey.read(path)
    except (OSError, ClientError) as error:
        cause = error.cause if isinstance(error, ClientError) else error.strerror
        raise UsageError(
            "key-unreadable", f"{path}: {cause}", remedy="Give a private key without passphrase."
        ) from None


def _not_let_in(place: Place, error: ClientError) -> UsageError:
    return UsageError(
        "not-let-in",
        f"{place.url}: {error.cause}",
        remedy="Give --key and --user, or set PIE_TOKEN to a token that the server knows.",
    )


def _checked(server: str) -> SplitResult:
    try:
        address = urlsplit(server)
        if address.scheme in ("ws", "wss") and address.hostname is not None and address.port != 0:
            return address
    except ValueError:  # a port that is none
        pass
    raise UsageError(
        "bad-server-url", f"{server!r} is no server's address", remedy="Give one such as ws://127.0.0.1:8080."
    )


def _local_token(home: Path, address: SplitResult) -> str | None:
    """The token that a server of this machine has written; it is shown to no other machine."""
    if not _is_here(address.hostname or ""):
        return None
    default = 443 if address.scheme == "wss" else 80
    try:
        return (home / f"server-{address.port or default}.token").read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):  # not there, or another account's: then a name or a key must do
        return None


def _is_here(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified
