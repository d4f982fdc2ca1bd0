"""What passes between surfaces and the programs that answer for them; the same for all surfaces.

A program is launched with an object, its input (`chat.py` and `completions.py` make it). If that asks to `stream`, what
the program prints, or lets the host print while it generates, is the beginning of the text of its one choice. When it
ends it returns an `Answer`; what its text and calls have beyond that is sent then, so a program need not print at all.
If it is asked for `logprobs` too, or has tools, it may send messages, `Told`: of the tokens of the text that it is
about to print, and of calls as they are written. Text comes before calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from pie.errors import ProcessError

__all__ = [
    "Answer",
    "CallPiece",
    "Choice",
    "Embeddings",
    "Given",
    "Told",
    "TokenLogprobs",
    "ToolCall",
    "Took",
    "Usage",
    "bad_answer",
    "read_answer",
    "read_embeddings",
    "read_told",
]

T = TypeVar("T")
TokenId = Annotated[int, Meta(ge=0, lt=2**32)]


class ToolCall(msgspec.Struct, frozen=True):
    """A call of a tool.

    Attributes:
        name: of the tool.
        arguments: a JSON object, as text.
    """

    name: str
    arguments: str


class CallPiece(msgspec.Struct, frozen=True):
    """More of the calls: with a name the next one begins, without one the last one goes on.

    Attributes:
        name: of the tool.
        arguments: more of them.
    """

    name: str | None = None
    arguments: str = ""


class TokenLogprobs(msgspec.Struct, frozen=True):
    """How likely a token was.

    Attributes:
        token: its id.
        logprob: the natural logarithm of its probability.
        top: the most likely tokens and theirs, most likely first.
    """

    token: TokenId
    logprob: float
    top: list[tuple[TokenId, float]] = []


class Told(msgspec.Struct, frozen=True):
    """What a program that streams tells beside its text.

    Attributes:
        logprobs: of its next tokens.
        tool_calls: what is new of them.
    """

    logprobs: list[TokenLogprobs] | None = None
    tool_calls: list[CallPiece] | None = None


class Choice(msgspec.Struct, frozen=True):
    """One of the texts that were asked for.

    Attributes:
        text: all of it; with calls, what stands before them.
        finish_reason: whether it ended by itself, at the limit of tokens, or in calls of tools that are whole.
        tool_calls: in their order.
        logprobs: of all tokens that were drawn; empty if the program does not tell.
    """

    text: str
    finish_reason: Literal["stop", "length", "tool_calls"]
    tool_calls: list[ToolCall] = []
    logprobs: list[TokenLogprobs] = []


class Usage(msgspec.Struct, frozen=True):
    """Tokens that went in and came out, over all choices; a prompt counts once.

    Attributes:
        prompt_tokens: of all prompts.
        completion_tokens: of all that was generated.
        cached_tokens: of the prompts, which were known already and not computed.
        reasoning_tokens: of what was generated, with which the model thought.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def told(self) -> dict[str, Any]:
        """As OpenAI's form has it."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
        }


class Answer(msgspec.Struct, frozen=True):
    """What a program returns."""

    choices: list[Choice]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Took:
    """What an answer took.

    Attributes:
        process_id: of the process that gave it.
        all_ms: from the launch to the answer.
        ttft_ms: from the launch to the first text; None if the program printed none.
    """

    process_id: str
    all_ms: float
    ttft_ms: float | None = None

    def tpot_ms(self, num_tokens: int) -> float | None:
        """The time of each token after the first, on average; None where there is none, or nothing was printed."""
        if self.ttft_ms is None or num_tokens < 2:
            return None
        return (self.all_ms - self.ttft_ms) / (num_tokens - 1)


class Embeddings(msgspec.Struct, frozen=True):
    """What a program returns that was asked for embeddings.

    Attributes:
        embeddings: of each input f32 values, little-endian, in base64.
        prompt_tokens: of all inputs.
    """

    embeddings: list[str]
    prompt_tokens: int


def read_embeddings(value_json: str, *, num_inputs: int) -> Embeddings:
    """The embeddings that a program returned.

    Raises:
        ProcessError: `bad-answer`.
    """
    returned = _read(value_json, Embeddings)
    if len(returned.embeddings) != num_inputs:
        raise bad_answer(f"{len(returned.embeddings)} embeddings where {num_inputs} were asked for")
    return returned


def read_answer(value_json: str, *, num_choices: int) -> Answer:
    """The answer that a program returned.

    Raises:
        ProcessError: `bad-answer`.
    """
    answer = _read(value_json, Answer)
    if len(answer.choices) != num_choices:
        raise bad_answer(f"{len(answer.choices)} choices where {num_choices} were asked for")
    return answer


def read_told(message: str) -> Told:
    """What a message of a program tells.

    Raises:
        ProcessError: `bad-answer`.
    """
    told = _read(message, Told)
    if told.logprobs is None and told.tool_calls is None:
        raise bad_answer("a message that tells neither of logprobs nor of tool_calls")
    return told


def _read(value_json: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(value_json, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise bad_answer(str(error).replace("`", "")) from None


def bad_answer(cause: str) -> ProcessError:
    """What a program returned is not what it should be."""
    return ProcessError(
        "bad-answer",
        f"the program returned no answer: {cause}",
        remedy="Let it return what docs/http.md tells.",
    )


Given = dict[str, Any]
"""The input of a program."""
