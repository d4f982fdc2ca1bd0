"""`pie doctor`: looks at everything a program needs, one line each, and tells how to get what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import socket
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from pie.config import Settings
from pie.errors import PieError

if TYPE_CHECKING:
    from pie.configuration.configuration import Configuration

__all__ = ["command"]

State = Literal["ok", "note", "missing"]
GIB = 1 << 30
LITTLE_DISK_BYTES = 2 * GIB
LITTLE_MEMORY_BYTES = 2 * GIB
PACKAGES = ("torch", "wasmtime", "tokenizers", "xgrammar", "safetensors", "componentize-py")
COLOURS: dict[State, str] = {"ok": "green", "note": "yellow", "missing": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look has found.

    Attributes:
        name: what was looked at.
        state: ok; note, if things work but could be better; missing, if something will not work.
        found: what there is.
        remedy: what to do; empty if all is well.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


@click.command("doctor", short_help="See what is missing, and how to get it.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def command(*, as_json: bool) -> int:
    """Look at everything that programs need: packages, tools, folders, the model, the configuration.

    Leaves with 1 if something is missing.

    \b
    Examples:
      pie doctor
      pie doctor --json
    """
    findings = examine()
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    return 1 if any(finding.state == "missing" for finding in findings) else 0


def examine() -> list[Finding]:
    """Look at everything; nothing is changed and nothing is installed."""
    findings = [_python(), *map(_package, PACKAGES), _compiler(), _javascript(), *_extras(), _memory(), _gpu()]
    try:
        from pie.configuration.configuration import load_configuration

        configuration = load_configuration(os.environ)
    except PieError as error:
        return [*findings, Finding("configuration", "missing", error.cause, error.remedy)]
    looks: tuple[Callable[[Configuration], Finding], ...] = (
        _configuration,
        _home,
        _cache,
        _model,
        _snapshots,
        _programs,
        _port,
    )
    return [*findings, *(look(configuration) for look in looks)]


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if platform.system() != "Linux":
        return Finding("python", "note", found, "Pie is made for Linux; elsewhere much may not work.")
    return Finding("python", "ok", found)


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "missing", "not installed", "Install Pie again: pip install pie.")


def _compiler() -> Finding:
    compiler = shutil.which("g++")
    if compiler is None:
        return Finding(
            "compiler", "note", "no g++", "Install g++ 11 or newer; without it torch computes, several times slower."
        )
    return Finding("compiler", "ok", compiler)


def _javascript() -> Finding:
    from pie.build.javascript_tools import find_tools
    from pie.build.sources import find_sources

    try:
        tools = find_tools(find_sources(), None)
        return Finding("javascript", "ok", f"{tools.node()}, packages in {tools.modules}")
    except PieError as error:
        if shutil.which("node") and shutil.which("npm"):
            return Finding("javascript", "note", "npm installs its packages when a program first needs them")
        return Finding("javascript", "note", error.cause, error.remedy)


def _extras() -> list[Finding]:
    """What Pie uses where it is installed."""
    return [
        _extra("mcp", "programs are to use MCP servers"),
        _extra("transformers", "models of other architectures than Pie's own are to run"),
    ]


def _extra(name: str, use: str) -> Finding:
    if importlib.util.find_spec(name) is None:
        return Finding(name, "note", "not installed", f"Install pie[{name}] if {use}.")
    return Finding(name, "ok", importlib.metadata.version(name))


def _memory() -> Finding:
    from pie.inspection import machine_room

    available, cores = machine_room()
    found = f"{available / GIB:.1f} GiB free, {cores} processors"
    if available < LITTLE_MEMORY_BYTES:
        return Finding("memory", "note", found, "Set model.kv_pages if the model does not fit.")
    return Finding("memory", "ok", found)


def _gpu() -> Finding:
    from pie.inspection import inspect_gpu

    gpu = inspect_gpu()
    if gpu.problem is None:
        return Finding("gpu", "ok", gpu.found)
    if gpu.problem.code == "no-gpu":
        return Finding("gpu", "note", "none that torch can use: models are computed on the processor")
    return Finding("gpu", "note", f"not used: {gpu.problem.cause}", "Install pie[gpu] if it is to compute.")


def _configuration(configuration: Configuration) -> Finding:
    if not configuration.path.exists():
        return Finding("configuration", "ok", "no file, all defaults")
    return Finding("configuration", "ok", str(configuration.path))


def _home(configuration: Configuration) -> Finding:
    return _folder("home", Settings.from_environment(os.environ).home, "PIE_HOME")


def _cache(configuration: Configuration) -> Finding:
    return _folder("cache", Settings.from_environment(os.environ).cache, "PIE_CACHE")


def _folder(name: str, folder: Path, variable: str) -> Finding:
    place = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            free = shutil.disk_usage(place).free
    except OSError as error:
        return Finding(name, "missing", f"{place}: {error.strerror}", f"Set {variable} to a folder you may write to.")
    found = f"{folder}, {free / GIB:.1f} GiB free"
    if free < LITTLE_DISK_BYTES:
        return Finding(name, "note", found, f"Free some space, or set {variable} to a folder on another disk.")
    return Finding(name, "ok", found)


def _model(configuration: Configuration) -> Finding:
    from pie.inspection import summarize

    try:
        model = configuration.settings(os.environ).model
    except PieError as error:
        return Finding("model", "missing", error.cause, error.remedy)
    problem = summarize(model).problem
    if problem is not None:
        return Finding("model", "missing", problem.cause, problem.remedy)
    return Finding("model", "ok", str(model))


def _snapshots(_configuration: Configuration) -> Finding:
    from pie.scheduler.snapshot_file import read_metadata

    files = sorted((Settings.from_environment(os.environ).home / "snapshots").glob("*/*.safetensors"))
    damaged = [path for path in files if not (read_metadata(path) or {}).get("name")]
    if damaged:
        found = f"{len(damaged)} of {len(files)} cannot be read, such as {damaged[0]}"
        return Finding("saved contexts", "note", found, "Remove the files: what they held is lost.")
    return Finding("saved contexts", "ok", f"{len(files)}")


def _programs(configuration: Configuration) -> Finding:
    from pie.process.store import ProgramStore

    try:
        store = ProgramStore(Settings.from_environment(os.environ).home / "programs")
        programs = store.list()
        damaged = [program.identifier for program in programs if not store.has(program.name, program.version)]
    except PieError as error:
        return Finding("installed programs", "missing", error.cause, error.remedy)
    if damaged:
        found = f"{len(damaged)} of {len(programs)} are damaged, such as {damaged[0]}"
        return Finding("installed programs", "note", found, "Install them again.")
    return Finding("installed programs", "ok", f"{len(programs)}")


def _port(configuration: Configuration) -> Finding:
    host, port = configuration["server.host"], configuration["server.port"]
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return Finding(
                "port", "note", f"{host}:{port} is in use", "It may be a running pie serve; or set server.port."
            )
    except OSError:
        return Finding("port", "ok", f"{host}:{port} is free")


def _print(findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        state = click.style(f"{finding.state:<7}", fg=COLOURS[finding.state])
        click.echo(f"{state}  {finding.name:<{width}}  {finding.found}")
        if finding.remedy:
            click.echo(f"{'':<7}  {'':<{width}}  {finding.remedy}")
