"""The files of saved contexts and the table that lists them: the files are the truth, a row says what stands in one.

A row is written, durable, just before its file takes its place; a file is removed before its row is. So a process that
is killed leaves at most one row that differs from its file, and a file's size and time tell so. `mend` puts that right,
and builds the table anew if it is lost or damaged. Whoever changes something holds a lock on the folder, which ends
with the process. Everything here reads or writes the disk: on an event loop, call it in a thread.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pie.durable import sync_folder
from pie.scheduler.snapshot_file import read_metadata
from pie.scheduler.snapshot_table import SavedContext, SnapshotTable

__all__ = ["SnapshotIndex"]

FILES = "*/*.safetensors"
DIGEST_KEY = "pie.digest"
_log = logging.getLogger(__name__)


class SnapshotIndex:
    """The saved contexts in a folder, of all users and models."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which need not be there yet."""
        self._folder = folder
        self._table = SnapshotTable(folder)

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self._folder

    def mend(self) -> list[SavedContext]:
        """Make rows and files agree; all saved contexts by user and name, damaged files left out.

        Only files that have no row, or another size or time than their row says, are opened. If the table cannot be
        written, the answer is right all the same.

        Raises:
            OSError: the folder cannot be read.
        """
        if not self._folder.is_dir():
            return []
        with self._locked():
            return self._mend()

    def names(self, user: str, fingerprint: str) -> list[str]:
        """What a user has saved of a model, in alphabetical order, as the table says.

        Raises:
            OSError: the folder cannot be read.
        """
        found = None
        with suppress(sqlite3.Error):  # a damaged table is built anew
            found = self._table.names(user, fingerprint)
        if found is None:
            found = [row.name for row in self.mend() if (row.user, row.fingerprint) == (user, fingerprint)]
        return sorted(found)

    def put(self, temporary: Path, path: Path) -> None:
        """Give a complete file its place, and its row; returns when both are on the disk.

        Args:
            temporary: the file, on the disk, in the folder of `path`.
            path: its place, in a folder of this folder.

        Raises:
            OSError, sqlite3.Error: that cannot be written; what was at `path` is still there, with its row.
        """
        row = _describe(temporary, self._relative(path))
        if row is None:
            raise OSError(f"{temporary} cannot be read back")
        with self._locked():
            self._change([row], [])
            try:
                temporary.replace(path)
            except OSError:
                self._mend()
                raise
            sync_folder(path.parent)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there, and its row; returns when it is gone from the disk.

        A row that cannot be removed, on a full disk, is only told in the log: the file says what is there.

        Raises:
            OSError: the file cannot be removed.
        """
        with self._locked():
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                sync_folder(path.parent)
            try:
                self._change([], [self._relative(path)])
            except (OSError, sqlite3.Error) as error:
                _log.warning("the row of a saved context that was deleted is still there: %s", error)

    def path_of(self, saved: SavedContext) -> Path:
        """Where a saved context lies."""
        return self._folder / saved.file

    def _mend(self) -> list[SavedContext]:
        rows = self._rows()
        right: dict[str, SavedContext] = {}
        for path in self._folder.glob(FILES):
            row = rows.get(self._relative(path))
            if row is None or not _is_of(row, path):
                row = _describe(path, self._relative(path))
            if row is not None:
                right[row.file] = row
        put = [row for row in right.values() if rows.get(row.file) != row]
        try:
            if put or rows.keys() - right.keys():
                self._change(put, rows.keys() - right.keys())
        except (OSError, sqlite3.Error) as error:
            _log.warning("the index of saved contexts cannot be written, files are read instead: %s", error)
        return sorted(right.values(), key=lambda row: (row.user, row.name, row.model))

    def _rows(self) -> dict[str, SavedContext]:
        try:
            return {row.file: row for row in self._table.rows() or ()}
        except sqlite3.Error:
            return {}

    def _change(self, put: list[SavedContext], delete: Iterable[str]) -> None:
        try:
            self._table.change(put, delete)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            _log.warning("the index of saved contexts is damaged and is built anew: %s", error)
            self._table.drop()
            self._table.change([*self._described(), *put], delete)

    def _described(self) -> Iterator[SavedContext]:
        for path in self._folder.glob(FILES):
            row = _describe(path, self._relative(path))
            if row is not None:
                yield row

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self._folder))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among all processes and threads that change this folder."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _describe(path: Path, file: str) -> SavedContext | None:
    """What a file's header says; None if it is damaged, or removed meanwhile."""
    try:
        metadata, stat = read_metadata(path) or {}, path.stat()
        tokens = len(json.loads(metadata["token_ids"]))
        user, name, model, fingerprint = (metadata[key] for key in ("user", "name", "model", "fingerprint"))
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return None
    digest = metadata.get(DIGEST_KEY, "")
    if not all(isinstance(text, str) for text in (user, name, model, fingerprint, digest)):
        return None
    return SavedContext(file, user, name, model, fingerprint, tokens, stat.st_size, stat.st_mtime_ns, digest)


def _is_of(row: SavedContext, path: Path) -> bool:
    """Whether a file is the one that a row was made of."""
    try:
        stat = path.stat()
    except OSError:
        return False
    return (row.size_bytes, row.saved_at_ns) == (stat.st_size, stat.st_mtime_ns)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH}
