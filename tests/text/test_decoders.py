"""Decoders: no event is lost, no text is split or repeated, however the tokens come."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pie.text.decoders import (
    ChatDecoder,
    Delta,
    Done,
    Interrupt,
    MalformedCall,
    ReasoningComplete,
    ReasoningDecoder,
    ReasoningDelta,
    ReasoningStart,
    ToolCall,
    ToolDecoder,
    ToolStart,
)
from pie.text.detokenizer import Detokenizer
from pie.text.template import ChatTemplate
from pie.text.tokenizer import Tokenizer

STOP, THINK, END_THINK, CALL, END_CALL = 2, 3, 4, 5, 6
token_lists = st.lists(
    st.integers(7, 2047) | st.sampled_from([0, 1, STOP, THINK, END_THINK, CALL, END_CALL]), max_size=40
)


@pytest.fixture(scope="session")
def decoders(tokenizer: Tokenizer, template: ChatTemplate) -> dict[str, Callable[[], Any]]:
    stop_ids, markers = template.stop_tokens(), template.markers
    return {
        "chat": lambda: ChatDecoder(tokenizer, markers, stop_ids=stop_ids),
        "reasoning": lambda: ReasoningDecoder(tokenizer, markers, stop_ids=stop_ids),
        "inside": lambda: ReasoningDecoder(tokenizer, markers, stop_ids=stop_ids, starts_inside=True),
        "tools": lambda: ToolDecoder(tokenizer, markers, stop_ids=stop_ids),
    }


def merged(events: Sequence[Any]) -> list[Any]:
    """Neighbouring deltas as one."""
    result: list[Any] = []
    for event in events:
        if result and isinstance(event, Delta | ReasoningDelta) and type(result[-1]) is type(event):
            result[-1] = type(event)(result[-1].text + event.text)
        else:
            result.append(event)
    return result


def split(ids: list[int], cuts: list[int]) -> list[list[int]]:
    bounds = sorted({0, len(ids), *(cut % (len(ids) + 1) for cut in cuts)})
    return [ids[start:end] for start, end in itertools.pairwise(bounds)]


@pytest.mark.parametrize("name", ["chat", "reasoning", "inside", "tools"])
@given(ids=token_lists, cuts=st.lists(st.integers(0, 40)))
def test_events_do_not_depend_on_how_the_tokens_are_fed(
    decoders: dict[str, Callable[[], Any]], name: str, ids: list[int], cuts: list[int]
) -> None:
    at_once, in_parts, one_by_one = (decoders[name]() for _ in range(3))
    whole = merged([*at_once.feed(ids), *at_once.finish()])
    assert whole == merged([event for part in split(ids, cuts) for event in in_parts.feed(part)] + in_parts.finish())
    assert whole == merged([event for token in ids for event in one_by_one.feed([token])] + one_by_one.finish())


@given(ids=st.lists(st.integers(0, 2047).filter(lambda token: token not in (0, STOP)), max_size=40))
def test_deltas_joined_are_the_whole_text_and_the_decoded_tokens(
    decoders: dict[str, Callable[[], Any]], tokenizer: Tokenizer, ids: list[int]
) -> None:
    decoder = decoders["chat"]()
    events = [event for token in [*ids, STOP] for event in decoder.feed([token])]
    text = "".join(event.text for event in events if isinstance(event, Delta))
    assert events[-1] == Done(text)
    assert text == tokenizer.decode(ids, keep_special=False)
    assert [event.token_id for event in events if isinstance(event, Interrupt)] == [
        t for t in ids if t in tokenizer.special_ids
    ]


@given(text=st.text(), limit=st.integers(1, 3))
def test_no_delta_holds_a_torn_character(
    decoders: dict[str, Callable[[], Any]], tokenizer: Tokenizer, text: str, limit: int
) -> None:
    ids = [token for character in text for token in tokenizer.encode(character, allow_special=False)]
    decoder = decoders["chat"]()
    seen = ""
    for start in range(0, len(ids), limit):
        for event in decoder.feed(ids[start : start + limit]):
            seen += event.text
            assert text.startswith(seen)
    assert seen == text


def test_several_turns_in_one_feed_are_all_reported(
    decoders: dict[str, Callable[[], Any]], tokenizer: Tokenizer
) -> None:
    yes, no = tokenizer.encode("Yes."), tokenizer.encode("No.")
    assert decoders["chat"]().feed([*yes, STOP, *no, STOP]) == [Delta("Yes."), Done("Yes."), Delta("No."), Done("No.")]


def test_an_unfinished_character_at_the_end_shows_as_a_replacement(
    decoders: dict[str, Callable[[], Any]], tokenizer: Tokenizer
) -> None:
    torn = tokenizer.encode("🎉")[:1]
    assert decoders["chat"]().feed([*torn, STOP]) == [Delta("\ufffd"), Done("\ufffd")]


def test_resetting_forgets_the_text_and_the_torn_character(
    decoders: dict[str, Callable[[], Any]], tokenizer: Tokenizer
) -> None:
    decoder = decoders["chat"]()
    decoder.feed([*tokenizer.encode("Forget"), tokenizer.encode("🎉")[0]])
    decoder.reset()
    assert decoder.feed([*tokenizer.encode("Yes"), STOP]) == [Delta("Yes"), Done("Yes")]


def test_a_token_outside_of_the_vocabulary_shows_as_a_replacement(decoders: dict[str, Callable[[], Any]]) -> None:
    assert decoders["chat"]().feed([99999, STOP]) == [Delta("\ufffd"), Done("\ufffd")]


def test_reasoning_blocks_are_told_apart_from_the_answer(
    decoders: dict[str, Callable[[], Any]], tokenizer: Tokenizer
) -> None:
    ids = tokenizer.encode("<think>one</think>answer<think>two</think>")
    assert decoders["reasoning"]().feed(ids) == [
        ReasoningStart(),
        ReasoningDelta("one"),
        ReasoningComplete("one"),
        ReasoningStart(),
        ReasoningDelta("two"),
        ReasoningComplete("two"),
    ]


def test_a_turn_that_begins_inside_a_thought_announces_it(
    decoders: dict[str, Callable[[], Any]], tokenizer: Tokenizer
) -> None:
    decoder = decoders["inside"]()
    expected = [ReasoningStart(), ReasoningDelta("one"), ReasoningComplete("one")]
    assert decoder.feed(tokenizer.encode("one</think>two<|im_end|>")) == expected
    assert decoder.feed(tokenizer.encode("one</think>two")) == expected


def test_a_stop_token_ends_an_open_thought(decoders: dict[str, Callable[[], Any]], tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("<think>one<|im_end|>two</think>")
    assert decoders["reasoning"]().feed(ids) == [ReasoningStart(), ReasoningDelta("one"), ReasoningComplete("one")]


def test_every_tool_call_of_a_feed_is_reported(decoders: dict[str, Callable[[], Any]], tokenizer: Tokenizer) -> None:
    first = json.dumps({"name": "f", "arguments": {"a": "é"}})
    second = json.dumps({"arguments": "{}", "name": "g"})
    ids = tokenizer.encode(f"x<tool_call>\n{first}\n</tool_call>\n<tool_call>{second}</tool_call><|im_end|>")
    assert decoders["tools"]().feed(ids) == [ToolStart(), ToolCall("f", '{"a": "é"}'), ToolStart(), ToolCall("g", "{}")]


@pytest.mark.parametrize(
    ("text", "cause"),
    [("{", "not JSON"), ("[]", "no JSON object"), ('{"name": 3}', "no JSON object"), ("[" * 3000, "not JSON")],
)
def test_a_call_that_is_none_is_reported_with_its_text(
    decoders: dict[str, Callable[[], Any]], tokenizer: Tokenizer, text: str, cause: str
) -> None:
    start, call = decoders["tools"]().feed(tokenizer.encode(f"<tool_call>{text}</tool_call>"))
    assert start == ToolStart()
    assert isinstance(call, MalformedCall)
    assert call.text == text
    assert cause in call.cause


def test_a_call_cut_off_by_the_end_of_the_turn_is_read_as_it_stands(
    decoders: dict[str, Callable[[], Any]], tokenizer: Tokenizer
) -> None:
    ids = tokenizer.encode('<tool_call>{"name": "f"}<|im_end|>')
    assert decoders["tools"]().feed(ids) == [ToolStart(), ToolCall("f", "{}")]


def test_a_model_without_marks_has_no_reasoning_and_no_calls(make_byte_tokenizer: Callable[..., Tokenizer]) -> None:
    plain = make_byte_tokenizer("<|im_start|>", "<|im_end|>")
    template = ChatTemplate(plain, None)
    ids = plain.encode("<think>x</think><tool_call>{}</tool_call><|im_end|>")
    assert ReasoningDecoder(plain, template.markers, stop_ids=[257]).feed(ids) == []
    assert ToolDecoder(plain, template.markers, stop_ids=[257]).feed(ids) == []


@given(raw=st.binary(max_size=60))
def test_the_detokenizer_reads_any_bytes_as_the_tokenizer_does(
    make_byte_tokenizer: Callable[..., Tokenizer], raw: bytes
) -> None:
    tokenizer = make_byte_tokenizer()
    id_of = {tokenizer.token_bytes(token): token for token in range(256)}
    ids = [id_of[raw[index : index + 1]] for index in range(len(raw))]
    detokenizer = Detokenizer(tokenizer)
    text = "".join(map(detokenizer.feed, ids)) + detokenizer.finish()
    assert text == tokenizer.decode(ids) == raw.decode(errors="replace")


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize(
    ("text", "thought"),
    [
        ("<think>one two</think>three", "<think>one two</think>"),
        ("zero<think>one</think>two<think>three</think>", "<think>one</think><think>three</think>"),
        ("<think>cut", "<think>cut"),
        ("plain", ""),
    ],
)
def test_the_tokens_of_reasoning_are_counted(
    decoders: dict[str, Callable[[], Any]], tokenizer: Tokenizer, size: int, text: str, thought: str
) -> None:
    decoder, ids = decoders["chat"](), tokenizer.encode(text)
    for start in range(0, len(ids), size):
        decoder.feed(ids[start : start + size])
    decoder.finish()
    assert decoder.num_reasoning == len(tokenizer.encode(thought))
