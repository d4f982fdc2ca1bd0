"""The effective configuration: defaults, the file, the environment and flags, each winning over the one before.

Whatever is not in the table of keys is an error; nothing is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pie.config import MIB, Hub, McpServer, ModelSettings, ProcessLimits, Route, Settings, expand, pie_home
from pie.configuration.keys import KEYS, Value, find_key, unknown_key
from pie.configuration.mcp import check_names
from pie.configuration.reading import SECTIONS, checked, read_configuration_file, unreadable
from pie.hub.names import find_model

__all__ = ["Configuration", "Origin", "configuration_path", "load_configuration"]

Origin = Literal["default", "file", "environment", "flag"]
_VARIABLES = {key.variable: key for key in KEYS}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What holds, and where each value is from.

    Attributes:
        values: value by key name, all keys.
        origins: where each is from.
        mcp_servers: the `[mcp.NAME]` tables of the file.
        models: the `[models.NAME]` tables of the file.
        routes: the `[[route]]` tables of the file.
        path: the file, which need not exist.
    """

    values: Mapping[str, Value]
    origins: Mapping[str, Origin]
    mcp_servers: tuple[McpServer, ...]
    models: tuple[ModelSettings, ...]
    routes: tuple[Route, ...]
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

        Raises:
            ModelError: `model-not-found` or `model-incomplete` for a model that is not on this machine.
        """
        hub = Hub.from_environment(environ)
        first = self["model.path"]
        return Settings.from_environment(
            environ,
            model=None if first is None else find_model(first, hub),
            weights=self["model.weights"],
            backend=self["model.backend"],
            kv_cache=self["model.kv_cache"],
            kv_pages=self["model.kv_pages"],
            host_pages=self["model.host_pages"],
            max_batch_tokens=self["model.max_batch_tokens"],
            prompt_step_ms=self["model.prompt_step_ms"],
            batch_policy=self["model.batch_policy"],
            more_models=tuple(replace(model, path=find_model(str(model.path), hub)) for model in self.models),
            limits=self.limits(),
            programs=_path(self["programs.folder"]),
            allowed_hosts=tuple(self["http.allowed_hosts"]),
            mcp_servers=check_names((*self.mcp_servers, *mcp_servers)),
        )


def configuration_path(environ: Mapping[str, str]) -> Path:
    """The file: PIE_CONFIG, or config.toml in PIE_HOME."""
    named = environ.get("PIE_CONFIG")
    return expand(named) if named else pie_home(environ) / "config.toml"


def load_configuration(environ: Mapping[str, str], flags: Mapping[str, Any] | None = None) -> Configuration:
    """Put together what holds.

    Args:
        environ: the environment.
        flags: key name -> value; None is not given.

    Raises:
        UsageError: `unknown-setting`, `bad-setting`, `bad-configuration`, `bad-mcp-server`, `bad-route`.
    """
    path = configuration_path(environ)
    if environ.get("PIE_CONFIG") and not path.is_file():
        raise unreadable(path, "there is no such file")
    file = read_configuration_file(path)
    values: dict[str, Value] = {key.name: key.default for key in KEYS}
    origins: dict[str, Origin] = dict.fromkeys(values, "default")
    given = {
        name: checked(find_key(name), value, "command line")
        for name, value in (flags or {}).items()
        if value is not None
    }
    layers: tuple[tuple[Origin, Mapping[str, Value]], ...] = (
        ("file", file.values),
        ("environment", _from_environment(environ)),
        ("flag", given),
    )
    for origin, layer in layers:
        values.update(layer)
        origins.update(dict.fromkeys(layer, origin))
    kept, found = MappingProxyType(values), MappingProxyType(origins)
    return Configuration(kept, found, file.mcp_servers, file.models, file.routes, path)


def _from_environment(environ: Mapping[str, str]) -> dict[str, Value]:
    """Variables such as PIE_SERVER_PORT; one that begins like a section's and is no key is an error."""
    values: dict[str, Value] = {}
    for variable, text in environ.items():
        section = variable.removeprefix("PIE_").partition("_")[0].lower()
        if not variable.startswith("PIE_") or section not in SECTIONS or variable == f"PIE_{section.upper()}":
            continue
        if variable not in _VARIABLES:
            raise unknown_key(variable, "environment", _VARIABLES)
        if text:
            key = _VARIABLES[variable]
            values[key.name] = checked(key, text, variable, is_text=True)
    return values


def _path(text: str | None) -> Path | None:
    return Path(text) if text is not None else None
