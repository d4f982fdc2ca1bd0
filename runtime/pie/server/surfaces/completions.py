"""`POST /v1/completions`: the fields of a request, and OpenAI's words for what a program answers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from msgspec import Meta

from pie.errors import PieError
from pie.host.served_models import ServedModels
from pie.server.surfaces.logprobs import PlacedLogprobs, TextLogprobs, completion_form
from pie.server.surfaces.options import MAX_CHOICES, MAX_LOGPROBS, Options
from pie.server.surfaces.reading import bad_value, read, unsupported
from pie.server.surfaces.refusal import told
from pie.server.surfaces.vocabulary import Answer, CallPiece, Choice, Given, TokenLogprobs, Took, read_answer

__all__ = ["CompletionExchange", "CompletionRequest"]

Prompt = Annotated[str, Meta(min_length=1)]


class CompletionRequest(Options, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body; what other surfaces have too is in `Options`."""

    prompt: Prompt | Annotated[list[Prompt], Meta(min_length=1, max_length=MAX_CHOICES)]
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    suffix: str | None = None

    @property
    def prompts(self) -> list[str]:
        """The texts to continue."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    @property
    def num_all_choices(self) -> int:
        """Over all prompts."""
        return len(self.prompts) * self.num_choices

    def normal(self, models: ServedModels) -> Given:
        """The input of the program.

        Raises:
            Refusal: fields contradict each other, or ask for what there is not.
        """
        given = self.normal_options(models)
        if self.suffix is not None:
            raise unsupported("suffix")
        if self.logprobs is not None:
            if self.echo:
                raise bad_value("logprobs", "there are logprobs with echo, and those of prompts are not known")
            given["logprobs"] = self.logprobs
        self._check_counts()
        return {**given, "prompts": self.prompts, "echo": self.echo is True}

    def _check_counts(self) -> None:
        if self.stream and len(self.prompts) > 1:
            raise bad_value("prompt", "there are several prompts with stream")
        if len(self.prompts) * self.num_candidates > MAX_CHOICES:
            raise bad_value("prompt", f"the prompts ask for more than {MAX_CHOICES} texts together")


class CompletionExchange:
    """One request, and the words of its answer; see `Exchange` and `Words`."""

    marks_end = True

    def __init__(self, body: bytes, models: ServedModels) -> None:
        """Read a body.

        Raises:
            Refusal: it is not well formed, or asks for what there is not.
        """
        request = read(body, CompletionRequest)
        self.given = request.normal(models)
        self.words = self if request.stream else None
        self._num_choices = request.num_all_choices
        self._includes_usage = request.includes_usage
        self._head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": request.model,
            "system_fingerprint": None,
        }
        self._model, self._num_logprobs = models[request.model], request.logprobs
        self._logprobs = TextLogprobs(self._model, with_reasoning=True)
        self._num_said = 0

    def whole(self, value_json: str, _took: Took) -> dict[str, Any]:
        """A text completion."""
        answer = read_answer(value_json, num_choices=self._num_choices)
        choices = [
            _choice(index, choice.text, choice.finish_reason, self._logprobs_of(choice))
            for index, choice in enumerate(answer.choices)
        ]
        return {**self._head, "choices": choices, "usage": answer.usage.told()}

    def hear(self, told: Sequence[TokenLogprobs]) -> None:
        """Take how likely the next tokens were."""
        if self._num_logprobs is not None:
            self._logprobs.feed(told)

    def piece(self, text: str) -> Iterator[dict[str, Any]]:
        """A chunk of text."""
        self._num_said += len(text)
        yield self._chunk([_choice(0, text, None, self._form(self._logprobs.until(self._num_said)))])

    def call(self, _piece: CallPiece) -> tuple[()]:
        """Nothing: a text that goes on calls no tools."""
        return ()

    def end(self, answer: Answer, _took: Took) -> Iterator[dict[str, Any]]:
        """The chunks that tell why and with what it ended."""
        late = self._form(self._logprobs.until(self._num_said))  # told after the text
        yield self._chunk([_choice(0, "", answer.choices[0].finish_reason, late)])
        if self._includes_usage:
            yield {**self._head, "choices": [], "usage": answer.usage.told()}

    def failed(self, error: PieError) -> dict[str, Any]:
        """The event that tells that nothing more comes."""
        return told(error)

    def _logprobs_of(self, choice: Choice) -> dict[str, Any] | None:
        logprobs = TextLogprobs(self._model, with_reasoning=True)
        logprobs.feed(choice.logprobs)
        return self._form(logprobs.until(len(choice.text)))

    def _form(self, given: Sequence[PlacedLogprobs]) -> dict[str, Any] | None:
        if self._num_logprobs is None:
            return None
        return completion_form(given, self._model.tokenizer, self._num_logprobs)

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        chunk = {**self._head, "choices": choices}
        return {**chunk, "usage": None} if self._includes_usage else chunk


def _choice(index: int, text: str, reason: str | None, logprobs: dict[str, Any] | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
