"""The programs that other programs may launch by name: those in a folder of the operator, and the installed ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pie.build.manifest import Manifest, find_manifest
from pie.errors import ProgramError
from pie.process.folder import ProgramFolder
from pie.process.identifier import is_identifier
from pie.process.store import ProgramStore

__all__ = ["Found", "Launchable"]


@dataclass(frozen=True, slots=True)
class Found:
    """A program that may be launched.

    Attributes:
        path: what is loaded.
        manifest: its `Pie.toml`; None if it has none.
        name: for people; None takes that of the file.
    """

    path: Path
    manifest: Manifest | None
    name: str | None = None


class Launchable:
    """Finds programs by name; what is in the folder comes first."""

    def __init__(self, folder: Path | None, installed: Path) -> None:
        """Look in `folder`, None holds no program, and then in the program store in the folder `installed`."""
        self._folder = ProgramFolder(folder)
        self._store = ProgramStore(installed)
        self._installed = installed

    def find(self, wanted: str) -> Found:
        """The program called `name` or `name@version`.

        Raises:
            ProgramError: `program-not-found`, `bad-manifest`, or what `ProgramStore.find` raises.
        """
        try:
            path = self._folder.find(wanted)
        except ProgramError as error:
            installed = self._find_installed(wanted) if error.code == "program-not-found" else None
            if installed is None:
                raise
            return installed
        return Found(path, find_manifest(path) if path.is_dir() else None)

    def hide(self, text: str) -> str:
        """A text without the paths of folders, which are not a program's business."""
        return self._folder.hide(text).replace(f"{self._installed}/", "")

    def _find_installed(self, wanted: str) -> Found | None:
        if not is_identifier(wanted):
            return None
        try:
            program = self._store.find(wanted)
        except ProgramError as error:
            if error.code == "program-not-found":
                return None
            raise
        return Found(program.path, program.manifest, program.name)
