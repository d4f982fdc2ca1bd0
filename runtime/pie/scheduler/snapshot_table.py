"""The rows of saved contexts: a sqlite table, each row durable when it is written. Knows no files but its own.

The table has a rollback journal, as that of installed programs has: reading needs no file beside it, and works on a
full disk. Each call has a connection of its own, so nothing is held between them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

__all__ = ["SavedContext", "SnapshotTable"]

FILE = "index.sqlite3"
SCHEMA = 1
BUSY_S = 30.0
TABLE = """
create table contexts (
    file text not null primary key,
    user text not null,
    name text not null,
    model text not null,
    fingerprint text not null,
    num_tokens integer not null,
    size_bytes integer not null,
    saved_at_ns integer not null,
    digest text not null
) strict
"""


@dataclass(frozen=True, slots=True, order=True)
class SavedContext:
    """One saved context.

    Attributes:
        file: where it lies, seen from the folder of saved contexts.
        user: whose it is; the tenant, where a server has several.
        name: what its user calls it.
        model: the model it is of.
        fingerprint: of that model's weights.
        num_tokens: tokens in it.
        size_bytes: of its file.
        saved_at_ns: when its file was written, in nanoseconds since 1970.
        digest: of the file's content, as the file has it too; empty for files of early versions.
    """

    file: str
    user: str
    name: str
    model: str
    fingerprint: str
    num_tokens: int
    size_bytes: int
    saved_at_ns: int
    digest: str

    @property
    def saved_at(self) -> float:
        """When its file was written, in seconds since 1970."""
        return self.saved_at_ns / 1e9


ALL = "select file, user, name, model, fingerprint, num_tokens, size_bytes, saved_at_ns, digest from contexts"
NAMES = "select name from contexts where user = ? and fingerprint = ?"
PUT = "insert or replace into contexts values (?, ?, ?, ?, ?, ?, ?, ?, ?)"


class SnapshotTable:
    """The table in a folder. Whoever changes it sees to it that nobody else does so at the same time."""

    def __init__(self, folder: Path) -> None:
        """Use the table in `folder`, which need not be there yet."""
        self._file = folder / FILE

    def rows(self) -> list[SavedContext] | None:
        """All rows; None if there is no table of this form.

        Raises:
            sqlite3.Error: the file is damaged, or cannot be read.
        """
        found = self._select(ALL, ())
        return None if found is None else [SavedContext(*columns) for columns in found]

    def names(self, user: str, fingerprint: str) -> list[str] | None:
        """What a user has saved of a model; as `rows`."""
        found = self._select(NAMES, (user, fingerprint))
        return None if found is None else [name for (name,) in found]

    def change(self, put: Iterable[SavedContext], delete: Iterable[str]) -> None:
        """Write rows and take out those of the given files, all or none; returns when that is on the disk.

        Raises:
            sqlite3.Error: it cannot be written, or is damaged; it is as it was.
        """
        with closing(self._connect()) as connection:
            connection.execute("begin immediate")
            try:
                if not _has_table(connection):
                    connection.execute("drop table if exists contexts")
                    connection.execute(TABLE)
                    connection.execute(f"pragma user_version = {SCHEMA}")
                connection.executemany("delete from contexts where file = ?", [(file,) for file in delete])
                connection.executemany(PUT, [astuple(row) for row in put])
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def drop(self) -> None:
        """Remove the table, damaged or not.

        Raises:
            OSError: it cannot be removed.
        """
        for suffix in ("-journal", ""):  # a journal without its table is harmless, a table without its journal is not
            self._file.with_name(FILE + suffix).unlink(missing_ok=True)

    def _select(self, query: str, values: tuple[str, ...]) -> list[Any] | None:
        if not self._file.is_file():
            return None
        with closing(self._connect()) as connection:
            return connection.execute(query, values).fetchall() if _has_table(connection) else None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, timeout=BUSY_S, isolation_level=None)
        connection.execute("pragma synchronous = extra")  # the end of the journal, too, is on the disk
        return connection


def _has_table(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("pragma user_version").fetchone()[0] == SCHEMA)
