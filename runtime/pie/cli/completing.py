"""What a shell completes: the names of installed programs and of users, and files."""

from __future__ import annotations

import os

import click
from click.shell_completion import CompletionItem

from pie.config import Settings
from pie.errors import PieError

__all__ = ["installed", "path_or_installed", "users"]


def installed(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Installed programs, with their versions as soon as an @ is typed; none if they cannot be read."""
    from pie.process.store import ProgramStore

    try:
        programs = ProgramStore(Settings.from_environment(os.environ).home / "programs").list()
    except PieError:
        return []
    words = [program.identifier if "@" in incomplete else program.name for program in programs]
    return [CompletionItem(word) for word in dict.fromkeys(words) if word.startswith(incomplete)]


def path_or_installed(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Installed programs, and files where the shell finds some."""
    return [*installed(context, parameter, incomplete), CompletionItem(incomplete, type="file")]


def users(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The users that may come in to a server of this account; none if they cannot be read."""
    from pie.server.users import UsersFile

    try:
        known = UsersFile(Settings.from_environment(os.environ).home / "authorized_users.toml").users()
    except PieError:
        return []
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]
