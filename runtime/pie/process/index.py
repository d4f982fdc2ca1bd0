"""The table of installed programs: sqlite, in one file that several processes use at once.

Each operation has a connection of its own, so nothing is held between them. The file has a rollback journal, no
write-ahead log: reading then needs no file beside it, and works on a full disk and in a folder that may not be written.
Whoever changes the table locks readers out for the moment of the commit only. Knows rows, not the files that they name.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from pie.durable import make_folder
from pie.errors import ProgramError

__all__ = ["Change", "Index", "Row", "not_readable"]

FILE = "index.sqlite3"
SCHEMA = 1
BUSY_S = 30.0
TABLE = """
create table programs (
    name text not null,
    version text not null,
    digest text not null,
    suffix text not null,
    size_bytes integer not null,
    manifest text not null,
    installed_at real not null,
    primary key (name, version)
) strict
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One installed program.

    Attributes:
        name, version: what it is called.
        digest: BLAKE3 of its file.
        suffix: of its file, which says what it is.
        size_bytes: of its file.
        manifest: the text of its `Pie.toml`.
        installed_at: seconds since 1970.
    """

    name: str
    version: str
    digest: str
    suffix: str
    size_bytes: int
    manifest: str
    installed_at: float


ALL = "select name, version, digest, suffix, size_bytes, manifest, installed_at from programs"
NAMED = f"{ALL} where name = ?"
PUT = "insert or replace into programs values (?, ?, ?, ?, ?, ?, ?)"


class Index:
    """The table in a folder. A table that is not there is empty; the first change makes it."""

    def __init__(self, folder: Path) -> None:
        """Use the table in `folder`."""
        self._folder = folder
        self._file = folder / FILE

    def rows(self) -> list[Row]:
        """All programs.

        Raises:
            ProgramError: `store-unusable`, `store-busy`.
        """
        return self._read(ALL, ())

    def named(self, name: str) -> list[Row]:
        """All versions of a program.

        Raises:
            ProgramError: as `rows`.
        """
        return self._read(NAMED, (name,))

    @contextmanager
    def change(self, *, wait_s: float = BUSY_S) -> Iterator[Change]:
        """Change the table, alone among all processes. What was changed is on the disk when the block is left.

        Raises:
            ProgramError: `program-not-stored` if that cannot be written, `store-unusable`, `store-busy`.
        """
        with self._told():
            make_folder(self._folder)
            with closing(self._connect(wait_s)) as connection:
                connection.execute("begin immediate")
                try:
                    if not _check_schema(connection, self._file):
                        connection.execute(TABLE)
                        connection.execute(f"pragma user_version = {SCHEMA}")
                    yield Change(connection)
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()

    def _read(self, query: str, values: tuple[str, ...]) -> list[Row]:
        with self._told():
            try:
                if not self._file.is_file():
                    return []
            except OSError as error:
                raise not_readable(str(self._file), error.strerror or str(error)) from error
            with closing(self._connect(BUSY_S)) as connection:
                return _select(connection, query, values) if _check_schema(connection, self._file) else []

    def _connect(self, wait_s: float) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, timeout=wait_s, isolation_level=None)
        connection.execute("pragma synchronous = extra")  # the end of the journal, too, is on the disk
        return connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell errors of sqlite and the system as ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise _explain(error, self._file) from error
        except OSError as error:
            raise not_stored(str(error.filename or self._folder), error.strerror or str(error)) from error


class Change:
    """What can be done while nobody else changes the table."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Work in a transaction that was begun."""
        self._connection = connection

    def named(self, name: str) -> list[Row]:
        """All versions of a program."""
        return _select(self._connection, NAMED, (name,))

    def count(self) -> int:
        """Programs in all."""
        return int(self._connection.execute("select count(*) from programs").fetchone()[0])

    def put(self, row: Row) -> None:
        """Add a program, or replace the one of its name and version."""
        self._connection.execute(PUT, astuple(row))

    def delete(self, row: Row) -> None:
        """Take a program out."""
        self._connection.execute("delete from programs where name = ? and version = ?", (row.name, row.version))

    def files(self) -> set[str]:
        """The names of all files that programs have."""
        return {digest + suffix for digest, suffix in self._connection.execute("select digest, suffix from programs")}


def not_stored(what: str, why: str) -> ProgramError:
    """The error for a store that cannot be written."""
    return ProgramError(
        "program-not-stored",
        f"{what} cannot be written: {why}",
        remedy="Make room on the disk and check the rights of PIE_HOME.",
    )


def not_readable(what: str, why: str) -> ProgramError:
    """The error for a store that cannot be read."""
    return ProgramError("store-unusable", f"{what} cannot be read: {why}", remedy="Check the rights of PIE_HOME.")


def _select(connection: sqlite3.Connection, query: str, values: tuple[str, ...]) -> list[Row]:
    return [Row(*columns) for columns in connection.execute(query, values)]


def _check_schema(connection: sqlite3.Connection, file: Path) -> bool:
    """Whether the table is there; raises `store-unusable` for one of a later version of Pie."""
    schema = connection.execute("pragma user_version").fetchone()[0]
    if schema > SCHEMA:
        raise ProgramError(
            "store-unusable",
            f"{file} was written by a newer version of Pie (its form is {schema}, this version knows {SCHEMA})",
            remedy="Use that version, or another PIE_HOME.",
        )
    return bool(schema == SCHEMA)


def _explain(error: sqlite3.Error, file: Path) -> ProgramError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return ProgramError(
            "store-busy",
            f"another process has been changing {file} for {BUSY_S:g} s",
            remedy="Try again when it is done.",
        )
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}:
        return not_stored(str(file), str(error))
    if code == sqlite3.SQLITE_CANTOPEN:
        return not_readable(str(file), str(error))
    return ProgramError(
        "store-unusable",
        f"{file} cannot be used: {error}",
        remedy="Move it away and install the programs again.",
    )
