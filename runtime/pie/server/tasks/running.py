"""One run of a task: the program that comes with the server for chat completions, launched as for any request."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress

from pie.errors import PieError, ProcessError
from pie.server.service import Service
from pie.server.surfaces.running import running
from pie.server.surfaces.vocabulary import Answer, read_answer
from pie.server.tasks.live import Live
from pie.server.tasks.record import End, Record, failed

__all__ = ["run_task"]

PROGRAM = "chat-completions"
NO_ROOM_S = 0.1
"""How long a task whose user has no room waits before it looks again: no one tells when a process ends."""

log = logging.getLogger(__name__)


async def run_task(service: Service, record: Record, live: Live, closing: asyncio.Event) -> End | None:
    """Run a task to its end, or until it is canceled or the server closes.

    Returns:
        How it ended; None if the server stops before the program was launched.
    """
    loop = asyncio.get_running_loop()
    generating = loop.create_task(_generate(service, record, live), name=f"task {record.task_id}")
    others = [loop.create_task(event.wait()) for event in (live.canceled, closing)]
    try:
        await asyncio.wait([generating, *others], return_when=asyncio.FIRST_COMPLETED)
    finally:
        is_done = generating.done()
        for task in (generating, *others):
            task.cancel()  # which ends the process that still runs
        await asyncio.wait([generating, *others])
    if not is_done:
        with suppress(asyncio.CancelledError):
            generating.exception()
        return End("CANCELED", live.text) if live.canceled.is_set() else _interrupted(_stopped(), live)
    try:
        return generating.result()
    except PieError as error:
        return (
            _interrupted(error, live)
            if error.code == "shutting-down"
            else failed(error, live.text, with_trace=service.settings.debug)
        )
    except Exception:  # a defect of ours: whoever waits for the task must learn that it is over
        log.exception("task %s failed", record.task_id)
        return failed(_server_failed(), live.text)


async def _generate(service: Service, record: Record, live: Live) -> End:
    program = await service.programs.ours(PROGRAM)
    if live.after is not None:
        await live.after.wait()
    given = json.loads(record.given)
    await service.runtime.models.when_ready(given["model"])
    await _room(service, record.owner, live)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    async with running(service, program, given, holder=live.holder) as run:
        live.has_launched = True
        live.turned.set()
        while (said := await run.more()) is not None:
            live.say(said.text)
        answer = read_answer(await run.value(), num_choices=1)
    return _completed(answer, live, loop.time() - began_s)


async def _room(service: Service, owner: str, live: Live) -> None:
    while True:
        try:
            service.check_open()
            service.check_room(owner, 1)
            return
        except ProcessError as error:
            if error.code != "too-many-processes":
                raise
        live.turned.set()
        await asyncio.sleep(NO_ROOM_S)


def _completed(answer: Answer, live: Live, seconds: float) -> End:
    choice = answer.choices[0]
    if rest := choice.text[len(live.text) :]:
        live.say(rest)
    tokens_per_second = round(answer.usage.completion_tokens / seconds, 2)
    return End("COMPLETED", live.text, choice.finish_reason, tokens_per_second)


def _interrupted(error: PieError, live: Live) -> End | None:
    return failed(error, live.text, status="INTERRUPTED") if live.has_launched else None


def _stopped() -> ProcessError:
    return ProcessError("shutting-down", "the server stopped", remedy="Send the task again when the server is back.")


def _server_failed() -> ProcessError:
    return ProcessError(
        "server-failed", "the server met an error of its own in this task", remedy="Report it with the log."
    )
