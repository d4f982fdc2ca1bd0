"""What the client has received and nobody has read yet."""

from __future__ import annotations

import asyncio

import pytest

from pie_client import ClientError, ConnectionLost
from pie_client.chunks import CHUNK_BYTES, content_hash, split
from pie_client.inbox import MAX_EARLY, Inboxes
from pie_client.messages import File, ProcessEvent


def event(process_id: str, value: str, *, last: bool = False) -> ProcessEvent:
    return ProcessEvent(process_id=process_id, event="return" if last else "message", value=value)


def file(data: bytes, *, announced: str | None = None) -> list[File]:
    return [
        File(
            process_id="p",
            file_hash=announced or content_hash(data),
            chunk_index=chunk.index,
            total_chunks=chunk.total,
            chunk_data=chunk.data,
        )
        for chunk in split(data)
    ]


async def test_events_that_come_before_the_process_is_known_wait_for_it() -> None:
    inboxes = Inboxes()
    inboxes.put(event("p", "1"))
    inboxes.put(event("p", "2", last=True))
    inbox = inboxes.open("p")
    assert [await inbox.get(), await inbox.get()] == [("message", "1"), ("return", "2")]
    with pytest.raises(ConnectionLost) as over:
        await inbox.get()
    assert over.value.code == "process-ended"


async def test_events_of_processes_that_stay_unknown_are_bounded() -> None:
    inboxes = Inboxes()
    for number in range(MAX_EARLY + 1):
        inboxes.put(event(str(number), "x", last=True))
    inboxes.end(ConnectionLost("connection-lost", "test"))
    assert await inboxes.open(str(MAX_EARLY)).get() == ("return", "x")
    with pytest.raises(ConnectionLost):  # the first was forgotten
        await inboxes.open("0").get()


async def test_a_process_can_be_attached_to_again_after_it_has_ended() -> None:
    inboxes = Inboxes()
    first = inboxes.open("p")
    inboxes.put(event("p", "1", last=True))
    second = inboxes.open("p")
    inboxes.put(event("p", "2", last=True))
    assert (await first.get(), await second.get()) == (("return", "1"), ("return", "2"))


async def test_events_that_come_with_the_answer_are_those_of_whoever_attaches() -> None:
    inboxes = Inboxes()
    first = inboxes.open("p")  # of a process that nobody heard, so that it does not know of its end
    with inboxes.opening("p") as second:
        inboxes.put(event("p", "1", last=True))
    assert await second.get() == ("return", "1")
    assert first.is_over
    with inboxes.opening("p") as third:
        inboxes.put(event("p", "1", last=True))
    assert await third.get() == ("return", "1")


async def test_nothing_is_kept_of_an_attaching_that_failed_or_a_process_that_ended_early() -> None:
    inboxes = Inboxes()
    with pytest.raises(ConnectionLost), inboxes.opening("p"):
        raise ConnectionLost("test", "test")
    inboxes.put(event("q", "1", last=True))
    inboxes.open("q")
    held = inboxes.open("r")
    with pytest.raises(ConnectionLost), inboxes.opening("r"):
        raise ConnectionLost("test", "test")
    assert inboxes.open("r") is held
    assert inboxes.num_kept == 1


async def test_a_file_is_one_event_however_many_chunks_it_came_in() -> None:
    inboxes, data = Inboxes(), bytes(2 * CHUNK_BYTES + 1)
    inbox = inboxes.open("p")
    for message in [*file(data), *file(b"")]:
        inboxes.put(message)
    assert [await inbox.get(), await inbox.get()] == [("file", data), ("file", b"")]


@pytest.mark.parametrize("messages", [file(b"x", announced="0" * 64), file(bytes(CHUNK_BYTES + 1))[1:]])
async def test_a_file_that_is_not_what_was_announced_ends_the_events(messages: list[File]) -> None:
    inboxes = Inboxes()
    inbox = inboxes.open("p")
    for message in messages:
        inboxes.put(message)
    with pytest.raises(ClientError, match="upload-"):
        await inbox.get()


async def test_who_waits_for_an_event_learns_that_the_connection_has_ended() -> None:
    inboxes = Inboxes()
    waiting = asyncio.ensure_future(inboxes.open("p").get())
    await asyncio.sleep(0)
    inboxes.end(ConnectionLost("connection-lost", "test"))
    with pytest.raises(ConnectionLost):
        await waiting
