"""The text of a turn and its calls, told as they are written: the same however the tokens come."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.text.families import STYLES
from tests.text.test_families import CALLING, FAMILIES, merged, pieces

from pie.text.answers import AnswerReader
from pie.text.decoders import Done
from pie.text.json_calls import JsonCalls
from pie.text.said import ArgumentsDelta, CallBegun, CallEnded, NoCall, Said, TextDelta

ARGUMENTS = {"text": "é", "n": 1}
WHOLE_AT_ONCE = ("llama3", "glm")
"""Families whose format tells only at its end what it says."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def told(said: Sequence[Said]) -> tuple[str, list[tuple[str, str]]]:
    """The text, and the calls by name and arguments."""
    text, calls = "", list[tuple[str, str]]()
    for one in said:
        match one:
            case TextDelta(text=more):
                text += more
            case CallBegun(name=name):
                calls.append((name, ""))
            case ArgumentsDelta(text=more):
                calls[-1] = (calls[-1][0], calls[-1][1] + more)
    return text, calls


def one_by_one(name: str, text: str, **options: Any) -> list[Said]:
    """What a turn says that ends with a stop token, not merged."""
    family = FAMILIES[name]
    template = family.template
    stop_ids, inside = template.stop_tokens(), template.cue_opens_reasoning
    reader = AnswerReader(family.tokenizer, template.markers, stop_ids=stop_ids, starts_inside=inside, **options)
    ids = [*family.tokenizer.encode(text), stop_ids[0]]
    return [said for token in ids for said in reader.feed([token])]


@pytest.mark.parametrize("name", CALLING)
def test_calls_are_told_with_the_text_before_them(name: str) -> None:
    said = one_by_one(name, STYLES[name].call or "")
    text, calls = told(said)
    assert text == {"qwen2": "Yes.", "hermes-as-text": "Yes <tool.", "deepseek-r1": "Yes."}.get(name, "")
    assert [(tool, json.loads(arguments)) for tool, arguments in calls] == [("f", ARGUMENTS), ("g", {})]
    kinds = [type(one) for one in said if not isinstance(one, TextDelta | ArgumentsDelta)]
    assert kinds == [CallBegun, CallEnded] * 2


@pytest.mark.parametrize("name", [name for name in CALLING if name not in WHOLE_AT_ONCE])
def test_arguments_come_as_they_are_written(name: str) -> None:
    said = one_by_one(name, STYLES[name].call or "")
    first = list(itertools.takewhile(lambda one: not isinstance(one, CallEnded), said))
    assert len([one for one in first if isinstance(one, ArgumentsDelta)]) > 10


@pytest.mark.parametrize("name", STYLES)
def test_text_comes_as_it_is_written(name: str) -> None:
    opened = "</think>" if FAMILIES[name].template.cue_opens_reasoning else ""
    said = one_by_one(name, f"{opened}It rains.")
    if name == "gpt-oss":  # a turn without a header is known to be one only when it goes on otherwise
        assert told(said) == ("It rains.", [])
        return
    assert said == [TextDelta(piece) for piece in ("I", "t", " r", "a", "i", "n", "s", ".")]


@pytest.mark.parametrize("name", STYLES)
@settings(max_examples=40)
@given(data=st.data())
def test_a_turn_without_calls_is_its_visible_text(name: str, data: st.DataObject) -> None:
    family = FAMILIES[name]
    stops = family.template.stop_tokens()
    ids = list(itertools.takewhile(lambda token: token not in stops, family.tokenizer.encode(data.draw(pieces(name)))))
    reader, decoder = family.decoders["said"](), family.decoders["answer"]()
    said = [*reader.feed([*ids, stops[0]])]
    done = decoder.feed([*ids, stops[0]])[-1]
    text, calls = told(said)
    assert isinstance(done, Done)
    if not calls:
        assert text == done.text
    else:
        assert done.text.startswith(
            told(list(itertools.takewhile(lambda one: not isinstance(one, CallBegun), said)))[0]
        )


@pytest.mark.parametrize("name", CALLING)
def test_what_is_no_call_is_text(name: str) -> None:
    said = one_by_one(name, STYLES[name].bad_call or "")
    text, calls = told(said)
    if calls:  # its arguments had begun
        assert (text, [tool for tool, _ in calls]) == ("", ["f"])
    else:
        events = FAMILIES[name].events("answer", STYLES[name].bad_call or "")
        assert text == next(event.text for event in events if isinstance(event, Done))


@pytest.mark.parametrize("name", CALLING)
def test_a_call_that_is_cut_has_no_end_and_keeps_what_was_told(name: str) -> None:
    family = FAMILIES[name]
    ids = family.tokenizer.encode(STYLES[name].call or "")
    *_, (tool, whole) = told(family.decoders["said"]().feed(ids))[1][:1]
    for length in range(len(ids)):
        reader = family.decoders["said"]()
        before = reader.feed(ids[:length])
        text, calls = told([*before, *reader.finish()])
        if calls:
            assert calls[0][0] == tool
            assert whole.startswith(told(before)[1][0][1])
        else:
            assert text == family.events("answer", family.tokenizer.decode(ids[:length]))[-1].text


def test_a_stop_text_ends_text_but_not_arguments() -> None:
    call = '<tool_call>{"name": "f", "arguments": {"a": "x"}}</tool_call>'
    assert told(one_by_one("qwen3", f"abc x{call}", stop_texts=["x", "never"])) == ("abc ", [])
    assert told(one_by_one("qwen3", f"abc ne {call}", stop_texts=["x", "never"])) == ("abc ne", [("f", '{"a": "x"}')])
    assert told(one_by_one("qwen3", "abc \n\nd", stop_texts=["\n\n"])) == ("abc ", [])
    assert told(one_by_one("qwen3", "abc ", stop_texts=[" "])) == ("abc", [])


def test_white_space_before_a_call_and_text_after_it_are_left_out() -> None:
    call = '<tool_call>{"name": "f"}</tool_call>'
    assert told(one_by_one("qwen3", f" a \n {call}\n b ")) == (" a", [("f", "{}")])
    assert told(one_by_one("qwen3", f"<think>no</think>\n\n{call}\n{call}")) == ("", [("f", "{}")] * 2)


def test_calls_of_lists_are_told_one_by_one_and_the_bad_ones_are_text() -> None:
    said = one_by_one("mistral", '[TOOL_CALLS][{"name": "f"}, {"name": "g", "arguments": {"a": [1]}}]')
    assert told(said) == ("", [("f", "{}"), ("g", '{"a": [1]}')])
    assert told(one_by_one("mistral", '[TOOL_CALLS][3, {"name": "g"}]')) == ('[3, {"name": "g"}]', [])


def test_json_that_cannot_be_a_call_goes_on_at_once() -> None:
    said = one_by_one("llama3", '{"city": "Oslo", "more": [1, 2, 3]}')
    assert told(said) == ('{"city": "Oslo", "more": [1, 2, 3]}', [])
    assert len(said) > 20


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "3",
        "[]",
        '{"name": 3}',
        '{"name": ""}',
        '{"name": "f", "arguments": [1]}',
        '{"name": "f", "arguments": "x"}',
        r'{"name": "\ud800"}',
        '{"name" "f"}',
        '{name: "f"}',
        '{"arguments": {}}',
        "[" * 3000,
        '{"name": "f\n"}',
    ],
)
def test_json_that_is_no_call(text: str) -> None:
    reader = JsonCalls("name", ("arguments",))
    made = [one for sign in text for one in reader.feed(sign)] + reader.close(is_cut=False)
    assert {type(one) for one in made} == {NoCall}
    assert told(one_by_one("qwen3", f"<tool_call>{text}</tool_call>")) == (text, [])


@given(
    name=st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=8),
    arguments=st.dictionaries(st.text(max_size=4), json_values, max_size=4),
    others=st.dictionaries(st.sampled_from(["id", "type", "x"]), json_values, max_size=2),
    data=st.data(),
)
def test_an_object_is_read_however_it_is_written_and_cut(
    name: str, arguments: dict[str, Any], others: dict[str, Any], data: st.DataObject
) -> None:
    given = {"name": name, **others, data.draw(st.sampled_from(["arguments", "parameters"])): arguments}
    if data.draw(st.booleans()):
        given = {key: json.dumps(value) if value is arguments else value for key, value in given.items()}
    written = dict(data.draw(st.permutations(list(given.items()))))
    text = json.dumps(written, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.none() | st.just(1)))
    cuts = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=9))})
    reader = JsonCalls("name", ("arguments", "parameters"))
    made = [one for start, end in itertools.pairwise(cuts) for one in reader.feed(text[start:end])]
    assert reader.close(is_cut=False) == []
    begun, *middle, ended = merged(made)
    assert (begun, ended) == (CallBegun(name), CallEnded())
    assert json.loads("".join(one.text for one in middle)) == arguments
