"""What the operator chose for tasks."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DAY_S", "TaskSettings"]

DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """Bounds of tasks.

    Attributes:
        port: a second port where tasks alone are answered; None is without one, 0 takes a free one.
        max_running: tasks that run at a time.
        max_waiting: tasks that wait and run at a time.
        max_waiting_per_user: those of one user.
        max_kept: finished tasks that are kept, the newest.
        kept_s: how long they are.
        ping_s: how often a reader that is sent nothing else is told that the stream lives.
    """

    port: int | None = None
    max_running: int = 16
    max_waiting: int = 10_000
    max_waiting_per_user: int = 2_000
    max_kept: int = 10_000
    kept_s: float = 7 * DAY_S
    ping_s: float = 30.0
