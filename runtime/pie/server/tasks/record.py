"""One task as it is kept, and as it is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pie.errors import PieError
from pie.process.process import ProgramFailed

__all__ = ["End", "Record", "Status", "failed"]

Status = Literal["QUEUED", "RUNNING", "COMPLETED", "FAILED", "CANCELED", "INTERRUPTED"]


@dataclass(frozen=True, slots=True)
class End:
    """How a task ended.

    Attributes:
        status: one of those after which nothing more comes.
        text: what was generated.
        finish_reason: why generation stopped; empty unless completed.
        tokens_per_second: of the whole run; 0 unless completed.
        error_code: what went wrong; empty if nothing did.
        error_message: the same for people.
        error_trace: the program's own traceback; empty unless it raised, and the server shows tracebacks.
    """

    status: Status
    text: str = ""
    finish_reason: str = ""
    tokens_per_second: float = 0.0
    error_code: str = ""
    error_message: str = ""
    error_trace: str = ""

    def told(self) -> dict[str, Any]:
        """What is told of it, by the names of `GET /inference/{task_id}`."""
        if self.status == "COMPLETED":
            result = {"content": self.text, "finish_reason": self.finish_reason}
            return {"result": result, "tokens_per_second": self.tokens_per_second}
        if self.error_code:
            return {"error": {"code": self.error_code, "message": self.error_message}}
        return {}

    def event(self, *, with_trace: bool) -> dict[str, Any]:
        """The last event of a stream; `with_trace` it has the traceback of a program that raised."""
        if self.status == "COMPLETED":
            return {"type": "DONE", "data": self.told()}
        if self.status == "CANCELED":
            return {"type": "CANCELED"}
        trace = {"trace": self.error_trace} if with_trace and self.error_trace else {}
        return {"type": "ERROR", "data": {"message": self.error_message, **trace}}


def failed(error: PieError, text: str, *, status: Status = "FAILED", with_trace: bool = False) -> End:
    """The end of a task that met an error; `with_trace` it keeps the traceback of a program that raised."""
    message = f"{error.cause}. {error.remedy}" if error.remedy else error.cause
    trace = error.traceback if with_trace and isinstance(error, ProgramFailed) else ""
    return End(status, text, error_code=error.code.replace("-", "_"), error_message=message, error_trace=trace)


@dataclass(frozen=True, slots=True)
class Record:
    """One task.

    Attributes:
        task_id: a UUID.
        owner: the user.
        model_id: the model.
        prompt: the messages as they were sent, JSON.
        parameters: as they were sent, JSON.
        given: the input of the program, JSON.
        created_at: seconds since 1970.
        status: what it is doing.
        completed_at: seconds since 1970; None before it has ended.
        end: how it ended; None before.
    """

    task_id: str
    owner: str
    model_id: str
    prompt: str
    parameters: str
    given: str
    created_at: float
    status: Status = "QUEUED"
    completed_at: float | None = None
    end: End | None = None

    def told(self) -> dict[str, Any]:
        """The task as `GET /inference/{task_id}` tells it."""
        told = {
            "task_id": self.task_id,
            "model_id": self.model_id,
            "status": self.status,
            "prompt": json.loads(self.prompt),
            "parameters": json.loads(self.parameters),
            "created_at": _time(self.created_at),
        }
        if self.end is None or self.completed_at is None:
            return told
        return {**told, **self.end.told(), "completed_at": _time(self.completed_at)}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
