"""MCP servers as they are written: `--mcp NAME=COMMAND`, `--mcp NAME=URL`, and tables of TOML."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from pie.config import McpServer
from pie.errors import UsageError

__all__ = ["check_names", "convert_mcp_tables", "mcp_servers"]

NAME = re.compile(r"[A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)*")
URL = re.compile(r"https?://[^\s/]+\S*")


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table of the file, `[name]`: the fields of `pie.config.McpServer`."""

    command: list[str] = []
    url: str = ""
    env: dict[str, str] = {}
    headers: dict[str, str] = {}
    timeout_s: float = 60.0


def mcp_servers(words: Sequence[str], file: Path | None) -> tuple[McpServer, ...]:
    """The servers of the options; those of the file come first.

    Args:
        words: `NAME=COMMAND`, split as a shell would, or `NAME=URL`.
        file: TOML with a table per server.

    Raises:
        UsageError: `bad-mcp-server`.
    """
    return check_names((*(_read_file(file) if file is not None else ()), *map(_read_word, words)))


def check_names(servers: tuple[McpServer, ...]) -> tuple[McpServer, ...]:
    """The same servers, each of which has a name of its own.

    Raises:
        UsageError: `bad-mcp-server`.
    """
    names = [server.name for server in servers]
    for name in names:
        if names.count(name) > 1:
            raise _bad(f"there are {names.count(name)} MCP servers called {name!r}", "Give each one a name of its own.")
    return servers


def _read_word(word: str) -> McpServer:
    name, equals, value = word.partition("=")
    if not equals or not value.strip():
        raise _bad(f"--mcp {word!r} has no command", "Write --mcp files='python server.py', or an http address.")
    if URL.fullmatch(value):
        return _checked(McpServer(name, url=value))
    try:
        return _checked(McpServer(name, command=tuple(shlex.split(value))))
    except ValueError as error:
        raise _bad(f"the command of --mcp {name} cannot be split: {error}", "Mend its quotes.") from None


def _read_file(file: Path) -> tuple[McpServer, ...]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _bad(f"{file} is not TOML: {error}", "Mend the line.") from None
    return convert_mcp_tables(content, file)


def convert_mcp_tables(content: Any, file: Path) -> tuple[McpServer, ...]:
    """The servers of tables by name.

    Args:
        content: what TOML made of the tables.
        file: where they are from, for errors.

    Raises:
        UsageError: `bad-mcp-server`.
    """
    try:
        tables = msgspec.convert(content, dict[str, _Table])
    except msgspec.ValidationError as error:
        cause = str(error).replace("`", "").replace("$[...]", "the table").replace("$", "the file")
        remedy = f"A table [name] may have {', '.join(_Table.__struct_fields__)}."
        raise _bad(f"{file}: {cause}", remedy) from None
    return tuple(
        _checked(
            McpServer(
                name,
                command=tuple(table.command),
                url=table.url,
                env=table.env,
                headers=table.headers,
                timeout_s=table.timeout_s,
            )
        )
        for name, table in tables.items()
    )


def _checked(server: McpServer) -> McpServer:
    if not NAME.fullmatch(server.name):
        raise _bad(f"an MCP server cannot be called {server.name!r}", "Use letters, digits and hyphens.")
    has_command = bool(server.command and server.command[0].strip())
    if has_command == bool(server.url):
        raise _bad(f"the MCP server {server.name} needs a command or a url, one of both", "Give one of them.")
    if server.url and not URL.fullmatch(server.url):
        raise _bad(f"the url of the MCP server {server.name} is {server.url!r}", "Use an http or https address.")
    if not 0 < server.timeout_s <= 3600:
        raise _bad(f"timeout_s of the MCP server {server.name} is {server.timeout_s:g}", "Use up to 3600 seconds.")
    return server


def _bad(cause: str, remedy: str) -> UsageError:
    return UsageError("bad-mcp-server", cause, remedy=remedy)
