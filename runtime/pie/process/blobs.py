"""Files named by the digest of what they hold. Knows bytes, not what they mean, and not who refers to them.

A file is written beside its place, synced and renamed, so that a name stands for all of its content or for nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

from pie.durable import make_folder, replace_file

__all__ = ["Blobs", "digest_of"]

"""How the names of files begin that are being written."""

CHUNK = 1 << 20
State = tuple[int, int, int, int]
"""Device, inode, size and time of change of a file: another content has another state."""


def digest_of(content: bytes) -> str:
    """The BLAKE3 digest of bytes, 64 lower-case hex digits."""
    return blake3(content).hexdigest()


class Blobs:
    """A folder of `<digest><suffix>` files; made when the first one is written."""

    def __init__(self, folder: Path, *, mode: int = 0o600) -> None:
        """Use what lies in `folder`; files are made with `mode`, and who may read them may enter the folder."""
        self._folder = folder
        self._mode = mode
        self._sound: dict[Path, State] = {}

    def path(self, digest: str, suffix: str) -> Path:
        """Where the file of a digest lies, or would lie."""
        return self._folder / f"{digest}{suffix}"

    def write(self, content: bytes, suffix: str) -> Path:
        """Make the file of a content, unless it is there and sound; returns when it is on the disk.

        Raises:
            OSError: it cannot be written; nothing is left of it.
        """
        path = self.path(digest_of(content), suffix)
        if self.is_sound(path):
            return path
        make_folder(self._folder, mode=self._mode | (self._mode & 0o444) >> 2)
        replace_file(path, content, mode=self._mode)
        return path

    def is_sound(self, path: Path) -> bool:
        """Whether a file is there and holds what its name says. It is read once for each state that it is seen in.

        Raises:
            OSError: it is there and cannot be read.
        """
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
                if self._sound.get(path) == state:
                    return True
                digest = blake3()
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
        except FileNotFoundError:
            return False
        if digest.hexdigest() != path.name.partition(".")[0]:
            return False
        self._sound[path] = state
        return True

    def files(self) -> Iterator[Path]:
        """All files, also what a killed writer has left."""
        if self._folder.is_dir():
            yield from self._folder.iterdir()

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        self._sound.pop(path, None)
        path.unlink(missing_ok=True)
