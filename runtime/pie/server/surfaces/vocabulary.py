"""What passes between surfaces and the programs that answer for them; the same for all surfaces.

A program is launched with an object, its input (`chat.py` and `completions.py` make it). If that asks to `stream`, what
the program prints, or lets the host print while it generates, is the beginning of the text of its one choice. When it
ends it returns an `Answer`; what its text has beyond that is sent then, so a program need not print at all. If it is
asked for `logprobs` too, it may send messages, `LogprobsMessage`, of the tokens of the text that it is about to print.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from pie.errors import ProcessError

__all__ = [
    "Answer",
    "Choice",
    "Given",
    "LogprobsMessage",
    "TokenLogprobs",
    "ToolCall",
    "Usage",
    "read_answer",
    "read_logprobs",
]

TokenId = Annotated[int, Meta(ge=0, lt=2**32)]


class ToolCall(msgspec.Struct, frozen=True):
    """A call of a tool.

    Attributes:
        name: of the tool.
        arguments: a JSON object, as text.
    """

    name: str
    arguments: str


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


class LogprobsMessage(msgspec.Struct, frozen=True):
    """What a program that streams says of its next tokens."""

    logprobs: list[TokenLogprobs]


class Choice(msgspec.Struct, frozen=True):
    """One of the texts that were asked for.

    Attributes:
        text: all of it; empty where tools are called instead.
        finish_reason: whether it ended by itself, at the limit of tokens, or in calls of tools.
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
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0

    def told(self) -> dict[str, Any]:
        """As OpenAI's form has it."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


class Answer(msgspec.Struct, frozen=True):
    """What a program returns."""

    choices: list[Choice]
    usage: Usage


def read_answer(value_json: str, *, num_choices: int) -> Answer:
    """The answer that a program returned.

    Raises:
        ProcessError: `bad-answer`.
    """
    try:
        answer = msgspec.json.decode(value_json, type=Answer)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _bad(str(error).replace("`", "")) from None
    if len(answer.choices) != num_choices:
        raise _bad(f"{len(answer.choices)} choices where {num_choices} were asked for")
    return answer


def read_logprobs(message: str) -> list[TokenLogprobs]:
    """What a message of a program tells.

    Raises:
        ProcessError: `bad-answer`.
    """
    try:
        return msgspec.json.decode(message, type=LogprobsMessage).logprobs
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _bad(str(error).replace("`", "")) from None


def _bad(cause: str) -> ProcessError:
    return ProcessError(
        "bad-answer",
        f"the program returned no answer: {cause}",
        remedy="Let it return choices and usage, as docs/http.md tells.",
    )


Given = dict[str, Any]
"""The input of a program."""
