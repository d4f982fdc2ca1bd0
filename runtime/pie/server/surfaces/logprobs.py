"""How likely the tokens of a text were, in OpenAI's words, beside the text that the tokens made.

Programs tell of every token that was drawn. Those that made none of the text are left out here: what the model
thought, marks, and what stood after a stop text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pie.host.served_model import ServedModel
from pie.server.surfaces.vocabulary import TokenLogprobs
from pie.text.decoders import Delta, ReasoningComplete, ReasoningStart
from pie.text.tokenizer import Tokenizer

__all__ = ["PlacedLogprobs", "TextLogprobs", "chat_form", "completion_form"]


@dataclass(frozen=True, slots=True)
class PlacedLogprobs:
    """A token, and where in the text it begins."""

    told: TokenLogprobs
    start: int


class TextLogprobs:
    """Finds the tokens that made a text, as both come."""

    def __init__(self, model: ServedModel, *, with_reasoning: bool) -> None:
        """Begin with a text of which nothing is there; `with_reasoning` it has what the model thinks too."""
        self._tokenizer = model.tokenizer
        self._reader = model.chat_decoder(with_reasoning=with_reasoning)
        self._thoughts = None if with_reasoning else model.reasoning_decoder()
        self._is_inside = not with_reasoning and model.template.cue_opens_reasoning
        self._length = 0
        self._waiting: list[PlacedLogprobs] = []

    def feed(self, told: Iterable[TokenLogprobs]) -> None:
        """Take what is told of the next tokens."""
        for one in told:
            self._place(one)

    def until(self, length: int) -> list[PlacedLogprobs]:
        """What has not been given yet of the tokens that begin before this place of the text."""
        given = [one for one in self._waiting if one.start < length]
        self._waiting = [one for one in self._waiting if one.start >= length]
        return given

    def _place(self, one: TokenLogprobs) -> None:
        was_inside = self._is_inside
        has_thought = self._follow_thoughts(one.token)
        events = self._reader.feed([one.token])
        num_more = sum(len(event.text) for event in events if isinstance(event, Delta))
        if not num_more and (was_inside or has_thought):
            # What was held back for a mark is part of the mark.
            self._waiting = [each for each in self._waiting if each.start < self._length]
        elif num_more or not (events or self._is_space_before(one.token)):
            self._waiting.append(PlacedLogprobs(one, self._length))
        self._length += num_more

    def _follow_thoughts(self, token: int) -> bool:
        """Whether the token thinks, or begins or ends that."""
        events = [] if self._thoughts is None else self._thoughts.feed([token])
        for event in events:
            if isinstance(event, ReasoningStart | ReasoningComplete):
                self._is_inside = isinstance(event, ReasoningStart)
        return bool(events)

    def _is_space_before(self, token: int) -> bool:
        """White space between thoughts and answer, which is not shown."""
        return not self._length and not (self._tokenizer.token_bytes(token) or b"x").strip()


def chat_form(given: Sequence[PlacedLogprobs], tokenizer: Tokenizer, num_top: int) -> dict[str, Any]:
    """As chat completions tell it."""

    def entry(token: int, logprob: float) -> dict[str, Any]:
        raw = tokenizer.token_bytes(token)
        return {"token": _spelled(raw), "bytes": None if raw is None else list(raw), "logprob": logprob}

    content = [
        {**entry(told.token, told.logprob), "top_logprobs": [entry(*each) for each in told.top[:num_top]]}
        for told in (one.told for one in given)
    ]
    return {"content": content, "refusal": None}


def completion_form(given: Sequence[PlacedLogprobs], tokenizer: Tokenizer, num_top: int) -> dict[str, Any]:
    """As completions tell it; a token that was drawn is always among the most likely ones of its place."""
    pairs = [(one.told.token, one.told.logprob) for one in given]
    tops = [[*one.told.top[:num_top], pair] for one, pair in zip(given, pairs, strict=True)]

    def spelled(token: int) -> str:
        return _spelled(tokenizer.token_bytes(token))

    return {
        "tokens": [spelled(token) for token, _ in pairs],
        "token_logprobs": [logprob for _, logprob in pairs],
        "top_logprobs": [{spelled(token): logprob for token, logprob in top} for top in tops],
        "text_offset": [one.start for one in given],
    }


def _spelled(raw: bytes | None) -> str:
    if raw is None:  # no token of the vocabulary is this character in a text
        return "\ufffd"
    try:
        return raw.decode()
    except UnicodeDecodeError:  # a part of a character, as OpenAI writes it
        return "".join(f"\\x{byte:02x}" for byte in raw)
