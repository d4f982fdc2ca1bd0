"""`Pie.toml`: what a program is called and which input it takes."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from pie.errors import ProgramError, UsageError

__all__ = [
    "FILE_NAME",
    "Daemon",
    "Manifest",
    "Package",
    "Parameter",
    "check_input",
    "find_manifest",
    "find_manifest_file",
    "parse_manifest",
    "read_manifest",
]

FILE_NAME = "Pie.toml"
POSITIONAL = "_positional"
"""The entry under which the command line collects words without a key."""

ParameterType = Literal["string", "int", "float", "bool", "list", "object"]
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "object": (dict,),
}


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of a program's input.

    Attributes:
        type: what it holds.
        optional: whether the input may lack it.
        description: one line, for people.
    """

    type: ParameterType = "string"
    optional: bool = False
    description: str = ""


class Package(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a program is called, and by whom it is.

    Attributes:
        name: lower-case words joined by hyphens; a built program exports `pie:<name>/run`.
        version: such as 0.1.0.
        description: one line, for people.
        authors: names, with or without mail addresses.
        repository: where it is developed.
        readme: a file of the program's folder.
    """

    name: str
    version: str = "0.1.0"
    description: str = ""
    authors: list[str] = []
    repository: str = ""
    readme: str = ""


class Daemon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a program answers HTTP requests.

    Attributes:
        instances: one for each request, or one for all requests of a user, one after another.
    """

    instances: Literal["per-request", "one"] = "per-request"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole `Pie.toml`.

    Attributes:
        package: the `[package]` table.
        parameters: the `[parameters.<name>]` tables; none means that any input is taken.
        daemon: the `[daemon]` table, of programs that answer HTTP requests.
        runtime: versions of interfaces that the program was written for. Not enforced: all are served.
        dependencies: versions of components that it is to be linked with. Not linked: a program that was not built
            with them inside is refused when it is loaded, since its imports are missing.
    """

    package: Package
    parameters: dict[str, Parameter] = {}
    daemon: Daemon = Daemon()
    runtime: dict[str, str] = {}
    dependencies: dict[str, str] = {}


_STRUCTS: dict[str, type[msgspec.Struct]] = {
    "$": Manifest,
    "$.package": Package,
    "$.daemon": Daemon,
    "$.parameters[...]": Parameter,
}


def find_manifest(path: Path) -> Manifest | None:
    """The manifest of the program at `path`, a source file or a folder; None if it has none.

    Raises:
        ProgramError: `bad-manifest`.
    """
    file = find_manifest_file(path)
    return None if file is None else read_manifest(file)


def find_manifest_file(path: Path) -> Path | None:
    """The manifest's file: in the folder of the code, or one above if that is called `python` or `javascript`."""
    folder = path if path.is_dir() else path.parent
    folders = [folder, folder.parent] if folder.resolve().name in {"python", "javascript"} else [folder]
    for candidate in folders:
        if (candidate / FILE_NAME).is_file():
            return candidate / FILE_NAME
    return None


def read_manifest(path: Path) -> Manifest:
    """Read a manifest's file.

    Raises:
        ProgramError: as `parse_manifest`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _not_toml(str(path), error) from None
    return parse_manifest(text, str(path))


def parse_manifest(text: str, place: str) -> Manifest:
    """Read a manifest's text; `place` tells people which one it is.

    Raises:
        ProgramError: `bad-manifest` if it is not TOML, or a key or value is not as it should be.
    """
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise _not_toml(place, error) from None
    try:
        return msgspec.convert(content, Manifest)
    except msgspec.ValidationError as error:
        cause, remedy = _explain(str(error), _wrong_parameter(content))
        raise ProgramError("bad-manifest", f"{place}: {cause}", remedy=remedy) from None


def _not_toml(place: str, error: Exception) -> ProgramError:
    return ProgramError("bad-manifest", f"{place} is not TOML: {error}", remedy="Mend the line.")


def check_input(manifest: Manifest, value: Any) -> None:
    """Check a program's input against its manifest; without parameters any input is right.

    Raises:
        UsageError: `bad-input`.
    """
    if not manifest.parameters:
        return
    entries = {} if value is None else value
    if not isinstance(entries, dict):
        raise _bad_input(manifest, f"the input is no object but {_kind(entries)}")
    for name, entry in entries.items():
        if name == POSITIONAL:
            words = " ".join(map(str, entry)) if isinstance(entry, list) else entry
            raise _bad_input(manifest, f"{words!r} stands without a --name in front of it")
        if name not in manifest.parameters:
            raise _bad_input(manifest, f"there is no parameter {name}", near=_near(name, manifest.parameters))
        _check_entry(manifest, name, entry)
    missing = [name for name, entry in manifest.parameters.items() if not entry.optional and name not in entries]
    if missing:
        raise _bad_input(manifest, f"the input lacks {', '.join(missing)}")


def _check_entry(manifest: Manifest, name: str, entry: Any) -> None:
    parameter = manifest.parameters[name]
    if entry is None and parameter.optional:
        return
    is_bool = isinstance(entry, bool)
    if not isinstance(entry, _PYTHON_TYPES[parameter.type]) or is_bool != (parameter.type == "bool"):
        raise _bad_input(manifest, f"{name} is {_kind(entry)}, not {parameter.type}")


def _bad_input(manifest: Manifest, cause: str, *, near: str = "") -> UsageError:
    names = ", ".join(
        f"{name} ({p.type}{', optional' if p.optional else ''})" for name, p in manifest.parameters.items()
    )
    remedy = f"Did you mean {near}?" if near else f"{manifest.package.name} takes {names}."
    return UsageError("bad-input", cause, remedy=remedy)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    return next((name for name, types in _PYTHON_TYPES.items() if isinstance(value, types)), type(value).__name__)


def _wrong_parameter(content: dict[str, Any]) -> str:
    """The first parameter that cannot be read; msgspec does not name it."""
    parameters = content.get("parameters")
    for name, entry in parameters.items() if isinstance(parameters, dict) else ():
        try:
            msgspec.convert(entry, Parameter)
        except msgspec.ValidationError:
            return str(name)
    return "..."


def _explain(message: str, parameter: str) -> tuple[str, str]:
    """Cause and remedy of what msgspec says, such as: Object contains unknown field `nmae` - at `$.package`."""
    what, _, place = message.partition(" - at `")
    path = place.removesuffix("`") or "$"
    table = "the file" if path == "$" else f"[{path.removeprefix('$.').replace('[...]', f'.{parameter}')}]"
    unknown = re.search(r"unknown field `([^`]*)`", what)
    if unknown is None:
        return f"{what} in {table}", "Mend the entry."
    known = _STRUCTS[path].__struct_fields__
    near = _near(unknown[1], known)
    remedy = f"Did you mean {near}?" if near else f"It may have {', '.join(known)}."
    return f"{table} has no key {unknown[1]}", remedy


def _near(name: str, known: Any) -> str:
    return next(iter(difflib.get_close_matches(name, list(known), 1)), "")
