"""What is asked and answered about tasks, for descriptions."""

from __future__ import annotations

from pie.server.surfaces.openapi import Operation
from pie.server.surfaces.refusal import OF_TASKS
from pie.server.tasks.replies import TaskCanceled, TaskEvent, TaskReply, TaskSent
from pie.server.tasks.request import TaskRequest

__all__ = ["TASK_OPERATIONS"]

OF_A_TASK = (401, 404, 405, 500, 503)
OF_KEPT = OF_TASKS - {"too-many-tasks"}

TASK_OPERATIONS = (
    Operation(
        "post",
        "/inference/chat",
        "Keep a chat as a task, which runs in its turn",
        TaskSent,
        (400, 401, 404, 405, 408, 413, 429, 500, 502, 503),
        request=TaskRequest,
        codes=OF_TASKS - {"task-not-found"},
    ),
    Operation("get", "/inference/{task_id}", "One task", TaskReply, OF_A_TASK, codes=OF_KEPT),
    Operation(
        "post",
        "/inference/{task_id}/cancel",
        "See that a task does not run on",
        TaskCanceled,
        OF_A_TASK,
        codes=OF_TASKS,
    ),
    Operation(
        "get",
        "/inference/{task_id}/stream",
        "All tokens of a task from the first, then how it ended: a WebSocket",
        TaskEvent,
        (401,),
        status=101,
        note="Each message is of this type. Closed with 1000 after the last, 4404 if there is no such task.",
    ),
)
