"""The table of tasks: sqlite, in one file that one server uses at a time, with a rollback journal.

What is done together is written together: whoever comes while the disk is busy shares the next commit. Knows rows, and
nothing of who waits for them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pie.durable import make_folder
from pie.errors import ProcessError
from pie.server.tasks.record import End, Record, Status, failed

__all__ = ["TaskTable"]

FILE = "tasks.sqlite3"
SCHEMA = 2
BUSY_S = 1.0
TABLE = """
create table tasks (
    number integer primary key autoincrement,
    task_id text not null unique,
    owner text not null,
    model_id text not null,
    prompt text not null,
    parameters text not null,
    given text not null,
    created_at real not null,
    status text not null,
    completed_at real,
    text text not null default '',
    finish_reason text not null default '',
    tokens_per_second real not null default 0,
    error_code text not null default '',
    error_message text not null default '',
    error_trace text not null default ''
) strict
"""
ADD_TRACE = "alter table tasks add column error_trace text not null default ''"
"""What a table of schema 1 lacks."""

BY_END = "create index tasks_by_end on tasks (completed_at) where completed_at is not null"
INSERT = """
insert into tasks (task_id, owner, model_id, prompt, parameters, given, created_at, status)
values (?, ?, ?, ?, ?, ?, ?, 'QUEUED')
"""
FINISH = """
update tasks set status = ?, completed_at = ?, text = ?, finish_reason = ?, tokens_per_second = ?, error_code = ?,
error_message = ?, error_trace = ? where task_id = ?
"""
FIND = """
select task_id, owner, model_id, prompt, parameters, given, created_at, status, completed_at,
text, finish_reason, tokens_per_second, error_code, error_message, error_trace from tasks where task_id = ?
"""
NUM_SENT = 7
"""Columns of it that never change."""

DROP_MANY = """
delete from tasks where number in (
    select number from tasks where completed_at is not null order by completed_at desc limit -1 offset ?
)
"""
T = TypeVar("T")
Write = Callable[[sqlite3.Connection], object]


class TaskTable:
    """The tasks of a server."""

    def __init__(self, folder: Path) -> None:
        """Use the table in `folder`; `open` it first."""
        self._folder = folder
        self.file = folder / FILE
        self._thread = ThreadPoolExecutor(1, "tasks")
        self._connection: sqlite3.Connection | None = None
        self._waiting: deque[tuple[Write, asyncio.Future[None]]] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def open(self, *, now_s: float) -> list[tuple[str, str]]:
        """Begin: what ran when the last server ended was interrupted.

        Returns:
            Id and owner of each task that waits, in their order.

        Raises:
            ProcessError: `tasks-in-use`, `tasks-unusable`, `tasks-not-stored`.
        """
        return await self._do(lambda: self._open(now_s))

    async def add(self, record: Record) -> None:
        """Keep a new task; it is on the disk when this returns.

        Raises:
            ProcessError: `tasks-not-stored`.
        """
        values = (record.task_id, record.owner, record.model_id, record.prompt, record.parameters, record.given)
        await self._write(lambda connection: connection.execute(INSERT, (*values, record.created_at)))

    async def mark(self, task_id: str, status: Status) -> None:
        """Say what a task is doing; raises as `add`."""
        query = "update tasks set status = ? where task_id = ?"
        await self._write(lambda connection: connection.execute(query, (status, task_id)))

    async def finish(self, task_id: str, end: End, *, now_s: float) -> None:
        """Say how a task ended; raises as `add`."""
        await self._write(lambda connection: connection.execute(FINISH, _ended(task_id, end, now_s)))

    async def forget(self, *, before_s: float, max_kept: int) -> None:
        """Drop what ended before, and the oldest of too many that have ended; raises as `add`."""

        def forget(connection: sqlite3.Connection) -> None:
            connection.execute("delete from tasks where completed_at < ?", (before_s,))
            connection.execute(DROP_MANY, (max_kept,))

        await self._write(forget)

    async def find(self, task_id: str) -> Record | None:
        """A task; None if there is none.

        Raises:
            ProcessError: `tasks-unusable`.
        """
        return await self._do(lambda: _find(self._opened(), task_id))

    async def close(self) -> None:
        """Write what waits, and let another server have the table."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        await self._do(self._close)
        self._thread.shutdown()

    async def _do(self, work: Callable[[], T]) -> T:
        def told() -> T:
            with self._told():
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, told)

    async def _write(self, write: Write) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((write, done))
        if self._writing is None:
            self._writing = loop.create_task(self._write_all(), name="tasks")
        await done

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                writes, waiting = zip(*self._waiting, strict=True)
                self._waiting.clear()
                await self._commit(writes, waiting)
        finally:
            self._writing = None

    async def _commit(self, writes: tuple[Write, ...], waiting: tuple[asyncio.Future[None], ...]) -> None:
        error: BaseException | None = None
        try:
            await self._do(lambda: _transact(self._opened(), writes))
        except (ProcessError, RuntimeError) as fault:
            error = fault
        for done in waiting:
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def _open(self, now_s: float) -> list[tuple[str, str]]:
        make_folder(self._folder)
        connection = sqlite3.connect(self.file, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("pragma locking_mode = exclusive")  # nobody else may believe that our tasks were left
            connection.execute("pragma synchronous = extra")
            _transact(connection, [self._make, lambda connection: _interrupt(connection, now_s)])
            query = "select task_id, owner from tasks where status = 'QUEUED' order by number"
            waiting = connection.execute(query).fetchall()
        except BaseException:
            connection.close()
            raise
        self.file.chmod(0o600)
        self._connection = connection
        return waiting

    def _make(self, connection: sqlite3.Connection) -> None:
        schema = connection.execute("pragma user_version").fetchone()[0]
        if schema > SCHEMA:
            raise _unusable(f"{self.file} was written by a newer version of Pie")
        if schema == 0:
            connection.execute(TABLE)
            connection.execute(BY_END)
        elif schema < SCHEMA:
            connection.execute(ADD_TRACE)
        if schema < SCHEMA:
            connection.execute(f"pragma user_version = {SCHEMA}")

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError("the table of tasks is not open")
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell errors of sqlite and the system as ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise _explain(error, self.file) from error
        except OSError as error:
            raise _not_stored(str(error.filename or self.file), error.strerror or str(error)) from error


def _transact(connection: sqlite3.Connection, writes: list[Write] | tuple[Write, ...]) -> None:
    connection.execute("begin exclusive")
    try:
        for write in writes:
            write(connection)
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _interrupt(connection: sqlite3.Connection, now_s: float) -> None:
    error = ProcessError("interrupted", "the server ended while the task ran", remedy="Send the task again.")
    end = failed(error, "", status="INTERRUPTED")
    running = connection.execute("select task_id from tasks where status = 'RUNNING'").fetchall()
    connection.executemany(FINISH, [_ended(task_id, end, now_s) for (task_id,) in running])


def _ended(task_id: str, end: End, now_s: float) -> tuple[object, ...]:
    said = (end.text, end.finish_reason, end.tokens_per_second)
    return (end.status, now_s, *said, end.error_code, end.error_message, end.error_trace, task_id)


def _find(connection: sqlite3.Connection, task_id: str) -> Record | None:
    row = connection.execute(FIND, (task_id,)).fetchone()
    if row is None:
        return None
    status, completed_at, *said = row[NUM_SENT:]
    end = None if completed_at is None else End(status, *said)
    return replace(Record(*row[:NUM_SENT]), status=status, completed_at=completed_at, end=end)


def _explain(error: sqlite3.Error, file: Path) -> ProcessError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return ProcessError(
            "tasks-in-use",
            f"another server uses {file}",
            remedy="Send tasks to that server, or give this one a PIE_HOME of its own.",
        )
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}:
        return _not_stored(str(file), str(error))
    return _unusable(f"{file} cannot be used: {error}")


def _not_stored(what: str, why: str) -> ProcessError:
    return ProcessError(
        "tasks-not-stored",
        f"{what} cannot be written: {why}",
        remedy="Make room on the disk and check the rights of PIE_HOME.",
    )


def _unusable(cause: str) -> ProcessError:
    return ProcessError("tasks-unusable", cause, remedy="Move it away, or use another PIE_HOME.")
