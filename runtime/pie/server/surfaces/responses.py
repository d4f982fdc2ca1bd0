"""`POST /v1/responses`: the words of OpenAI's Responses API for what a program answers. Nothing is stored."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from pie.errors import PieError
from pie.host.served_models import ServedModels
from pie.server.surfaces.item_logprobs import ItemLogprobs, in_events
from pie.server.surfaces.reading import read
from pie.server.surfaces.refusal import told
from pie.server.surfaces.responses_request import ResponsesRequest
from pie.server.surfaces.vocabulary import Answer, CallPiece, TokenLogprobs, Took, ToolCall, Usage, read_answer

__all__ = ["ResponsesExchange"]

Item = dict[str, Any]


class ResponsesExchange:
    """One request, and the words of its answer; see `Exchange`."""

    def __init__(self, body: bytes, models: ServedModels) -> None:
        """Read a body.

        Raises:
            Refusal: it is not well formed, or asks for what there is not.
        """
        request = read(body, ResponsesRequest)
        chat = request.as_chat()
        self.given = chat.normal(models)
        self._head = _head(request)
        self._logprobs = ItemLogprobs(models[request.model], chat.num_logprobs)
        self.words = ResponseWords(self._head, self._logprobs) if request.stream else None

    def whole(self, value_json: str, _took: Took) -> dict[str, Any]:
        """A response."""
        answer = read_answer(value_json, num_choices=1)
        choice = answer.choices[0]
        self._logprobs.hear(choice.logprobs)
        part = _part(choice.text, self._logprobs.until(len(choice.text)))
        items = [] if choice.tool_calls and not choice.text else [_message([part], "completed")]
        items += [_call(call, "completed") for call in choice.tool_calls]
        items[-1]["status"] = _status(answer)  # what was cut is the last
        return _response(self._head, answer, items)


class ResponseWords:
    """The events of one response that is streamed: each item is added, grows, and is done."""

    marks_end = False

    def __init__(self, head: dict[str, Any], logprobs: ItemLogprobs) -> None:
        """Nothing has been said yet of the response with these fields."""
        self._head = head
        self._logprobs = logprobs
        self._told: list[dict[str, Any]] = []
        self._items: list[Item] = []  # the last of them may be open
        self._is_open = False
        self._pieces: list[str] = []
        self._num_said = self._num_events = 0

    def hear(self, told: Sequence[TokenLogprobs]) -> None:
        """Take how likely the next tokens were."""
        self._logprobs.hear(told)

    def piece(self, text: str) -> Iterator[dict[str, Any]]:
        """More text of the message, which is opened by the first of it."""
        yield from self._begin()
        if not self._is_open:
            yield from self._open_message()
        self._pieces.append(text)
        self._num_said += len(text)
        yield self._delta(text, self._logprobs.until(self._num_said))

    def call(self, piece: CallPiece) -> Iterator[dict[str, Any]]:
        """More of a call; a new one closes what is open."""
        yield from self._begin()
        if piece.name is not None:
            yield from self._close("completed")
            yield from self._open(_call(ToolCall(piece.name, ""), "in_progress"))
        if piece.arguments:
            self._pieces.append(piece.arguments)
            yield self._of_item("response.function_call_arguments.delta", delta=piece.arguments)

    def end(self, answer: Answer, _took: Took) -> Iterator[dict[str, Any]]:
        """The end of the last item, and the whole response."""
        yield from self._begin()
        if not self._items:
            yield from self._open_message()
        yield from self._close(_status(answer))
        response = _response(self._head, answer, self._items)
        yield self._event(f"response.{response['status']}", response=response)

    def failed(self, error: PieError) -> dict[str, Any]:
        """That no more comes, and why."""
        why = told(error)["error"]
        fault = {"code": why["code"], "message": why["message"]}
        return self._event("response.failed", response={**self._head, "status": "failed", "error": fault})

    def _begin(self) -> Iterator[dict[str, Any]]:
        if self._num_events == 0:
            yield self._event("response.created", response=self._head)
            yield self._event("response.in_progress", response=self._head)

    def _open_message(self) -> Iterator[dict[str, Any]]:
        yield from self._open(_message([], "in_progress"))
        yield self._of_part("response.content_part.added", part=_part("", []))

    def _delta(self, text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
        self._told += logprobs
        return self._of_part("response.output_text.delta", delta=text, logprobs=in_events(logprobs))

    def _open(self, item: Item) -> Iterator[dict[str, Any]]:
        self._items.append(item)
        self._is_open, self._pieces = True, []
        yield self._event("response.output_item.added", output_index=len(self._items) - 1, item=item)

    def _close(self, status: str) -> Iterator[dict[str, Any]]:
        if not self._is_open:
            return
        item, said = self._items[-1], "".join(self._pieces)
        if item["type"] == "message":
            if late := self._logprobs.until(self._num_said):  # told after the text
                yield self._delta("", late)
            yield self._of_part("response.output_text.done", text=said, logprobs=in_events(self._told))
            yield self._of_part("response.content_part.done", part=_part(said, self._told))
            said_in: Item = {"content": [_part(said, self._told)]}
        else:
            yield self._of_item("response.function_call_arguments.done", name=item["name"], arguments=said)
            said_in = {"arguments": said}
        self._items[-1] = {**item, **said_in, "status": status}
        self._is_open = False
        yield self._event("response.output_item.done", output_index=len(self._items) - 1, item=self._items[-1])

    def _of_part(self, kind: str, **fields: Any) -> dict[str, Any]:
        return self._of_item(kind, content_index=0, **fields)

    def _of_item(self, kind: str, **fields: Any) -> dict[str, Any]:
        return self._event(kind, item_id=self._items[-1]["id"], output_index=len(self._items) - 1, **fields)

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._num_events += 1
        return {"type": kind, "sequence_number": self._num_events - 1, **fields}


def _head(request: ResponsesRequest) -> dict[str, Any]:
    """A response that has only begun."""
    return {
        "id": _id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": request.metadata or {},
        "model": request.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "store": False,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": {"format": _format(request)},
        "tool_choice": "auto" if request.tool_choice is None else msgspec.to_builtins(request.tool_choice),
        "tools": msgspec.to_builtins(request.tools or []),
        "top_logprobs": request.top_logprobs or 0,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": request.user,
    }


def _format(request: ResponsesRequest) -> dict[str, Any]:
    form = request.text.format if request.text is not None else None
    if form is None:
        return {"type": "text"}
    fields: dict[str, Any] = msgspec.to_builtins(form)
    return {name: value for name, value in fields.items() if value is not None}


def _response(head: dict[str, Any], answer: Answer, items: list[Item]) -> dict[str, Any]:
    """A response that has ended."""
    status = _status(answer)
    why = {"reason": "max_output_tokens"} if status == "incomplete" else None
    return {**head, "status": status, "incomplete_details": why, "output": items, "usage": _usage(answer.usage)}


def _status(answer: Answer) -> str:
    return "incomplete" if answer.choices[0].finish_reason == "length" else "completed"


def _usage(usage: Usage) -> dict[str, Any]:
    """What was thought is among the output."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _message(content: list[dict[str, Any]], status: str) -> Item:
    return {"type": "message", "id": _id("msg"), "status": status, "role": "assistant", "content": content}


def _part(text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _call(call: ToolCall, status: str) -> Item:
    return {
        "type": "function_call",
        "id": _id("fc"),
        "call_id": _id("call"),
        "name": call.name,
        "arguments": call.arguments,
        "status": status,
    }


def _id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex}"
