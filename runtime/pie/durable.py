"""Files that are complete and on the disk, or as they were before: through a kill, and through a power cut."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["NEW", "make_folder", "replace_file", "replacing", "sync_folder"]

NEW = ".new-"
"""How the names of files begin that were being written when somebody was killed."""


@contextmanager
def replacing(path: Path, *, mode: int = 0o600) -> Iterator[Path]:
    """A new file beside `path`, to be written in place, which takes the place of `path` if the block ends well.

    Raises:
        OSError: it cannot be written; `path` is as it was.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=NEW)
    temporary = Path(name)
    try:
        yield temporary
        os.fchmod(handle, mode)
        os.fsync(handle)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    sync_folder(path.parent)


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Make a file, or give it another content.

    Raises:
        OSError: it cannot be written; it is as it was.
    """
    with replacing(path, mode=mode) as temporary:
        temporary.write_bytes(content)


def make_folder(folder: Path, *, mode: int = 0o700) -> None:
    """Make a folder, and those above it, if it is not there; returns when it is on the disk."""
    if not folder.is_dir():
        make_folder(folder.parent, mode=mode)
        folder.mkdir(mode, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
