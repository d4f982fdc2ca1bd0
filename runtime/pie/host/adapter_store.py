"""The file of each named adapter: written before a change is told as done, read when the name is opened again.

Any text is a user or a name, so folders and files are called by digests, and the first line of a file is JSON that says
whose it is. Knows bytes, not what they mean.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pie.durable import replace_file
from pie.errors import AdapterError

__all__ = ["MAX_ADAPTERS", "AdapterStore", "SavedAdapter", "saved_adapters"]

MAX_ADAPTERS = 256
"""Named adapters of one user."""
_MAX_BYTES = 4 << 30
_FORMAT = "pie-named-adapter/1"
_MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SavedAdapter:
    """One named adapter, as a listing shows it.

    Attributes:
        user: whose it is.
        name: what its user calls it.
        model: the model it was made for.
        size_bytes: of its file.
        saved_at: seconds since 1970.
        path: its file.
    """

    user: str
    name: str
    model: str
    size_bytes: int
    saved_at: float
    path: Path


def saved_adapters(directory: Path) -> list[SavedAdapter]:
    """All adapters in the stores below `directory`, by user and name, except damaged files."""
    found = [_describe(path) for path in directory.glob("*/*/*.adapter")]
    return sorted((saved for saved in found if saved is not None), key=lambda saved: (saved.user, saved.name))


class AdapterStore:
    """The adapter files of one model."""

    def __init__(self, directory: Path, *, model: str) -> None:
        """Use what lies in `directory`, which is made when something is written; `model` is noted in each file."""
        self._directory = directory
        self._model = model

    def read(self, user: str, name: str) -> bytes | None:
        """The file of a name, empty for an adapter without weights; None if there is none.

        Raises:
            AdapterError: `adapter-unusable` if it cannot be read.
        """
        try:
            content = self._path(user, name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise AdapterError(
                "adapter-unusable",
                f"the file of adapter {name!r} cannot be read: {error.strerror}",
                remedy="Check the rights of PIE_HOME.",
            ) from error
        line, _, weights = content.partition(b"\n")
        if _read_line(line) is None:
            raise AdapterError(
                "adapter-unusable",
                f"the file of adapter {name!r} is damaged",
                remedy="Destroy the adapter, and create it again.",
            )
        return weights

    def write(self, user: str, name: str, content: bytes) -> None:
        """Make or replace the file of a name: complete and on the disk, or as it was.

        Raises:
            AdapterError: `too-many-adapters` if the user would have more, or larger ones, than may be;
                `adapter-not-saved`.
        """
        path = self._path(user, name)
        try:
            path.parent.mkdir(0o700, parents=True, exist_ok=True)
            sizes = [other.stat().st_size for other in path.parent.glob("*.adapter") if other != path]
            if len(sizes) >= MAX_ADAPTERS or sum(sizes) + len(content) > _MAX_BYTES:
                raise AdapterError(
                    "too-many-adapters",
                    f"{len(sizes)} adapters of {sum(sizes)} bytes are there already",
                    remedy="Destroy one of them first.",
                )
            line = json.dumps({"format": _FORMAT, "user": user, "name": name, "model": self._model}).encode()
            replace_file(path, line + b"\n" + content)
        except OSError as error:
            raise _not_saved(name, error) from error

    def delete(self, user: str, name: str) -> None:
        """Remove the file of a name, if there is one.

        Raises:
            AdapterError: `adapter-not-saved` if it cannot be removed.
        """
        try:
            self._path(user, name).unlink(missing_ok=True)
        except OSError as error:
            raise _not_saved(name, error) from error

    def _path(self, user: str, name: str) -> Path:
        folder, file = (hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in (user, name))
        return self._directory / folder / f"{file}.adapter"


def _read_line(line: bytes) -> dict[str, str] | None:
    """What the first line of a file says; None if it is no such line."""
    try:
        entries = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entries, dict) or entries.get("format") != _FORMAT:
        return None
    return entries if all(isinstance(entries.get(key), str) for key in ("user", "name", "model")) else None


def _describe(path: Path) -> SavedAdapter | None:
    try:
        with path.open("rb") as file:
            entries = _read_line(file.readline(_MAX_LINE_BYTES))
        stat = path.stat()
    except OSError:  # removed meanwhile
        return None
    if entries is None:
        return None
    named = entries["user"], entries["name"], entries["model"]
    return SavedAdapter(*named, size_bytes=stat.st_size, saved_at=stat.st_mtime, path=path)


def _not_saved(name: str, error: OSError) -> AdapterError:
    return AdapterError(
        "adapter-not-saved",
        f"the file of adapter {name!r} cannot be changed: {error.strerror}",
        remedy="Make room on the disk and check the rights of PIE_HOME.",
    )
