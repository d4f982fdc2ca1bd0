"""pie:ext/turn: readings of a whole turn, beside those of the decoders."""

from __future__ import annotations

from pie.host.chat import Decoder
from pie.host.inference import Grammar
from pie.host.interface import Interface
from pie.host.model import Model
from pie.host.tool_use import call_grammar, refusal
from pie.text.decoders import MalformedCall, ToolCall
from pie.wasm.guest import Guest

__all__ = ["INTERFACE"]

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
async def grammar_of_calls(_guest: Guest, model: Model, tools: list[str]) -> Grammar | None:
    """The grammar of one call as the model writes it; None if it has no form that can be enforced."""
    return await call_grammar(model, tools)


@INTERFACE.function("answer-decoder")
def answer_decoder(_guest: Guest, model: Model) -> Decoder:
    """A decoder of one turn that leaves out reasoning."""
    return Decoder(model.served.chat_decoder(with_reasoning=False))
