"""pie:ext/pages: the memory that a context takes, and what of it is no longer needed."""

from __future__ import annotations

from pie.host.context import Context
from pie.host.interface import Interface
from pie.wasm.guest import Guest

__all__ = ["INTERFACE"]

INTERFACE = Interface("pie:ext/pages")


@INTERFACE.function("discard")
async def discard(_guest: Guest, context: Context, first: int, count: int) -> None:
    """Give back committed pages that later passes are masked from."""
    await context.served.scheduler.discard(context.context_id, first, count)


@INTERFACE.function("held")
def held(_guest: Guest, context: Context) -> int:
    """Count the pages of memory that a context takes."""
    return context.describe().held_pages


@INTERFACE.function("reused")
def reused(_guest: Guest, context: Context) -> int:
    """Count the tokens of a context's passes that were not computed."""
    return context.describe().reused_tokens
