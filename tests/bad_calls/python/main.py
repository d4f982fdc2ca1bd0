"""The shared guest of the bad calls in Python: makes all in one process, beside a context that must not notice."""

import inspect

import beyond
import contexts
import passes
from calls import CALLS, filled

from inferlet import Error, Sampler

MODULES = (beyond, contexts, passes)


async def main(input):
    neighbour = await filled(37)
    told = {name: await outcome(call, neighbour) for name, call in CALLS.items()}
    alone = await filled(37)
    return {"told": told, "same": await ending(neighbour) == await ending(alone)}


async def outcome(call, neighbour):
    """The type and the code of what a call raises, or what it gives."""
    pages, length = neighbour.wit.working_page_count(), neighbour.seq_len
    try:
        value = call()
        if inspect.isawaitable(value):
            value = await value
        told = ["returned", repr(value)[:80]]
    except Exception as error:  # what is told is judged outside
        told = [
            type(error).__name__,
            getattr(error, "code", None) or str(getattr(error, "value", error)).split(": ")[0],
        ]
    if (pages, length) != (neighbour.wit.working_page_count(), neighbour.seq_len):
        raise Error("neighbour-changed", f"its pages or tokens are others after {told}")
    return told


async def ending(context):
    """What the model says next."""
    return await context.generate(Sampler.argmax(), max_tokens=12, stop=[]).collect_tokens()
