"""The fields that requests for text share: the model, how tokens are drawn, when the text ends, how it is sent."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from pie.host.served_models import ServedModels
from pie.server.surfaces.models import check_served
from pie.server.surfaces.reading import Count, Fraction, Penalty, Seed, Temperature, Word, bad_value
from pie.server.surfaces.vocabulary import Given

__all__ = ["Options", "StopText", "StreamOptions", "TopLogprobs"]

MAX_CHOICES = 128
MAX_BIASES = 1024
MAX_LOGPROBS = 20
TopLogprobs = Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)]
Repetition = Annotated[float, Meta(ge=0.01, le=2)]
Choices = Annotated[int, Meta(ge=1, le=MAX_CHOICES)]
StopText = Annotated[str, Meta(min_length=1, max_length=1024)]
Bias = Annotated[float, Meta(ge=-100, le=100)]


class StreamOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the answer is streamed."""

    include_usage: bool | None = None


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The shared fields of a body. None is as good as absent."""

    model: Word
    max_tokens: Count | None = None
    temperature: Temperature | None = None
    top_p: Fraction | None = None
    top_k: Count | None = None
    seed: Seed | None = None
    n: Choices | None = None
    best_of: Choices | None = None
    stop: StopText | Annotated[list[StopText], Meta(max_length=64)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Repetition | None = None
    logit_bias: Annotated[dict[str, Bias], Meta(max_length=MAX_BIASES)] | None = None
    lora_adapter: Word | None = None
    user: str | None = None
    safety_identifier: str | None = None
    routing_key: str | None = None
    prompt_cache_key: str | None = None

    @property
    def num_choices(self) -> int:
        """How many texts are asked for."""
        return self.n or 1

    @property
    def num_candidates(self) -> int:
        """How many are written for them."""
        return self.num_choices if self.best_of is None else self.best_of

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with what it took."""
        return self.stream_options is not None and self.stream_options.include_usage is True

    def normal_options(self, models: ServedModels) -> Given:
        """These fields in the input of the program, as far as they are there.

        Raises:
            Refusal: fields contradict each other, or ask for what there is not.
        """
        self._check(models)
        chosen = {
            "model": self.model,
            "context_length": models[self.model].context_length,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "seed": self.seed,
            "n": self.num_choices,
            "best_of": self.num_candidates,
            "stream": self.stream is True,
            "stop": [self.stop] if isinstance(self.stop, str) else self.stop,
            "adapter": self.lora_adapter,
            "repetition_penalty": None if self.repetition_penalty == 1 else self.repetition_penalty,
            "frequency_penalty": self.frequency_penalty or None,  # what changes nothing still takes time
            "presence_penalty": self.presence_penalty or None,
            "logit_bias": self.logit_bias or None,
        }
        return {name: value for name, value in chosen.items() if value is not None}

    def _check(self, models: ServedModels) -> None:
        check_served(self.model, models)
        if self.stream and self.num_choices > 1:
            raise bad_value("n", "n is more than 1 with stream")
        if self.num_candidates < self.num_choices:
            raise bad_value("best_of", "best_of is less than n")
        if self.stream and self.num_candidates > 1:
            raise bad_value("best_of", "best_of is more than 1 with stream")
        if self.stream_options is not None and not self.stream:
            raise bad_value("stream_options", "stream_options without stream")
        self._check_biases(models[self.model].vocab_size)

    def _check_biases(self, vocab_size: int) -> None:
        for token in self.logit_bias or {}:
            if not (token.isascii() and token.isdecimal() and int(token[:20]) < vocab_size):
                raise bad_value("logit_bias", f"{token[:100]!r} is no token of the model")
