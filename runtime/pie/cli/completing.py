"""What a shell completes: names of what is kept on this machine, ids of processes on a server, and files.

Nothing here prints an error or waits for long: where something cannot be read there is nothing to complete.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from pie.config import Hub, Settings
from pie.errors import PieError

__all__ = [
    "adapters",
    "downloaded",
    "endable_processes",
    "installed",
    "keys_of_configuration",
    "known_processes",
    "models",
    "path_or_installed",
    "running_processes",
    "snapshots",
    "users",
]

TIME_S = 1.0
"""How long a shell waits for a server, before it completes nothing."""


def installed(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Installed programs, with their versions as soon as an @ is typed; none if they cannot be read."""
    from pie.process.store import ProgramStore

    try:
        programs = ProgramStore(_home() / "programs").list()
    except PieError:
        return []
    words = [program.identifier if "@" in incomplete else program.name for program in programs]
    return _beginning(words, incomplete)


def path_or_installed(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Installed programs, and files where the shell finds some."""
    return [*installed(context, parameter, incomplete), CompletionItem(incomplete, type="file")]


def users(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The users that may come in to a server of this account; none if they cannot be read."""
    from pie.server.users import UsersFile

    try:
        known = UsersFile(_home() / "authorized_users.toml").users()
    except PieError:
        return []
    return _beginning(known, incomplete)


def snapshots(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of saved contexts."""
    import sqlite3

    from pie.scheduler.snapshot_table import SnapshotTable

    with suppress(PieError, OSError, sqlite3.Error):  # as the table says, which waits for no lock
        return _beginning([row.name for row in SnapshotTable(_home() / "snapshots").rows() or ()], incomplete)
    return []


def adapters(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of adapters."""
    from pie.host.adapter_store import saved_adapters

    with suppress(PieError, OSError):
        return _beginning([one.name for one in saved_adapters(_home() / "named-adapters")], incomplete)
    return []


def keys_of_configuration(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The keys of the configuration."""
    from pie.configuration.keys import KEYS

    return _beginning([key.name for key in KEYS], incomplete)


def running_processes(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Processes that run on the server of the command line; none if it does not answer at once."""
    return _processes(context, incomplete)


def endable_processes(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Likewise, and daemons."""
    return _processes(context, incomplete, daemons=True)


def known_processes(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Processes that run, and those that have ended."""
    return _processes(context, incomplete, ended=True)


def _processes(
    context: click.Context, incomplete: str, *, ended: bool = False, daemons: bool = False
) -> list[CompletionItem]:
    from pie.cli.connecting import connected, find_place

    found: list[CompletionItem] = []

    async def ask() -> None:
        options = {name: context.params.get(name) for name in ("server", "user", "key")}
        async with connected(find_place(os.environ, **options)) as client:
            rows = await client.list_processes(ended=ended)
            meant = [row for row in rows if row.id.startswith(incomplete.lower()) and (daemons or row.port is None)]
            found.extend(CompletionItem(row.id, help=row.program) for row in meant)

    def run() -> None:
        with suppress(PieError, OSError):
            asyncio.run(ask())

    asking = threading.Thread(target=run, name="complete", daemon=True)  # left alone with a server that does not answer
    asking.start()
    asking.join(TIME_S)
    return list(found)


def _beginning(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in dict.fromkeys(words) if word.startswith(incomplete)]


def _home() -> Path:
    return Settings.from_environment(os.environ).home


def downloaded(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Models in the Hugging Face cache, whether Pie can run them or not."""
    from pie.hub.cache import cached_models

    cached = cached_models(Hub.from_environment(os.environ).cache)
    return [CompletionItem(model.name) for model in cached if model.name.startswith(incomplete)]


def models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """All that names a model: the embedded one, those in the cache, and directories."""
    own = [CompletionItem("embedded")] if "embedded".startswith(incomplete) else []
    return [*own, *downloaded(context, parameter, incomplete), CompletionItem(incomplete, type="dir")]
