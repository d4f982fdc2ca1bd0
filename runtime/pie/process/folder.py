"""The folder whose programs other programs may launch: they are found by name, and a name is never a path."""

from __future__ import annotations

import re
from pathlib import Path

from pie.build.manifest import find_manifest
from pie.build.modules import ENTRIES
from pie.errors import ProgramError

__all__ = ["ProgramFolder"]

NAME = re.compile(r"(?P<name>[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*)(?:@(?P<version>[A-Za-z0-9.+-]+))?")
MAX_NAME = 200
SUFFIXES = (".py", ".ts", ".js", ".wasm")


class ProgramFolder:
    """Finds `NAME/` with a program in it, or `NAME` with one of `SUFFIXES`, directly in one folder of the operator."""

    def __init__(self, folder: Path | None) -> None:
        """Look in `folder`; None holds no program."""
        self._folder = folder

    def find(self, wanted: str) -> Path:
        """The path of a program, to be loaded as if the operator had given it.

        Args:
            wanted: `name`, or `name@version` for one whose Pie.toml says that version.

        Raises:
            ProgramError: `program-not-found`, or `bad-manifest` if its version cannot be read.
        """
        match = NAME.fullmatch(wanted) if len(wanted) <= MAX_NAME else None
        if match is None:
            raise ProgramError(
                "program-not-found",
                f"{wanted[:MAX_NAME]!r} is no name of a program",
                remedy="Use its name, such as chat or chat@0.1.0; paths are not allowed.",
            )
        path = self._path(match["name"])
        if path is None:
            raise ProgramError(
                "program-not-found",
                f"no program that may be launched is called {match['name']!r}",
                remedy="Install it, or put it beside the launched program or into the folder that --programs names.",
            )
        if match["version"] is not None:
            _check_version(match["name"], path, match["version"])
        return path

    def hide(self, text: str) -> str:
        """A text without the folder's own path, which is not a program's business."""
        return text if self._folder is None else text.replace(f"{self._folder}/", "")

    def _path(self, name: str) -> Path | None:
        if self._folder is None:
            return None
        folder = self._folder / name
        if any((folder / main).is_file() for main in ENTRIES):
            return folder
        files = (self._folder / f"{name}{suffix}" for suffix in SUFFIXES)
        return next((file for file in files if file.is_file()), None)


def _check_version(name: str, path: Path, version: str) -> None:
    manifest = find_manifest(path) if path.is_dir() else None
    if manifest is None or manifest.package.version != version:
        there = "no version" if manifest is None else manifest.package.version
        raise ProgramError(
            "program-not-found",
            f"{name} is there with {there}, not {version}",
            remedy="Launch it by its name alone, or put that version there.",
        )
