"""A generation holds what its decode makes, shows it as text that is always whole, and wakes its program when due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pie.config import embedded_model
from pie.errors import RequestError
from pie.forward import FinishReason
from pie.generation.generation import Generation, Progress
from pie.text.decoders import ChatDecoder
from pie.text.template import ChatTemplate
from pie.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer.load(embedded_model())
TEMPLATE = ChatTemplate.load(embedded_model(), TOKENIZER)
TEXT = "Grüße, 世界 👩‍🚀! 47 + 38 = 85\n"


def make(*, notify_every: int = 0, pipe: Callable[[str], None] | None = None) -> Generation:
    decoder = ChatDecoder(TOKENIZER, stop_ids=TEMPLATE.stop_tokens(), markers=TEMPLATE.markers)
    return Generation(decoder, notify_every=notify_every, pipe=pipe)


class Decode:
    """The handle of a decode that counts how often it is cancelled."""

    def __init__(self) -> None:
        self.num_cancels = 0

    def cancel(self) -> None:
        self.num_cancels += 1


def split(token_ids: Sequence[int], cuts: Sequence[int]) -> list[Sequence[int]]:
    """The tokens in parts that end after each of `cuts`, and at the end."""
    places = sorted({cut % (len(token_ids) + 1) for cut in cuts} | {0, len(token_ids)})
    return [token_ids[start:end] for start, end in pairwise(places)]


def encoded(text: str) -> list[int]:
    return TOKENIZER.encode(text, allow_special=False)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.lists(st.integers(0, 200), max_size=10))
def test_what_is_piped_is_the_text_however_the_tokens_arrive(text: str, cuts: list[int]) -> None:
    pieces: list[str] = []
    generation = make(pipe=pieces.append)
    for part in split(encoded(text), cuts):
        generation.tokens(part)
    generation.finished("length")
    assert "".join(pieces) == generation.text() == text
    assert all(pieces)


def test_a_character_is_not_shown_before_it_is_whole() -> None:
    pieces: list[str] = []
    generation = make(pipe=pieces.append)
    tokens = encoded("👩‍🚀")
    assert len(tokens) > 4
    for token in tokens:
        generation.tokens([token])
        assert "\ufffd" not in generation.text()
    assert "".join(pieces) == "👩‍🚀"


def test_a_character_that_is_never_whole_is_replaced_at_the_end() -> None:
    pieces: list[str] = []
    generation = make(pipe=pieces.append)
    generation.tokens(encoded("ab👩")[:-1])
    assert "".join(pieces) == "ab"
    generation.finished("length")
    assert "".join(pieces) == generation.text() == "ab\ufffd"


def test_control_tokens_are_not_shown() -> None:
    generation = make()
    generation.tokens(TOKENIZER.encode("<think>7+8=15</think>15<|im_start|>"))
    generation.finished("stop")
    assert generation.text() == "7+8=1515"


def test_without_a_pipe_the_text_is_there_when_asked_for() -> None:
    generation = make()
    tokens = encoded(TEXT)
    generation.tokens(tokens[:5])
    first = generation.text()
    assert TEXT.startswith(first)
    assert first
    generation.tokens(tokens[5:])
    generation.finished("stop")
    assert generation.text() == generation.text() == TEXT


@pytest.mark.parametrize(
    ("notify_every", "arrivals", "due"), [(1, 1, True), (4, 3, False), (4, 4, True), (0, 50, False)]
)
async def test_news_are_due_after_as_many_tokens_as_was_asked_for(notify_every: int, arrivals: int, due: bool) -> None:
    generation = make(notify_every=notify_every)
    before = generation.news()
    for _ in range(arrivals):
        generation.tokens([30])
    assert before.done() is due
    assert generation.news().done() is due


async def test_taking_begins_the_count_anew() -> None:
    generation = make(notify_every=2)
    generation.tokens([30, 31])
    assert generation.take() == Progress([30, 31], None)
    assert generation.take() is None
    generation.tokens([32])
    assert not generation.news().done()
    generation.tokens([33])
    assert generation.news().done()
    assert generation.take() == Progress([32, 33], None)
    assert generation.num_tokens == 4


async def test_the_end_is_always_news() -> None:
    generation = make()
    news = generation.news()
    generation.tokens([30, 31])
    assert not news.done()
    generation.finished("stop")
    await asyncio.wait_for(news, 1)
    assert generation.take() == Progress([30, 31], "stop")
    assert generation.news().done()
    assert generation.take() == Progress([], "stop")


async def test_one_waiter_that_gives_up_does_not_keep_the_next_from_the_news() -> None:
    generation = make(notify_every=1)
    generation.news().cancel()
    generation.tokens([30])
    await asyncio.wait_for(generation.news(), 1)


async def test_a_failure_is_news_and_is_raised_to_whoever_takes() -> None:
    generation = make()
    news = generation.news()
    generation.tokens(encoded("so far"))
    generation.failed(RequestError("step-failed", "the device failed"))
    await asyncio.wait_for(news, 1)
    assert generation.take() == Progress(encoded("so far"), None)
    for _ in range(2):
        await asyncio.wait_for(generation.news(), 1)
        with pytest.raises(RequestError) as caught:
            generation.take()
        assert caught.value.code == "step-failed"
    assert generation.text() == "so far"


@pytest.mark.parametrize(("reason", "draws"), [("stop", 4), ("complete", 3), ("length", 3)])
def test_a_stop_token_counts_as_a_draw(reason: FinishReason, draws: int) -> None:
    generation = make()
    generation.tokens([30, 31, 32])
    assert generation.num_draws == 3
    generation.finished(reason)
    assert generation.num_draws == draws


def test_cancelling_ends_the_decode_and_is_harmless_before_there_is_one() -> None:
    generation, decode = make(), Decode()
    generation.cancel()
    generation.attach(decode)
    generation.cancel()
    assert decode.num_cancels == 1
