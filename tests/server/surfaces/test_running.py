"""What a program says while nobody takes it: bounded, and whole once somebody does."""

from __future__ import annotations

import asyncio

import pytest

from pie.host.mailbox import Event
from pie.server.surfaces.running import MAX_WAITING_BYTES, Run, Said

pytestmark = pytest.mark.asyncio


async def test_a_program_that_prints_faster_than_it_is_read_waits() -> None:
    run = Run()
    assert run.hear(Event("stdout", b"a" * MAX_WAITING_BYTES)) is None
    waiting = run.hear(Event("stdout", b"b"))
    assert waiting is not None
    assert not waiting.done()
    assert await run.more() == Said("a" * MAX_WAITING_BYTES + "b")
    assert waiting.done()


async def test_only_what_is_printed_is_text_and_characters_stay_whole() -> None:
    run = Run()
    for event in (Event("stderr", b"x"), Event("message", "y"), Event("file", b"z"), Event("stdout", b"\xc3")):
        assert run.hear(event) is None
    taking = asyncio.ensure_future(run.more())
    await asyncio.sleep(0)
    assert not taking.done()
    run.hear(Event("stdout", b"\xa9"))
    assert await taking == Said("é")
    run.hear(Event("stdout", b"\xff\xc3"))
    run.belongs_to("id", asyncio.ensure_future(asyncio.sleep(0, "null")))
    assert await run.more() == Said("�")
    assert await run.more() == Said("�")
    assert await run.more() is None


async def test_messages_are_heard_where_they_are_wanted_and_bounded_too() -> None:
    run = Run(with_messages=True)
    assert run.hear(Event("message", "one")) is None
    assert await run.more() == Said("", ("one",))
    waiting = run.hear(Event("message", "m" * (MAX_WAITING_BYTES + 1)))
    assert waiting is not None
    run.hear(Event("stdout", b"text"))
    assert await run.more() == Said("text", ("m" * (MAX_WAITING_BYTES + 1),))
    assert waiting.done()
