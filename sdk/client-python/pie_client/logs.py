"""What a process has said, read by position: other than attaching, this takes nothing from whoever listens.

A page holds pieces of events, so that none is too large for a frame. Knows no connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

import msgspec

__all__ = ["LogEvent", "LogPage", "LogPiece", "LogQuery", "read_logs"]

LogKind = Literal["stdout", "stderr", "message", "file", "dropped", "return", "error"]


class LogQuery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record of a query `transcript`.

    Attributes:
        process_id: of a process of ours.
        position: of the first event that is wanted; events are numbered from 0 on.
        offset: characters of that event that are known already.
        wait: whether to be answered only when there is something, or after some seconds.
    """

    process_id: str
    position: int = 0
    offset: int = 0
    wait: bool = False


class LogPiece(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of an event, or all of it; after one that has `more`, the next part follows."""

    event: LogKind
    value: str
    more: bool = False


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a query `transcript`.

    Attributes:
        pieces: in order.
        position: where to go on.
        offset: likewise.
        dropped: how many events from the wanted one on are not kept any more.
        end: how many events there are so far.
        is_over: whether there will be no more than these.
    """

    pieces: list[LogPiece]
    position: int
    offset: int
    dropped: int
    end: int
    is_over: bool


class LogEvent(msgspec.Struct, frozen=True):
    """Something a process has said.

    Attributes:
        kind: as of an `Event`, or `dropped`.
        value: text; of a `file` its size in bytes, of `dropped` how many events are not kept any more.
    """

    kind: LogKind
    value: str


async def read_logs(
    ask: Callable[[LogQuery], Awaitable[LogPage]], process_id: str, *, follow: bool
) -> AsyncIterator[LogEvent]:
    """What a process has said up to now; if `follow`, up to its last event.

    Args:
        ask: asks the server for a page.
        process_id: whose.
        follow: whether to wait for what it will say.
    """
    position, offset, until = 0, 0, None
    parts: list[str] = []
    while True:
        page = await ask(LogQuery(process_id=process_id, position=position, offset=offset, wait=follow))
        if page.dropped:
            parts.clear()
            yield LogEvent("dropped", str(page.dropped))
        for piece in page.pieces:
            parts.append(piece.value)
            if not piece.more:
                yield LogEvent(piece.event, "".join(parts))
                parts.clear()
        position, offset = page.position, page.offset
        until = page.end if until is None else until
        if position >= (page.end if follow else until) and (page.is_over or not follow):
            return
