"""All tasks of a server: kept before anybody is told of them, run in their order, a few at a time."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pie.errors import PieError, ProcessError, RequestError
from pie.server.service import Service
from pie.server.tasks.live import Live
from pie.server.tasks.record import End, Record, failed
from pie.server.tasks.running import NO_ROOM_S, run_task
from pie.server.tasks.settings import TaskSettings
from pie.server.tasks.table import TaskTable
from pie.server.users import Holder

__all__ = ["Tasks"]

log = logging.getLogger(__name__)


class Tasks:
    """Waiting and running tasks in memory, all of them in the table.

    Attributes:
        service: whose processes run them.
        settings: bounds.
    """

    def __init__(self, service: Service, settings: TaskSettings, folder: Path) -> None:
        """Use the table in `folder`, which is made for the first task."""
        self.service = service
        self.settings = settings
        self._table = TaskTable(folder)
        self._opening = asyncio.Lock()
        self._is_open = False
        self._live: dict[str, Live] = {}  # all that have not ended
        self._waiting: dict[str, Live] = {}  # those of them that were not begun, the oldest first
        self._running: dict[asyncio.Task[None], Live] = {}
        self._counts: Counter[str] = Counter()  # of those that have not ended and those that are added, by user
        self._last: asyncio.Event | None = None  # of the task that was begun last, see `Live`
        self._looking_again: asyncio.TimerHandle | None = None
        self._closing = asyncio.Event()

    async def start(self) -> None:
        """Go on with what an earlier server has left; what hinders that is told to whoever sends a task."""
        try:
            if self._table.file.exists():
                await self._open()
        except (PieError, OSError) as error:
            log.error("no tasks are taken: %s", error)

    async def submit(self, record: Record, holder: Holder) -> None:
        """Take a task of a user; it is on the disk when this returns.

        Raises:
            ProcessError: `shutting-down`, `too-many-tasks`, `tasks-not-stored`, `tasks-in-use`, `tasks-unusable`.
        """
        self.service.check_open()
        await self._open()
        self._check_room(holder.user)
        self._counts[holder.user] += 1
        try:
            await self._table.add(record)
        except BaseException:
            self._counts[holder.user] -= 1
            raise
        self._enlist(Live(record.task_id, holder))
        self._advance()

    async def find(self, task_id: str, *, owner: str) -> Record:
        """A user's task.

        Raises:
            RequestError: `task-not-found`, also for one of another user, and for one that ended too long ago.
        """
        if not _is_id(task_id) or not (self._is_open or self._table.file.exists()):
            raise _not_found(task_id)
        await self._open()
        record = await self._table.find(str(uuid.UUID(task_id)))
        if record is None or record.owner != owner or (record.completed_at or time.time()) < self._oldest_s:
            raise _not_found(task_id)
        return record

    def live(self, task_id: str, *, owner: str) -> Live | None:
        """A user's task that has not ended; None if there is none."""
        live = self._live.get(str(uuid.UUID(task_id))) if _is_id(task_id) else None
        return live if live is not None and live.owner == owner else None

    async def cancel(self, task_id: str, *, owner: str) -> None:
        """See that a task does not run, or not longer; one that has ended stays as it is.

        Raises:
            RequestError: `task-not-found`.
            ProcessError: as `submit`.
        """
        live = self.live(task_id, owner=owner)
        if live is None:
            await self.find(task_id, owner=owner)
            return
        live.canceled.set()
        if self._waiting.pop(live.task_id, None) is not None:
            await self._finish(live, End("CANCELED"))

    async def settle(self) -> None:
        """Return when no task runs; nothing new may be taken any more."""
        while self._running:
            await asyncio.wait(self._running)

    async def close(self) -> None:
        """Interrupt what runs, and leave what waits for the next server."""
        self._closing.set()
        if self._looking_again is not None:
            self._looking_again.cancel()
        await self.settle()
        for live in self._live.values():
            live.leave()
        async with self._opening:
            await self._table.close()

    @property
    def _oldest_s(self) -> float:
        return time.time() - self.settings.kept_s

    async def _open(self) -> None:
        async with self._opening:
            if self._closing.is_set():
                raise ProcessError(
                    "shutting-down", "the server stops", remedy="Try again when it has been started anew."
                )
            if self._is_open:
                return
            left = await self._table.open(now_s=time.time())
            await self._table.forget(before_s=self._oldest_s, max_kept=self.settings.max_kept)
            self._is_open = True
        for task_id, owner in left:
            self._counts[owner] += 1
            self._enlist(Live(task_id, Holder(owner)))
        self._advance()

    def _check_room(self, user: str) -> None:
        counted = (
            (self._counts.total(), self.settings.max_waiting, "tasks"),
            (self._counts[user], self.settings.max_waiting_per_user, "tasks of yours"),
        )
        for num_tasks, limit, whose in counted:
            if num_tasks >= limit:
                raise ProcessError(
                    "too-many-tasks",
                    f"{num_tasks} {whose} wait and run",
                    remedy="Wait until some have ended, or cancel them.",
                )

    def _enlist(self, live: Live) -> None:
        self._live[live.task_id] = self._waiting[live.task_id] = live

    def _advance(self) -> None:
        """Begin what may begin."""
        if self.service.is_draining or self._closing.is_set():
            return
        for live in self._startable():
            del self._waiting[live.task_id]
            live.after, self._last = self._last, live.turned
            task = asyncio.get_running_loop().create_task(self._carry_out(live), name=f"carry out {live.task_id}")
            self._running[task] = live
            task.add_done_callback(self._carried_out)
        if self._waiting and len(self._running) < self.settings.max_running and self._looking_again is None:
            self._looking_again = asyncio.get_running_loop().call_later(NO_ROOM_S, self._look_again)

    def _look_again(self) -> None:
        """See whether users have room by now, since nobody tells when a process ends."""
        self._looking_again = None
        self._advance()

    def _startable(self) -> Iterator[Live]:
        """The oldest tasks of users who have room."""
        full: set[str] = set()
        for live in tuple(self._waiting.values()):
            if len(self._running) >= self.settings.max_running:
                return
            if live.owner in full:
                continue
            num_starting = sum(other.owner == live.owner and not other.has_launched for other in self._running.values())
            try:
                self.service.check_room(live.owner, num_starting + 1)
            except ProcessError:
                full.add(live.owner)
                continue
            yield live

    def _carried_out(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task).turned.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task was not kept: %s", error)
        self._advance()

    async def _carry_out(self, live: Live) -> None:
        """Run one task; what the server has no time for any more waits for the next one."""
        try:
            await self._table.mark(live.task_id, "RUNNING")
            record = await self._table.find(live.task_id)
            if record is None:
                raise RuntimeError("a task that waits is not in the table")
            end = await run_task(self.service, record, live, self._closing)
            if end is None and live.canceled.is_set():
                end = End("CANCELED")
            if end is None:
                await self._table.mark(live.task_id, "QUEUED")
                self._waiting[live.task_id] = live  # where it can be canceled
                return
        except PieError as error:
            end = failed(error, live.text)
        await self._finish(live, end)

    async def _finish(self, live: Live, end: End) -> None:
        """Keep how a task ended, and tell its readers then."""
        try:
            await asyncio.gather(
                self._table.finish(live.task_id, end, now_s=time.time()),
                self._table.forget(before_s=self._oldest_s, max_kept=self.settings.max_kept),
            )
        except PieError as error:
            end = failed(error, live.text)
            raise
        finally:
            del self._live[live.task_id]
            self._counts[live.owner] -= 1
            live.finish(end)


def _is_id(task_id: str) -> bool:
    try:
        uuid.UUID(task_id)
    except ValueError:
        return False
    return True


def _not_found(task_id: str) -> RequestError:
    return RequestError(
        "task-not-found", f"there is no task {task_id[:100]!r}", remedy="Check the id; tasks are kept for a while."
    )
