"""What is answered about tasks, as types: for descriptions. `record.py`, `routes.py` and `stream.py` write it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pie.server.tasks.record import Status
from pie.server.tasks.request import TaskMessage

__all__ = ["TaskCanceled", "TaskEvent", "TaskReply", "TaskSent"]

Time = Annotated[datetime, Meta(tz=True)]


class TaskSent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A task that is kept, and will run in its turn."""

    task_id: str
    status: Literal["QUEUED"]


class TaskCanceled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A task that never runs, or ends soon, unless it has ended already."""

    status: Literal["cancel_requested"]
    task_id: str


class TaskResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was generated, and why it ended."""

    content: str
    finish_reason: Literal["stop", "length"]


class TaskFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a task failed."""

    code: str
    message: str


class TaskReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A task: `prompt` and `parameters` as they were sent, and `result` or `error` when it has ended."""

    task_id: str
    model_id: str
    status: Status
    prompt: list[TaskMessage]
    parameters: dict[str, Any]
    created_at: Time
    completed_at: Time | None = None
    result: TaskResult | None = None
    tokens_per_second: float | None = None
    error: TaskFault | None = None


class TaskNews(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The text of a TOKEN, the result of DONE, or the message of an ERROR and, with `pie serve --debug`, its trace."""

    text: str | None = None
    result: TaskResult | None = None
    tokens_per_second: float | None = None
    message: str | None = None
    trace: str | None = None


class TaskEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message of a stream; the last one is DONE, ERROR or CANCELED."""

    type: Literal["TOKEN", "PING", "DONE", "ERROR", "CANCELED"]
    data: TaskNews | None = None
