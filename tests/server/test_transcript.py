"""What a process says, between it and a client that reads, does not read, or is not there."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pie.errors import ProcessError
from pie.host.mailbox import Event
from pie.server.history import HEARD_CHARACTERS, HEARD_EVENTS, PAGE_CHARACTERS, HeardRoom
from pie.server.transcript import KEPT_BYTES, KEPT_EVENTS, MAX_TEXT_BYTES, Offer, Transcript
from pie_client.chunks import CHUNK_BYTES, content_hash
from pie_client.messages import File, ProcessEvent


def nothing() -> None:
    """A reader that is not told."""


def read(transcript: Transcript) -> list[tuple[str, str]]:
    """All that is to be sent, as sent."""
    found: list[tuple[str, str]] = []
    while (offer := transcript.next()) is not None:
        assert isinstance(offer.message, ProcessEvent)
        found.append((offer.message.event, offer.message.value))
        transcript.was_sent(offer)
    return found


def offered(transcript: Transcript) -> Offer:
    offer = transcript.next()
    assert offer is not None
    return offer


def say(transcript: Transcript, text: str) -> Awaitable[None] | None:
    return transcript.hear(Event("message", text))


def test_events_come_in_order_and_the_last_one_stays() -> None:
    transcript = Transcript("p", captured=True)
    transcript.attach(nothing)
    say(transcript, "one")
    transcript.hear(Event("stdout", b"two"))
    transcript.finish("return", "3")
    expected = [("message", "one"), ("stdout", "two"), ("return", "3")]
    assert read(transcript) == expected
    assert read(transcript) == []
    transcript.detach()
    transcript.attach(nothing)
    assert read(transcript) == expected[-1:]


def test_what_was_not_sent_when_the_client_left_is_sent_to_the_next_one() -> None:
    transcript = Transcript("p", captured=True)
    transcript.attach(nothing)
    say(transcript, "one")
    say(transcript, "two")
    assert offered(transcript).message == ProcessEvent(process_id="p", event="message", value="one")  # not sent
    transcript.detach()
    say(transcript, "three")
    transcript.attach(nothing)
    assert read(transcript) == [("message", "one"), ("message", "two"), ("message", "three")]


def test_while_nobody_reads_the_newest_are_kept_and_the_rest_is_counted() -> None:
    transcript = Transcript("p", captured=True)
    for number in range(KEPT_EVENTS + 3):
        assert say(transcript, str(number)) is None
    transcript.attach(nothing)
    first, *others = read(transcript)
    assert first == ("stderr", "pie: 3 earlier events were dropped, since nobody was attached\n")
    assert others == [("message", str(number)) for number in range(3, KEPT_EVENTS + 3)]


def test_while_nobody_reads_bytes_are_bounded_too() -> None:
    transcript = Transcript("p", captured=True)
    for _ in range(100):
        transcript.hear(Event("file", bytes(1 << 20)))
    assert transcript.num_bytes <= KEPT_BYTES
    transcript.hear(Event("file", bytes(KEPT_BYTES + 1)))
    assert transcript.num_bytes == 0


def test_of_a_process_that_is_not_captured_nothing_but_the_end_is_kept() -> None:
    transcript = Transcript("p", captured=False)
    say(transcript, "one")
    transcript.finish("error", "two")
    transcript.attach(nothing)
    assert read(transcript) == [("error", "two")]


async def test_a_process_that_is_ahead_of_its_reader_waits_until_it_is_read() -> None:
    transcript = Transcript("p", captured=True)
    transcript.attach(nothing)
    waits = [say(transcript, "x") for _ in range(1000)]
    held_up = [asyncio.ensure_future(wait) for wait in waits if wait is not None]
    assert waits[0] is None
    assert held_up
    await asyncio.sleep(0)
    assert not any(wait.done() for wait in held_up)
    read(transcript)
    await asyncio.gather(*held_up)


async def test_a_process_that_waits_goes_on_when_its_reader_leaves() -> None:
    transcript = Transcript("p", captured=True)
    transcript.attach(nothing)
    wait = transcript.hear(Event("file", bytes(1 << 20)))
    assert wait is not None
    transcript.detach()
    await wait


async def test_who_comes_while_the_last_event_is_being_sent_to_another_client_gets_it_too() -> None:
    transcript = Transcript("p", captured=True)
    transcript.attach(nothing)
    transcript.finish("return", "1")
    to_the_first = offered(transcript)
    transcript.detach()
    transcript.attach(nothing)
    waiting = asyncio.ensure_future(transcript.heard())
    transcript.was_sent(to_the_first)
    await asyncio.sleep(0)
    assert not waiting.done()
    assert read(transcript) == [("return", "1")]
    await waiting


@pytest.mark.parametrize("says_it_late", [False, True])
def test_an_event_on_its_way_to_another_client_takes_none_from_who_comes(says_it_late: bool) -> None:
    transcript = Transcript("p", captured=True)
    transcript.attach(nothing)
    for text in ("one", "two"):
        say(transcript, text)
    to_the_first = offered(transcript)
    transcript.detach()
    transcript.attach(nothing)
    if says_it_late:
        assert read(transcript) == [("message", "one"), ("message", "two")]
    transcript.was_sent(to_the_first)
    assert read(transcript) == ([] if says_it_late else [("message", "two")])


def test_a_chunk_on_its_way_to_another_client_takes_none_from_who_comes() -> None:
    transcript = Transcript("p", captured=True)
    transcript.hear(Event("file", bytes(CHUNK_BYTES + 1)))
    transcript.attach(nothing)
    to_the_first = offered(transcript)
    transcript.detach()
    transcript.attach(nothing)
    again = offered(transcript)
    transcript.was_sent(to_the_first)
    assert offered(transcript).message == again.message
    transcript.was_sent(again)
    message = offered(transcript).message
    assert isinstance(message, File)
    assert message.chunk_index == 1


def test_dropped_events_are_told_to_who_comes_while_another_client_is_told() -> None:
    transcript = Transcript("p", captured=True)
    for _ in range(KEPT_EVENTS + 3):
        say(transcript, "x")
    transcript.attach(nothing)
    to_the_first = offered(transcript)
    transcript.detach()
    transcript.attach(nothing)
    transcript.was_sent(to_the_first)
    assert offered(transcript).message == to_the_first.message


async def test_a_process_that_ended_while_it_waited_does_not_disturb_the_rest() -> None:
    transcript = Transcript("p", captured=True)
    transcript.attach(nothing)
    wait = transcript.hear(Event("file", bytes(1 << 20)))
    assert isinstance(wait, asyncio.Future)
    wait.cancel()
    transcript.detach()


def test_a_file_is_sent_in_chunks_and_again_from_the_first_one_after_a_break() -> None:
    transcript = Transcript("p", captured=True)
    data = b"a" * CHUNK_BYTES + b"b"
    transcript.hear(Event("file", data))
    transcript.attach(nothing)
    transcript.was_sent(offered(transcript))
    transcript.detach()
    transcript.attach(nothing)
    chunks = []
    while (offer := transcript.next()) is not None:
        message = offer.message
        assert isinstance(message, File)
        assert (message.file_hash, message.total_chunks) == (content_hash(data), 2)
        chunks.append((message.chunk_index, message.chunk_data))
        transcript.was_sent(offer)
    assert chunks == [(0, data[:CHUNK_BYTES]), (1, b"b")]


def test_an_empty_file_is_one_empty_chunk() -> None:
    transcript = Transcript("p", captured=True)
    transcript.hear(Event("file", b""))
    message = offered(transcript).message
    assert isinstance(message, File)
    assert (message.chunk_index, message.total_chunks, message.chunk_data) == (0, 1, b"")


@given(st.text(max_size=50), st.lists(st.integers(0, 200), max_size=5))
def test_output_is_the_same_text_wherever_it_is_cut(text: str, places: list[int]) -> None:
    transcript, data = Transcript("p", captured=True), text.encode()
    cuts = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    for start, end in itertools.pairwise(cuts):
        transcript.hear(Event("stdout", data[start:end]))
    transcript.finish("return", "")
    assert "".join(value for kind, value in read(transcript) if kind == "stdout") == text


def test_output_that_is_no_text_is_told_as_well_as_it_can_be() -> None:
    transcript = Transcript("p", captured=True)
    transcript.hear(Event("stderr", b"a\xffb\xc3"))
    transcript.finish("return", "")
    assert "".join(value for _, value in read(transcript)) == "a�b�"


def test_long_output_is_cut_into_frames_that_clients_take() -> None:
    transcript = Transcript("p", captured=True)
    transcript.hear(Event("stdout", "ä".encode() * 1_000_000))
    pieces = [value for _, value in read(transcript)]
    assert "".join(pieces) == "ä" * 1_000_000
    assert max(len(piece.encode()) for piece in pieces) < MAX_TEXT_BYTES


def test_a_message_that_fits_no_frame_is_refused() -> None:
    transcript = Transcript("p", captured=True)
    say(transcript, "x" * MAX_TEXT_BYTES)
    with pytest.raises(ProcessError) as refused:
        say(transcript, "ä" * MAX_TEXT_BYTES)
    assert refused.value.code == "message-too-large"


async def test_whoever_waits_for_the_last_event_to_be_sent_goes_on_when_it_was() -> None:
    transcript = Transcript("p", captured=True)
    transcript.attach(nothing)
    transcript.finish("return", "1")
    waiting = asyncio.ensure_future(transcript.heard())
    await asyncio.sleep(0)
    assert not waiting.done()
    read(transcript)
    await waiting


def pages(transcript: Transcript) -> tuple[list[tuple[str, str]], int]:
    """All that is kept, page by page, and how many events were dropped."""
    told: list[tuple[str, str]] = []
    position, offset, dropped, part = 0, 0, 0, ""
    while True:
        page = transcript.page(position, offset)
        assert sum(len(piece.value) for piece in page.pieces) <= PAGE_CHARACTERS
        dropped += page.dropped
        for piece in page.pieces:
            part += piece.value
            if not piece.more:
                told.append((piece.event, part))
                part = ""
        position, offset = page.position, page.offset
        if position == page.end:
            return told, dropped


@given(st.lists(st.text(max_size=4), max_size=20), st.integers(0, 20), st.booleans())
def test_pages_tell_all_that_was_said_however_much_has_been_heard(texts: list[str], heard: int, over: bool) -> None:
    transcript = Transcript("p", captured=True)
    transcript.attach(nothing)
    for text in texts:
        say(transcript, text)
    if over:
        transcript.finish("return", "1")
    for _ in range(min(heard, len(texts))):
        transcript.was_sent(offered(transcript))
    before = transcript.next()
    assert pages(transcript) == ([("message", text) for text in texts] + [("return", "1")] * over, 0)
    after = transcript.next()
    assert (after and after.message) == (before and before.message), "nothing is taken from who listens"


def test_large_events_are_told_in_pieces_and_files_by_their_size() -> None:
    transcript = Transcript("p", captured=True)
    say(transcript, "\x00" * 200_000)
    transcript.hear(Event("file", bytes(3 << 20)))
    say(transcript, "end")
    assert pages(transcript) == ([("message", "\x00" * 200_000), ("file", str(3 << 20)), ("message", "end")], 0)


def test_what_was_heard_is_forgotten_from_its_beginning() -> None:
    transcript = Transcript("p", captured=True)
    transcript.attach(nothing)
    for number in range(HEARD_EVENTS + 7):
        say(transcript, str(number))
        read(transcript)
    told, dropped = pages(transcript)
    assert (len(told), dropped, told[0]) == (HEARD_EVENTS, 7, ("message", "7"))
    for _ in range(40):
        say(transcript, "x" * 40_000)
        read(transcript)
    told, dropped = pages(transcript)
    assert sum(len(value) for _, value in told) <= HEARD_CHARACTERS
    assert len(told) + dropped == HEARD_EVENTS + 47
    transcript.forget()
    say(transcript, "more")
    assert pages(transcript) == ([("message", "more")], HEARD_EVENTS + 47)


def test_a_position_beyond_the_end_is_an_empty_page() -> None:
    transcript = Transcript("p", captured=True)
    say(transcript, "x")
    page = transcript.page(100, 5)
    assert (page.pieces, page.position, page.offset, page.dropped) == ([], 1, 0, 0)


@pytest.mark.asyncio
async def test_who_waits_learns_of_news_and_of_the_end() -> None:
    transcript = Transcript("p", captured=True)
    waiting = [asyncio.ensure_future(transcript.said_more(position)) for position in (0, 1)]
    given_up = asyncio.ensure_future(transcript.said_more(0))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.sleep(0)
    say(transcript, "x")
    await waiting[0]
    assert not waiting[1].done()
    transcript.finish("return", "1")
    await waiting[1]
    await transcript.said_more(5)


def test_ended_processes_share_the_memory_of_what_was_heard() -> None:
    room = HeardRoom(max_characters=25)
    transcripts = [Transcript(str(number), captured=True) for number in range(3)]
    for number, transcript in enumerate(transcripts):
        transcript.attach(nothing)
        say(transcript, "x" * 10)
        read(transcript)
        room.add(str(number), transcript)
    assert [len(transcript.page(0, 0).pieces) for transcript in transcripts] == [0, 1, 1]
    assert room.num_characters == 20
