"""The configuration file as it is read: values of keys, and the tables of MCP servers, of models and of routes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pie.config import McpServer, ModelSettings, Route
from pie.configuration.keys import KEYS, Key, Unfit, Value, unknown_key
from pie.configuration.mcp import convert_mcp_tables
from pie.configuration.routes import convert_routes
from pie.errors import UsageError
from pie.hub.names import model_from

__all__ = ["SECTIONS", "FileContent", "checked", "read_configuration_file", "unreadable"]

SECTIONS = frozenset(key.name.partition(".")[0] for key in KEYS)
_MCP, _MODELS, _ROUTE = "mcp", "models", "route"
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class FileContent:
    """What a file gives.

    Attributes:
        values: value by key name.
        mcp_servers: the `[mcp.NAME]` tables.
        models: the `[models.NAME]` tables.
        routes: the `[[route]]` tables.
    """

    values: Mapping[str, Value] = field(default_factory=dict)
    mcp_servers: tuple[McpServer, ...] = ()
    models: tuple[ModelSettings, ...] = ()
    routes: tuple[Route, ...] = ()


def read_configuration_file(path: Path) -> FileContent:
    """What a file gives; nothing if there is no file.

    Raises:
        UsageError: `unknown-setting`, `bad-setting`, `bad-configuration`, `bad-mcp-server`, `bad-route`.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return FileContent()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise unreadable(path, f"it is not TOML: {error}") from None
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from None
    values: dict[str, Value] = {}
    routes = convert_routes(content.pop(_ROUTE, []), path)
    for section, table in content.items():
        if not isinstance(table, dict) or section not in {*SECTIONS, _MCP, _MODELS}:
            raise unknown_key(section, str(path), [f"[{name}]" for name in sorted({*SECTIONS, _MCP, _MODELS, _ROUTE})])
        if section in SECTIONS:
            values |= _read_section(path, section, table)
    models = tuple(_read_model(path, name, table) for name, table in content.get(_MODELS, {}).items())
    return FileContent(values, convert_mcp_tables(content.get(_MCP, {}), path), models, routes)


def checked(key: Key, value: Any, place: str, *, is_text: bool = False) -> Value:
    """The value of a key, as it is kept.

    Args:
        key: whose value it is.
        value: as TOML, a flag or, if `is_text`, the environment gives it.
        place: where it is from, for errors.
        is_text: whether it must be read first.

    Raises:
        UsageError: `bad-setting`.
    """
    try:
        return key.parse(value) if is_text else key.check(value)
    except Unfit as error:
        raise UsageError("bad-setting", f"{place}: {key.name} {error}", remedy=f"Give it {key.holds()}.") from None


def unreadable(path: Path, cause: str) -> UsageError:
    """The error for a file that cannot be read."""
    return UsageError(
        "bad-configuration", f"{path}: {cause}", remedy="Mend the file, or start again with `pie config init`."
    )


def _read_section(path: Path, section: str, table: Mapping[str, Any]) -> dict[str, Value]:
    known = {key.name: key for key in KEYS if key.name.startswith(f"{section}.")}
    values: dict[str, Value] = {}
    for word, value in table.items():
        name = f"{section}.{word}"
        if name not in known:
            raise unknown_key(name, str(path), known)
        kept = checked(known[name], value, str(path))
        if known[name].kind == "path" and isinstance(kept, str):
            kept = str(path.parent / kept)  # a path of the file starts from there
        if known[name].kind == "model" and isinstance(kept, str):
            kept = model_from(path.parent, kept)
        values[name] = kept
    return values


def _read_model(path: Path, name: str, table: Any) -> ModelSettings:
    """A `[models.NAME]` table, which has the keys of `[model]`."""
    if not _MODEL_NAME.fullmatch(name) or not isinstance(table, dict):
        raise UsageError(
            "bad-setting",
            f"{path}: [models.{name}] names no model",
            remedy="Write a table [models.NAME] with letters, digits, dots and hyphens in its name.",
        )
    values = _read_section(path, "model", table)
    if "model.path" not in values:
        raise UsageError(
            "bad-setting", f"{path}: [models.{name}] has no path", remedy="Give it the model's directory or name."
        )
    chosen: dict[str, Any] = {key.removeprefix("model."): value for key, value in values.items()}
    return ModelSettings(**{**chosen, "path": Path(chosen["path"]), "name": name})
