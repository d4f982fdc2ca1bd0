"""The body of `POST /inference/chat`: the task that it asks for."""

from __future__ import annotations

import json
import time
import uuid
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pie.host.served_models import ServedModels
from pie.server.surfaces.chat_request import ChatRequest
from pie.server.surfaces.messages import Message
from pie.server.surfaces.options import MAX_BIASES, Bias, Repetition, StopText
from pie.server.surfaces.reading import Count, Fraction, Penalty, Seed, Temperature, Word, read
from pie.server.surfaces.refusal import Refusal
from pie.server.tasks.record import Record

__all__ = ["TaskMessage", "TaskRequest", "read_task"]


class TaskMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message."""

    role: Literal["system", "user", "assistant"]
    content: str


class TaskParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How tokens are drawn, and when the text ends."""

    temperature: Temperature = 0.7
    max_tokens: Count = 500
    top_p: Fraction = 1.0
    top_k: Count = 50
    seed: Seed | None = None
    stop: StopText | Annotated[list[StopText], Meta(max_length=64)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Repetition | None = None
    logit_bias: Annotated[dict[str, Bias], Meta(max_length=MAX_BIASES)] | None = None


class TaskRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body."""

    model_id: Word
    messages: list[TaskMessage]
    parameters: TaskParameters | None = None


def read_task(body: bytes, models: ServedModels, *, owner: str) -> Record:
    """The task that a body asks for.

    Raises:
        Refusal: it is not well formed, or asks for what there is not.
    """
    request = read(body, TaskRequest)
    messages = [Message(message.role, message.content) for message in request.messages]
    parameters: dict[str, Any] = msgspec.structs.asdict(request.parameters or TaskParameters())
    chat = ChatRequest(model=request.model_id, messages=messages, stream=True, **parameters)
    try:
        given = chat.normal(models)
    except Refusal as refusal:
        raise refusal.at(_param(refusal.param or "")) from None
    sent = json.loads(body)
    return Record(
        task_id=str(uuid.uuid4()),
        owner=owner,
        model_id=request.model_id,
        prompt=json.dumps(sent["messages"]),
        parameters=json.dumps(sent.get("parameters") or {}),
        given=json.dumps(given),
        created_at=time.time(),
    )


def _param(param: str) -> str:
    """A field of chat completions by the name that it has here."""
    if param == "model":
        return "model_id"
    return param if param.startswith("messages") else f"parameters.{param}"
