"""What a command is to run: a program at a path, or an installed one by its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pie.build.manifest import Manifest, find_manifest
from pie.errors import ProgramError
from pie.process.identifier import is_identifier
from pie.process.store import ProgramStore

__all__ = ["Target", "find_target"]


@dataclass(frozen=True, slots=True)
class Target:
    """A program that has been found.

    Attributes:
        path: what `Runtime.load` takes.
        manifest: its `Pie.toml`; None if it has none.
        name: for people; None takes that of the file.
        neighbours: the folder that it lies in, with others that it may launch; None for an installed program.
    """

    path: Path
    manifest: Manifest | None
    name: str | None = None
    neighbours: Path | None = None


def find_target(word: str, installed: Path) -> Target:
    """Find a program: what lies at the path `word`, or else the installed program of that name.

    Raises:
        ProgramError: `program-not-found` with the nearest names; `bad-manifest`; what `ProgramStore.find` raises.
    """
    path = Path(word)
    if path.exists() or not is_identifier(word):
        return Target(path, find_manifest(path), neighbours=path.resolve().parent)
    try:
        program = ProgramStore(installed).find(word)
    except ProgramError as error:
        if error.code != "program-not-found":
            raise
        raise ProgramError(error.code, f"there is no {word} here, and {error.cause}", remedy=error.remedy) from None
    return Target(program.path, program.manifest, program.name)
