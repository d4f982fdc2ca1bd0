"""The effective configuration: defaults, the file, the environment and flags, each winning over the one before.

Whatever is not in the table of keys is an error; nothing is ignored.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pie.config import MIB, McpServer, ProcessLimits, Settings
from pie.configuration.keys import KEYS, Key, Unfit, Value, find_key, unknown_key
from pie.configuration.mcp import check_names, convert_mcp_tables
from pie.errors import UsageError

__all__ = ["Configuration", "Origin", "configuration_path", "load_configuration", "read_configuration_file"]

Origin = Literal["default", "file", "environment", "flag"]
_SECTIONS = frozenset(key.name.partition(".")[0] for key in KEYS)
_MCP = "mcp"
_VARIABLES = {key.variable: key for key in KEYS}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What holds, and where each value is from.

    Attributes:
        values: value by key name, all keys.
        origins: where each is from.
        mcp_servers: the `[mcp.NAME]` tables of the file.
        path: the file, which need not exist.
    """

    values: Mapping[str, Value]
    origins: Mapping[str, Origin]
    mcp_servers: tuple[McpServer, ...]
    path: Path

    def __getitem__(self, name: str) -> Any:
        """The value of a key."""
        return self.values[name]

    def limits(self) -> ProcessLimits:
        """What one process may use."""
        return ProcessLimits(
            memory_bytes=self["limits.memory_mb"] * MIB,
            cpu_s=self["limits.cpu_s"],
            spin_s=self["limits.spin_s"],
            scratch_bytes=self["limits.scratch_mb"] * MIB,
            children=self["limits.children"],
        )

    def settings(self, environ: Mapping[str, str], *, mcp_servers: tuple[McpServer, ...] = ()) -> Settings:
        """What the runtime is given.

        Args:
            environ: the environment, for where things are kept.
            mcp_servers: more servers, beside those of the file.
        """
        return Settings.from_environment(
            environ,
            model=_path(self["model.path"]),
            kv_pages=self["model.kv_pages"],
            host_pages=self["model.host_pages"],
            max_batch_tokens=self["model.max_batch_tokens"],
            limits=self.limits(),
            programs=_path(self["programs.folder"]),
            allowed_hosts=tuple(self["http.allowed_hosts"]),
            mcp_servers=check_names((*self.mcp_servers, *mcp_servers)),
        )


def configuration_path(environ: Mapping[str, str]) -> Path:
    """The file: PIE_CONFIG, or config.toml in PIE_HOME."""
    named = environ.get("PIE_CONFIG")
    home = Path(environ.get("PIE_HOME") or Path.home() / ".pie")
    return (Path(named) if named else home / "config.toml").expanduser()


def load_configuration(environ: Mapping[str, str], flags: Mapping[str, Any] | None = None) -> Configuration:
    """Put together what holds.

    Args:
        environ: the environment.
        flags: key name -> value; None is not given.

    Raises:
        UsageError: `unknown-setting`, `bad-setting`, `bad-configuration`, `bad-mcp-server`.
    """
    path = configuration_path(environ)
    if environ.get("PIE_CONFIG") and not path.is_file():
        raise _unreadable(path, "there is no such file")
    from_file, servers = read_configuration_file(path)
    values: dict[str, Value] = {key.name: key.default for key in KEYS}
    origins: dict[str, Origin] = dict.fromkeys(values, "default")
    given = {
        name: _checked(find_key(name), value, "command line")
        for name, value in (flags or {}).items()
        if value is not None
    }
    layers: tuple[tuple[Origin, Mapping[str, Value]], ...] = (
        ("file", from_file),
        ("environment", _from_environment(environ)),
        ("flag", given),
    )
    for origin, layer in layers:
        values.update(layer)
        origins.update(dict.fromkeys(layer, origin))
    return Configuration(MappingProxyType(values), MappingProxyType(origins), servers, path)


def read_configuration_file(path: Path) -> tuple[dict[str, Value], tuple[McpServer, ...]]:
    """The values and the MCP servers that a file gives; nothing if there is no file.

    Raises:
        UsageError: as `load_configuration`.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}, ()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _unreadable(path, f"it is not TOML: {error}") from None
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    values: dict[str, Value] = {}
    for section, table in content.items():
        if section == _MCP and isinstance(table, dict):
            continue
        if section not in _SECTIONS or not isinstance(table, dict):
            raise unknown_key(section, str(path), [f"[{name}]" for name in sorted({*_SECTIONS, _MCP})])
        values |= _read_section(path, section, table)
    return values, convert_mcp_tables(content.get(_MCP, {}), path)


def _read_section(path: Path, section: str, table: Mapping[str, Any]) -> dict[str, Value]:
    known = {key.name: key for key in KEYS if key.name.startswith(f"{section}.")}
    values: dict[str, Value] = {}
    for word, value in table.items():
        name = f"{section}.{word}"
        if name not in known:
            raise unknown_key(name, str(path), known)
        checked = _checked(known[name], value, str(path))
        if known[name].kind == "path" and isinstance(checked, str):
            checked = str(path.parent / checked)  # a path of the file starts from there
        values[name] = checked
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, Value]:
    """Variables such as PIE_SERVER_PORT; one that begins like a section's and is no key is an error."""
    values: dict[str, Value] = {}
    for variable, text in environ.items():
        section = variable.removeprefix("PIE_").partition("_")[0].lower()
        if not variable.startswith("PIE_") or section not in _SECTIONS or variable == f"PIE_{section.upper()}":
            continue
        if variable not in _VARIABLES:
            raise unknown_key(variable, "environment", _VARIABLES)
        if text:
            key = _VARIABLES[variable]
            values[key.name] = _checked(key, text, variable, is_text=True)
    return values


def _checked(key: Key, value: Any, place: str, *, is_text: bool = False) -> Value:
    try:
        return key.parse(value) if is_text else key.check(value)
    except Unfit as error:
        raise UsageError("bad-setting", f"{place}: {key.name} {error}", remedy=f"Give it {key.holds()}.") from None


def _unreadable(path: Path, cause: str) -> UsageError:
    return UsageError(
        "bad-configuration", f"{path}: {cause}", remedy="Mend the file, or start again with `pie config init`."
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text is not None else None
