"""pie:instruct/tool-use: tools in the model's own format."""

from __future__ import annotations

from typing import assert_never

from pie.errors import RequestError
from pie.host.events import Feeder
from pie.host.inference import Grammar, Matcher
from pie.host.interface import Interface
from pie.host.model import Model
from pie.text.decoders import MalformedCall, ToolCall, ToolDecoder, ToolEvent, ToolStart
from pie.wasm.guest import Guest
from pie.wasm.values import Variant

__all__ = ["INTERFACE", "Decoder", "call_grammar", "refusal"]

INTERFACE = Interface("pie:instruct/tool-use")


@INTERFACE.function("equip")
def equip(_guest: Guest, model: Model, tools: list[str]) -> list[int]:
    """The beginning of a conversation that tells the model its tools."""
    return model.served.template.equip(tools)


@INTERFACE.function("answer")
def answer(_guest: Guest, model: Model, name: str, value: str) -> list[int]:
    """The result of a tool."""
    return model.served.template.answer(name, value)


@INTERFACE.function("format")
async def native_format(_guest: Guest, model: Model, tools: list[str]) -> Grammar | None:
    """The grammar of one call as the model writes it; None if it has no form that can be enforced."""
    return await call_grammar(model, tools)


@INTERFACE.function("create-matcher")
async def create_matcher(_guest: Guest, model: Model, tools: list[str]) -> Matcher:
    """A walk through the grammar of one call."""
    grammar = await call_grammar(model, tools)
    if grammar is None:
        raise RequestError("no-tool-format", "this model's tool calls have no grammar", remedy="Ask `format` first.")
    return Matcher(grammar.text)


async def call_grammar(model: Model, tools: list[str], *, many: bool = False) -> Grammar | None:
    """The grammar of one call, or of one and more; raises RequestError(`bad-tools`) or GrammarError."""
    served = model.served
    grammar = await served.grammars.tool_call(served.template.markers, tools, many=many)
    return None if grammar is None else Grammar(grammar)


@INTERFACE.function("create-decoder")
def create_decoder(_guest: Guest, model: Model) -> Decoder:
    """A decoder of one turn."""
    return Decoder(model.served.tool_decoder())


def refusal(call: MalformedCall) -> RequestError:
    """What a program is told of a call that is none."""
    return RequestError("malformed-call", f"{call.text[:200]!r} is no tool call, {call.cause}")


class Decoder:
    """A guest's handle of a tool decoder."""

    def __init__(self, decoder: ToolDecoder) -> None:
        """Wrap a decoder used by this handle alone."""
        self._feeder: Feeder[ToolEvent] = Feeder(decoder)

    def feed(self, tokens: list[int]) -> Variant:
        """The next event; `start` also stands for nothing, since the contract has no other word for it.

        Raises:
            RequestError: `malformed-call` if the model wrote something else between the marks of a call.
        """
        event = self._feeder.next(tokens)
        match event:
            case None | ToolStart():
                return Variant("start")
            case ToolCall(name=name, arguments=arguments):
                return Variant("call", (name, arguments))
            case MalformedCall():
                raise refusal(event)
            case _:
                assert_never(event)

    def reset(self) -> None:
        """Begin a new turn."""
        self._feeder.reset()


INTERFACE.resource("decoder", Decoder, ["feed", "reset"])
