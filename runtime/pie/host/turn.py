"""pie:ext/turn: readings of a whole turn, beside those of the decoders."""

from __future__ import annotations

from typing import assert_never

from pie.host.chat import Decoder
from pie.host.inference import Grammar
from pie.host.interface import Interface
from pie.host.model import Model
from pie.host.stop_texts import checked_stop_texts
from pie.host.tool_use import call_grammar, refusal
from pie.text.answers import AnswerReader
from pie.text.decoders import MalformedCall, ToolCall
from pie.text.said import ArgumentsDelta, CallBegun, CallEnded, Said, TextDelta
from pie.wasm.guest import Guest
from pie.wasm.values import Variant

__all__ = ["INTERFACE", "Reader"]

INTERFACE = Interface("pie:ext/turn")


@INTERFACE.function("calls")
def calls(_guest: Guest, model: Model, tokens: list[int]) -> list[tuple[str, str]]:
    """Name and arguments of all calls in the tokens of a turn.

    Raises:
        RequestError: `malformed-call` if the model wrote something else between the marks of a call.
    """
    decoder = model.served.tool_decoder()
    events = [*decoder.feed(tokens), *decoder.finish()]
    for event in events:
        if isinstance(event, MalformedCall):
            raise refusal(event)
    return [(event.name, event.arguments) for event in events if isinstance(event, ToolCall)]


@INTERFACE.function("call-grammar")
async def grammar_of_call(_guest: Guest, model: Model, tools: list[str]) -> Grammar | None:
    """The grammar of one call as the model writes it; None if it has no form that can be enforced."""
    return await call_grammar(model, tools)


@INTERFACE.function("calls-grammar")
async def grammar_of_calls(_guest: Guest, model: Model, tools: list[str]) -> Grammar | None:
    """The grammar of one call or more."""
    return await call_grammar(model, tools, many=True)


@INTERFACE.function("answer-decoder")
def answer_decoder(_guest: Guest, model: Model) -> Decoder:
    """A decoder of one turn that leaves out reasoning."""
    return Decoder(model.served.chat_decoder(with_reasoning=False))


@INTERFACE.function("[static]reader.start")
def start(_guest: Guest, model: Model, stop_texts: list[str]) -> Reader:
    """A reader at the start of a turn.

    Raises:
        RequestError: `bad-request`.
    """
    return Reader(model.served.answer_reader(stop_texts=checked_stop_texts(stop_texts)))


class Reader:
    """A guest's handle of a reader."""

    def __init__(self, reader: AnswerReader) -> None:
        """Wrap a reader used by this handle alone."""
        self._reader = reader

    def feed(self, tokens: list[int]) -> list[Variant]:
        """What the next tokens say."""
        return [_variant(said) for said in self._reader.feed(tokens)]

    def finish(self) -> list[Variant]:
        """What was held back."""
        return [_variant(said) for said in self._reader.finish()]


def _variant(said: Said) -> Variant:
    match said:
        case TextDelta(text=text):
            return Variant("text", text)
        case CallBegun(name=name):
            return Variant("call", name)
        case ArgumentsDelta(text=text):
            return Variant("arguments", text)
        case CallEnded():
            return Variant("called")
        case _:
            assert_never(said)


INTERFACE.resource("reader", Reader, ["feed", "finish"])
