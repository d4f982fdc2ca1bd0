"""`POST /v1/generate/{model}`: one text that goes on, told with the time that it took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pie.errors import PieError
from pie.host.served_models import ServedModels
from pie.server.surfaces.incoming import Incoming
from pie.server.surfaces.options import Options, StopText
from pie.server.surfaces.reading import Count, Fraction, Seed, Temperature, Word, read
from pie.server.surfaces.refusal import told
from pie.server.surfaces.vocabulary import Answer, CallPiece, Given, TokenLogprobs, Took, read_answer

__all__ = ["GenerateExchange", "GenerateRequest"]


class GenerateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body; the model is in the path."""

    prompt: Annotated[str, Meta(min_length=1)]
    max_new_tokens: Count
    temperature: Temperature | None = None
    top_p: Fraction | None = None
    top_k: Count | None = None
    seed: Seed | None = None
    stop: StopText | Annotated[list[StopText], Meta(max_length=64)] | None = None
    stream: bool | None = None
    lora_adapter: Word | None = None

    def normal(self, model: str, models: ServedModels) -> Given:
        """The input of the program, which always streams: only so it is known when the first text was there.

        Raises:
            Refusal: `model-not-served`.
        """
        options = Options(
            model=model,
            max_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            seed=self.seed,
            stop=self.stop,
            stream=True,
            lora_adapter=self.lora_adapter,
        )
        return {**options.normal_options(models), "prompts": [self.prompt], "echo": False}


class GenerateExchange:
    """One request, and the words of its answer; see `Exchange`."""

    marks_end = True

    def __init__(self, incoming: Incoming, models: ServedModels) -> None:
        """Read a request.

        Raises:
            Refusal: it is not well formed, or asks for what there is not.
        """
        request = read(incoming.body, GenerateRequest)
        self._model = _served(incoming.model, models)
        self.given = request.normal(self._model, models)
        self.words = self if request.stream else None
        self._request_id = incoming.request_id
        self._num_events = 0

    def whole(self, value_json: str, took: Took) -> dict[str, Any]:
        """The result."""
        answer = read_answer(value_json, num_choices=1)
        return {"model": self._model, "text": answer.choices[0].text, **_ended(answer, took)}

    def hear(self, told: Sequence[TokenLogprobs]) -> None:
        """Take nothing: a generation is not asked for log probabilities."""

    def piece(self, text: str) -> Iterator[dict[str, Any]]:
        """A chunk of text."""
        yield self._chunk(text, done=False)

    def call(self, _piece: CallPiece) -> tuple[()]:
        """Nothing: a text that goes on calls no tools."""
        return ()

    def end(self, answer: Answer, took: Took) -> Iterator[dict[str, Any]]:
        """The chunk that tells why and with what it ended."""
        yield {**self._chunk("", done=True), **_ended(answer, took)}

    def failed(self, error: PieError) -> dict[str, Any]:
        """The chunk that tells that nothing more comes."""
        words = told(error)["error"]
        reason = "cancelled" if error.code == "terminated" else "error"
        fault = {"code": words["code"], "message": words["message"]}
        return {**self._chunk("", done=True), "finish_reason": reason, "error": fault}

    def _chunk(self, text: str, *, done: bool) -> dict[str, Any]:
        seq = self._num_events
        self._num_events += 1
        return {"request_id": self._request_id, "seq": seq, "text_delta": text, "done": done}


def _served(name: str, models: ServedModels) -> str:
    """The model that a path means: `ORG__NAME` is as good as `ORG/NAME`."""
    return name if name in models.names else name.replace("__", "/")


def _ended(answer: Answer, took: Took) -> dict[str, Any]:
    times = {"ttft_ms": took.ttft_ms, "tpot_ms": took.tpot_ms(answer.usage.completion_tokens)}
    return {
        "finish_reason": answer.choices[0].finish_reason,
        "usage": answer.usage.told(),
        "attempt_id": took.process_id,
        **{name: round(value, 3) for name, value in times.items() if value is not None},
    }
