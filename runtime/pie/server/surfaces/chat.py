"""`POST /v1/chat/completions` and `/v1/inference/chat`: OpenAI's words for what a program answers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Self

from pie.errors import PieError
from pie.host.served_model import ServedModel
from pie.host.served_models import ServedModels
from pie.server.surfaces.chat_request import ChatRequest
from pie.server.surfaces.infer_request import InferRequest
from pie.server.surfaces.logprobs import TextLogprobs, chat_form
from pie.server.surfaces.reading import read
from pie.server.surfaces.refusal import told
from pie.server.surfaces.vocabulary import Answer, CallPiece, Choice, Given, TokenLogprobs, Took, ToolCall, read_answer

__all__ = ["ChatExchange"]


class ChatExchange:
    """One request, and the words of its answer; see `Exchange` and `Words`."""

    marks_end = True

    def __init__(self, request: ChatRequest, given: Given, model: ServedModel) -> None:
        """Answer a request of a model, by a program whose input is `given`."""
        self.given = given
        self.words = self if request.stream else None
        self._num_choices = request.num_choices
        self._includes_usage = request.includes_usage
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": request.model}
        self._has_begun = False
        self._model, self._num_logprobs = model, request.num_logprobs
        self._logprobs = TextLogprobs(self._model, with_reasoning=False)
        self._num_said = self._num_calls = 0

    @classmethod
    def read(cls, body: bytes, models: ServedModels) -> Self:
        """The exchange of a chat completion.

        Raises:
            Refusal: the body is not well formed, or asks for what there is not.
        """
        request = read(body, ChatRequest)
        return cls(request, request.normal(models), models[request.model])

    @classmethod
    def infer(cls, body: bytes, models: ServedModels, default_model: str) -> Self:
        """The exchange of `/v1/inference/chat`, whose answers have the same words.

        Raises:
            Refusal: the body is not well formed, or asks for what there is not.
        """
        request = read(body, InferRequest)
        chat = request.chat(default_model)
        return cls(chat, request.normal(chat, models), models[chat.model])

    def whole(self, value_json: str, _took: Took) -> dict[str, Any]:
        """A chat completion."""
        answer = read_answer(value_json, num_choices=self._num_choices)
        choices = [
            {
                "index": index,
                "message": _message(choice),
                "logprobs": self._logprobs_of(choice),
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(answer.choices)
        ]
        head = {**self._head, "object": "chat.completion", "system_fingerprint": None}
        return {**head, "choices": choices, "usage": answer.usage.told()}

    def hear(self, told: Sequence[TokenLogprobs]) -> None:
        """Take how likely the next tokens were."""
        if self._num_logprobs is not None:
            self._logprobs.feed(told)

    def piece(self, text: str) -> Iterator[dict[str, Any]]:
        """A chunk of text, after one with the role."""
        yield from self._begin()
        self._num_said += len(text)
        yield self._chunk({"content": text}, logprobs=self._new_logprobs())

    def call(self, piece: CallPiece) -> Iterator[dict[str, Any]]:
        """Chunks of a call: its id and name once, then its arguments."""
        yield from self._begin()
        if piece.name is not None:
            self._num_calls += 1
            begun = {"index": self._num_calls - 1, **_call(ToolCall(piece.name, ""))}
            yield self._chunk({"tool_calls": [begun]})
        if piece.arguments:
            more = {"index": self._num_calls - 1, "function": {"arguments": piece.arguments}}
            yield self._chunk({"tool_calls": [more]})

    def end(self, answer: Answer, _took: Took) -> Iterator[dict[str, Any]]:
        """Chunks that tell why and with what it ended."""
        yield from self._begin()
        choice = answer.choices[0]
        if logprobs := self._new_logprobs():  # told after the text
            yield self._chunk({"content": ""}, logprobs=logprobs)
        yield self._chunk({}, finish_reason=choice.finish_reason)
        if self._includes_usage:
            yield {**self._chunk({}), "choices": [], "usage": answer.usage.told()}

    def failed(self, error: PieError) -> dict[str, Any]:
        """The event that tells that nothing more comes."""
        return told(error)

    def _begin(self) -> Iterator[dict[str, Any]]:
        if not self._has_begun:
            self._has_begun = True
            yield self._chunk({"role": "assistant", "content": ""})

    def _logprobs_of(self, choice: Choice) -> dict[str, Any] | None:
        if self._num_logprobs is None or (choice.tool_calls and not choice.text):
            return None
        logprobs = TextLogprobs(self._model, with_reasoning=False)
        logprobs.feed(choice.logprobs)
        return chat_form(logprobs.until(len(choice.text)), self._model.tokenizer, self._num_logprobs)

    def _new_logprobs(self) -> dict[str, Any] | None:
        """Of the tokens that began in what was said since the last time; None if there are none."""
        given = self._logprobs.until(self._num_said)
        return chat_form(given, self._model.tokenizer, self._num_logprobs or 0) if given else None

    def _chunk(
        self, delta: dict[str, Any], finish_reason: str | None = None, *, logprobs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        chunk = {**self._head, "object": "chat.completion.chunk", "system_fingerprint": None, "choices": [choice]}
        return {**chunk, "usage": None} if self._includes_usage else chunk


def _message(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
    if choice.tool_calls:
        message |= {"content": choice.text or None, "tool_calls": [_call(call) for call in choice.tool_calls]}
    return message


def _call(call: ToolCall) -> dict[str, Any]:
    return {
        "id": f"call_{uuid.uuid4().hex[:24]}",
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
