"""What clients ask by subject: figures of the models, and what a process has said."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import msgspec

from pie.errors import RequestError
from pie.server.service import Service
from pie.server.status import model_status
from pie_client.logs import LogPage, LogQuery

__all__ = ["answer_query"]

WAIT_S = 20.0
MAX_POSITION = 1 << 62


async def answer_query(subject: str, record: str, service: Service, *, user: str) -> str:
    """The answer, as JSON text.

    Args:
        subject: `model_status`, or `transcript` (ours), whose record is a `LogQuery`.
        record: what else the subject needs.
        service: what is asked about.
        user: who asks.

    Raises:
        RequestError: `unknown-subject`, `bad-query`.
        Denied: there is no such process, or it is another user's.
    """
    if subject == "model_status":
        figures: dict[str, Any] = {}
        for model in service.runtime.models.values():
            figures |= model_status(model)
        return json.dumps(figures)
    if subject == "transcript":
        return msgspec.json.encode(await _page(record, service, user=user)).decode()
    raise RequestError(
        "unknown-subject", f"nothing is known of {subject[:100]!r}", remedy="Ask for model_status or transcript."
    )


async def _page(record: str, service: Service, *, user: str) -> LogPage:
    try:
        query = msgspec.json.decode(record, type=LogQuery)
    except (ValueError, RecursionError) as error:
        raise _bad_query(str(error)) from None
    if not (0 <= query.position < MAX_POSITION and 0 <= query.offset < MAX_POSITION):
        raise _bad_query("a position is out of range")
    transcript = service.processes.find(query.process_id, user=user).transcript
    if query.wait:
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                await transcript.said_more(query.position)
    return transcript.page(query.position, query.offset)


def _bad_query(cause: str) -> RequestError:
    return RequestError("bad-query", cause, remedy='Write {"process_id": "...", "position": 0} as the record.')
