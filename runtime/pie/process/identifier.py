"""Names of installed programs: `chat` or `chat@0.1.0`, and which of two versions is newer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pie.errors import ProgramError

__all__ = ["Identifier", "is_identifier", "parse_identifier", "version_order"]

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
MAX_NAME = 128
MAX_VERSION = 64


@dataclass(frozen=True, slots=True)
class Identifier:
    """What somebody calls a program.

    Attributes:
        name: letters, digits, `_` and `-`, beginning with a letter or digit.
        version: three numbers joined by dots; None stands for the newest one.
    """

    name: str
    version: str | None = None

    def __str__(self) -> str:
        """As people write it."""
        return self.name if self.version is None else f"{self.name}@{self.version}"


def parse_identifier(text: str) -> Identifier:
    """Read `name` or `name@major.minor.patch`.

    Raises:
        ProgramError: `bad-identifier`.
    """
    name, at, version = text.partition("@")
    if not _fits(NAME, name, MAX_NAME) or (at and not _fits(VERSION, version, MAX_VERSION)):
        raise ProgramError(
            "bad-identifier",
            f"{text[: MAX_NAME + MAX_VERSION]!r} is no name of a program",
            remedy="Write a name, or a name and three numbers, such as chat@0.1.0.",
        )
    return Identifier(name, version if at else None)


def is_identifier(text: str) -> bool:
    """Whether `parse_identifier` takes it."""
    try:
        parse_identifier(text)
    except ProgramError:
        return False
    return True


def version_order(version: str) -> tuple[int, int, int, str]:
    """A key that sorts versions by their numbers, as Semantic Versioning 2.0.0 does; the last is the newest.

    The text decides between versions of equal numbers, which differ in leading zeros.
    """
    major, minor, patch = map(int, version.split("."))
    return major, minor, patch, version


def _fits(pattern: re.Pattern[str], text: str, size: int) -> bool:
    return len(text) <= size and pattern.fullmatch(text) is not None
