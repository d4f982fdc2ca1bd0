"""What passes between surfaces and the programs that answer for them; the same for all surfaces.

A program is launched with an object, its input (`chat.py` and `completions.py` make it). If that asks to `stream`, what
the program prints, or lets the host print while it generates, is the beginning of the text of its one choice. When it
ends it returns an `Answer`; what its text has beyond that is sent then, so a program need not print at all.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from pie.errors import ProcessError

__all__ = ["Answer", "Choice", "Given", "ToolCall", "Usage", "read_answer"]


class ToolCall(msgspec.Struct, frozen=True):
    """A call of a tool.

    Attributes:
        name: of the tool.
        arguments: a JSON object, as text.
    """

    name: str
    arguments: str


class Choice(msgspec.Struct, frozen=True):
    """One of the texts that were asked for.

    Attributes:
        text: all of it; empty where tools are called instead.
        finish_reason: whether it ended by itself, at the limit of tokens, or in calls of tools.
        tool_calls: in their order.
    """

    text: str
    finish_reason: Literal["stop", "length", "tool_calls"]
    tool_calls: list[ToolCall] = []


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


def _bad(cause: str) -> ProcessError:
    return ProcessError(
        "bad-answer",
        f"the program returned no answer: {cause}",
        remedy="Let it return choices and usage, as docs/http.md tells.",
    )


Given = dict[str, Any]
"""The input of a program."""
