"""The WIT world of one program: what it imports, and `pie:<name>/run` that it exports."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from pie.build.modules import Language
from pie.build.sources import Sources
from pie.errors import ProgramError

__all__ = ["HANDLER_INTERFACE", "check_name", "exports_handler", "write_world"]

HANDLER_INTERFACE = "wasi:http/incoming-handler@0.2.4"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*")
_WORLDS: dict[Language, str] = {"python": "inferlet", "javascript": "inferlet-javascript"}
_RESERVED = frozenset({"core", "ext", "inferlet", "instruct", "mcp", "zo"})


def check_name(name: str) -> str:
    """Return `name` if a program can have it.

    Raises:
        ProgramError: `bad-name`.
    """
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise ProgramError(
            "bad-name",
            f"a program cannot be called {name!r}",
            remedy="Use lower-case words joined by single hyphens, each starting with a letter, such as my-agent.",
        )
    return name


def write_world(
    directory: Path,
    sources: Sources,
    *,
    name: str,
    language: Language = "python",
    imports: Sequence[str] = (),
    exports: Sequence[str] = (),
) -> Path:
    """Write the world `program` of the package `pie:<name>` into `directory`, contract included; return `directory`.

    Args:
        directory: does not exist yet.
        sources: where the contract is.
        name: the package name.
        language: of the program.
        imports: interfaces beyond those of every program.
        exports: interfaces beyond `run`.
    """
    shutil.copytree(sources.wit / "deps", directory / "deps")
    (directory / "deps" / "inferlet").mkdir()
    shutil.copy(sources.wit / "inferlet.wit", directory / "deps" / "inferlet")
    lines = [
        f"package pie:{name};",
        "",
        "interface run {",
        "  run: func(input: string) -> result<string, string>;",
        "}",
        "",
        "world program {",
        f"  include pie:inferlet/{_WORLDS[language]};",
        *(f"  import {interface};" for interface in imports),
        "  export run;",
        *(f"  export {interface};" for interface in exports),
        "}",
    ]
    (directory / "world.wit").write_text("\n".join(lines) + "\n")
    return directory


def exports_handler(directory: Path) -> bool:
    """Whether the world in `directory` is that of a program that answers HTTP requests."""
    return f"export {HANDLER_INTERFACE};" in (directory / "world.wit").read_text()
