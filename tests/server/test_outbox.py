"""What a connection sends: nothing of a process that its client does not listen to any more."""

from __future__ import annotations

import asyncio

import pytest

from pie.host.mailbox import Event
from pie.server.outbox import SETTLING_S, Outbox
from pie.server.transcript import Transcript


async def test_a_process_that_was_left_waits_for_the_next_reader() -> None:
    first, second = Outbox(), Outbox()
    transcript = Transcript("00000000-0000-0000-0000-000000000000", captured=True)
    first.attach(transcript)
    first.detach(transcript)
    transcript.hear(Event("message", "for whoever comes"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3 * SETTLING_S):
            await first.next()
    second.attach(transcript)
    frame, was_sent = await second.next()
    assert b"for whoever comes" in frame
    assert was_sent is not None
    was_sent()
    assert transcript.next() is None


async def test_the_end_of_a_process_reaches_who_comes_while_it_is_being_sent_to_who_left() -> None:
    first, second = Outbox(), Outbox()
    transcript = Transcript("00000000-0000-0000-0000-000000000000", captured=True)
    first.attach(transcript)
    transcript.finish("return", "the end")
    frame, was_sent = await first.next()
    assert b"the end" in frame
    assert was_sent is not None
    first.detach(transcript)  # the socket is slow: the frame is not sent yet
    second.attach(transcript)
    was_sent()
    async with asyncio.timeout(10):
        frame, _ = await second.next()
    assert b"the end" in frame
