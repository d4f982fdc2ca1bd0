"""Tools that a model may call, in the model's own format."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wit_world.imports import tool_use
from wit_world.imports import turn as wit_turn

from inferlet.errors import call
from inferlet.matching import Grammar, Matcher
from inferlet.model import Model

__all__ = [
    "AnyEvent",
    "AnySaid",
    "Decoder",
    "Event",
    "Reader",
    "Said",
    "answer_prefix",
    "equip_prefix",
    "native_grammar",
    "native_matcher",
    "parse",
]

Tool = str | Mapping[str, Any]
"""Description of a tool: an object with name, description and parameters (a JSON Schema), or its JSON."""


class Event:
    """What the tokens of one `feed` amounted to."""

    @dataclass(frozen=True, slots=True)
    class Start:
        """Nothing yet, or a call that is still being written."""

    @dataclass(frozen=True, slots=True)
    class Call:
        """A complete call; `args` is JSON. Feed no tokens to get a further one."""

        name: str
        args: str


AnyEvent = Event.Start | Event.Call


class Decoder:
    """Finds calls in the tokens of one turn."""

    __slots__ = ("_wit",)

    def __init__(self, model: Model) -> None:
        self._wit = tool_use.create_decoder(model.wit)

    def feed(self, tokens: Iterable[int]) -> AnyEvent:
        """Take the next tokens."""
        match call(self._wit.feed, list(tokens)):
            case tool_use.Event_Call(value=(name, args)):
                return Event.Call(name, args)
            case _:
                return Event.Start()

    def reset(self) -> None:
        """Back to the start of a turn."""
        self._wit.reset()


class Said:
    """What a turn says, in the order in which it says it: text, then calls."""

    @dataclass(frozen=True, slots=True)
    class Text:
        """More text of the answer."""

        text: str

    @dataclass(frozen=True, slots=True)
    class Call:
        """A call of the tool with this name begins."""

        name: str

    @dataclass(frozen=True, slots=True)
    class Args:
        """More of the arguments of the call: JSON as the model writes it, checked only where a grammar holds it."""

        text: str

    @dataclass(frozen=True, slots=True)
    class Called:
        """The arguments of the call are whole. A call that is cut off has no end."""


AnySaid = Said.Text | Said.Call | Said.Args | Said.Called


class Reader:
    """Tells the text of a turn from its calls while the turn is written.

    Left out are reasoning, white space before a call, text after the first call, and text from the first of
    `stop_texts` on. Held back is only what may still become something else.
    """

    __slots__ = ("_wit",)

    def __init__(self, model: Model, *, stop_texts: Iterable[str] = ()) -> None:
        self._wit = call(wit_turn.Reader.start, model.wit, list(stop_texts))

    def feed(self, tokens: Iterable[int]) -> list[AnySaid]:
        """Take the next tokens; after a stop token a new turn begins."""
        return [_said(one) for one in call(self._wit.feed, list(tokens))]

    def finish(self) -> list[AnySaid]:
        """No more tokens come, and no stop token has ended the turn: what was held back."""
        return [_said(one) for one in self._wit.finish()]


def _said(one: wit_turn.Said) -> AnySaid:
    match one:
        case wit_turn.Said_Text(value=text):
            return Said.Text(text)
        case wit_turn.Said_Call(value=name):
            return Said.Call(name)
        case wit_turn.Said_Arguments(value=text):
            return Said.Args(text)
        case _:
            return Said.Called()


def equip_prefix(model: Model, tools: Iterable[Tool]) -> list[int]:
    """Tokens that tell the model about `tools`; append them before the first user message.

    Raises:
        Error: a description is not one, or the model's template knows no tools.
    """
    return list(call(tool_use.equip, model.wit, _texts(tools)))


def answer_prefix(model: Model, name: str, value: str | Mapping[str, Any] | Sequence[Any]) -> list[int]:
    """Tokens that tell the model what the tool `name` returned; all but text is given to it as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return list(tool_use.answer(model.wit, name, text))


def native_grammar(model: Model, tools: Iterable[Tool], *, many: bool = False) -> Grammar | None:
    """The grammar of one of the model's calls, or None if its format cannot be enforced.

    Args:
        model: whose calls they are.
        tools: what can be called.
        many: further calls may follow, if a turn of the model can have several.

    Raises:
        Error: `bad-tools`; `bad-schema` if the parameters of a tool are no JSON Schema.
    """
    handle = call(wit_turn.calls_grammar if many else wit_turn.call_grammar, model.wit, _texts(tools))
    return None if handle is None else Grammar(handle)


def native_matcher(model: Model, tools: Iterable[Tool], *, many: bool = False) -> Matcher | None:
    """A matcher of `native_grammar` for `GrammarConstraint`, or None if the format cannot be enforced.

    Raises:
        Error: as `native_grammar`.
    """
    grammar = native_grammar(model, tools, many=many)
    return None if grammar is None else Matcher(grammar, model.tokenizer())


def parse(model: Model, tokens: Iterable[int]) -> list[Event.Call]:
    """All calls in the tokens of a turn, in order.

    Raises:
        Error: `malformed-call` if the model wrote something else in the place of a call.
    """
    return [Event.Call(name, args) for name, args in call(wit_turn.calls, model.wit, list(tokens))]


def _texts(tools: Iterable[Tool]) -> list[str]:
    return [tool if isinstance(tool, str) else json.dumps(tool) for tool in tools]
