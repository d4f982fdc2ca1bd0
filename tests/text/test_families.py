"""Turns of every family: nothing is lost however the tokens come, calls are read and can be enforced."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.text.conftest import byte_tokenizer
from tests.text.families import STYLES, Style

from pie.errors import GrammarError
from pie.text.answers import AnswerReader
from pie.text.calls import write_calls
from pie.text.decoders import (
    ChatDecoder,
    Delta,
    Done,
    MalformedCall,
    ReasoningComplete,
    ReasoningDecoder,
    ReasoningDelta,
    ReasoningStart,
    ToolCall,
    ToolDecoder,
    ToolStart,
)
from pie.text.grammar import GrammarCompiler
from pie.text.matcher import Matcher
from pie.text.said import ArgumentsDelta, TextDelta
from pie.text.template import ChatTemplate
from pie.text.tokenizer import Tokenizer

PARAMETERS = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "n": {"type": "integer"}},
    "required": ["text", "n"],
    "additionalProperties": False,
}
TOOLS = [json.dumps({"name": "f", "parameters": PARAMETERS}), json.dumps({"name": "g"})]
CALLING = [name for name, style in STYLES.items() if style.call is not None]
THINKING = [name for name, style in STYLES.items() if style.thought is not None]
ENFORCED = [name for name, style in STYLES.items() if style.enforced is not None]


class Family:
    """A style with its tokenizer, and its decoders."""

    def __init__(self, style: Style) -> None:
        self.style = style
        self.tokenizer: Tokenizer = byte_tokenizer(*style.controls)
        self.template = ChatTemplate(self.tokenizer, style.source, variables=style.variables)
        stop_ids, inside = self.template.stop_tokens(), self.template.cue_opens_reasoning
        common: dict[str, Any] = {"stop_ids": stop_ids, "starts_inside": inside}
        arguments = (self.tokenizer, self.template.markers)
        self.decoders: dict[str, Callable[[], Any]] = {
            "chat": lambda: ChatDecoder(*arguments, **common),
            "answer": lambda: ChatDecoder(*arguments, **common, with_reasoning=False),
            "reasoning": lambda: ReasoningDecoder(*arguments, **common),
            "tools": lambda: ToolDecoder(*arguments, **common),
            "said": lambda: AnswerReader(*arguments, **common),
        }

    def events(self, decoder: str, text: str) -> list[Any]:
        """The events of a whole turn."""
        made = self.decoders[decoder]()
        return [*made.feed(self.tokenizer.encode(text)), *made.finish()]


FAMILIES = {name: Family(style) for name, style in STYLES.items()}
names = pytest.mark.parametrize("name", STYLES)


def merged(events: Sequence[Any]) -> list[Any]:
    """Neighbouring deltas as one."""
    result: list[Any] = []
    for event in events:
        if (
            result
            and isinstance(event, Delta | ReasoningDelta | TextDelta | ArgumentsDelta)
            and type(result[-1]) is type(event)
        ):
            result[-1] = type(event)(result[-1].text + event.text)
        else:
            result.append(event)
    return result


def allows(matcher: Matcher, token: int) -> bool:
    """Whether a token may come next."""
    mask = matcher.mask()
    return mask is None or bool(mask[token // 32] >> (token % 32) & 1)


def pieces(name: str) -> st.SearchStrategy[str]:
    """Turns as a model of the family may write them, sensible or not."""
    style = STYLES[name]
    turns = [text for text in (style.call, style.bad_call, style.thought) if text]
    parts = [
        *turns,
        *style.controls,
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        '{"',
        "}",
        "[",
        " to=f",
        "é",
    ]
    cut = st.tuples(st.sampled_from(turns or ["x"]), st.integers(0, 60)).map(lambda pair: pair[0][: pair[1]])
    return st.lists(st.sampled_from(parts) | cut | st.text(max_size=3), max_size=6).map("".join)


@names
@settings(max_examples=30)
@given(data=st.data())
def test_events_do_not_depend_on_how_the_tokens_are_fed(name: str, data: st.DataObject) -> None:
    family = FAMILIES[name]
    ids = family.tokenizer.encode(data.draw(pieces(name))) + data.draw(st.lists(st.integers(0, 300), max_size=4))
    cuts = data.draw(st.lists(st.integers(0, len(ids)), max_size=5))
    bounds = sorted({0, len(ids), *cuts})
    for make in family.decoders.values():
        at_once, in_parts, one_by_one = make(), make(), make()
        whole = merged([*at_once.feed(ids), *at_once.finish()])
        parts = [event for start, end in itertools.pairwise(bounds) for event in in_parts.feed(ids[start:end])]
        assert whole == merged(parts + in_parts.finish())
        assert whole == merged([event for token in ids for event in one_by_one.feed([token])] + one_by_one.finish())


@names
@settings(max_examples=30)
@given(data=st.data())
def test_deltas_joined_are_the_text_of_the_end(name: str, data: st.DataObject) -> None:
    family = FAMILIES[name]
    text = data.draw(pieces(name))
    for decoder, delta, end in (
        ("chat", Delta, Done),
        ("answer", Delta, Done),
        ("reasoning", ReasoningDelta, ReasoningComplete),
    ):
        joined = ""
        for event in family.events(decoder, text):
            joined += event.text if isinstance(event, delta) else ""
            if isinstance(event, end):
                assert event.text == joined
                joined = ""
        assert joined == ""


@names
@given(text=st.text(max_size=30).filter(lambda text: not any(sign in text for sign in "<[{")))
@settings(max_examples=30)
def test_plain_text_is_the_answer_and_nothing_else(name: str, text: str) -> None:
    family = FAMILIES[name]
    if family.template.cue_opens_reasoning:
        assert family.events("reasoning", text)[-1:] in ([ReasoningComplete(text)], [])
        return
    assert family.events("chat", text)[-1] == Done(text)
    assert family.events("answer", text)[-1] == Done(text)
    assert family.events("reasoning", text) == []
    assert family.events("tools", text) == []


@pytest.mark.parametrize("name", CALLING)
def test_every_call_of_a_turn_is_read(name: str) -> None:
    family = FAMILIES[name]
    expected = [ToolStart(), ToolCall("f", '{"text": "é", "n": 1}'), ToolStart(), ToolCall("g", "{}")]
    is_list = name in ("mistral", "phi4")
    assert family.events("tools", family.style.call or "") == [
        e for i, e in enumerate(expected) if not is_list or i != 2
    ]


@pytest.mark.parametrize("name", CALLING)
def test_a_call_without_sense_is_reported_with_its_text(name: str) -> None:
    family = FAMILIES[name]
    start, *rest = family.events("tools", family.style.bad_call or "")
    assert start == ToolStart()
    assert [type(event) for event in rest] == [MalformedCall]
    assert rest[0].cause


@pytest.mark.parametrize("name", CALLING)
@settings(max_examples=25)
@given(data=st.data())
def test_a_call_is_read_as_it_was_written(name: str, data: st.DataObject) -> None:
    family = FAMILIES[name]
    style = st.from_regex(r"[a-z_][a-z0-9_]{0,9}", fullmatch=True)
    letters = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="<"), max_size=8)
    texts = letters.filter(lambda text: text.strip() == text and not text[:1].isdigit())
    values = texts | st.lists(st.integers(), max_size=2) if name != "glm" else texts.map(lambda text: f"x{text}")
    arguments = data.draw(st.dictionaries(style, values, max_size=3))
    called = [(data.draw(style), arguments), ("g", {})]
    ids = family.template.assistant("", tool_calls=called)
    start = len(family.template.first_user("u") + family.template.cue()) - len(family.template.first_user("u"))
    opened = "</think>" if family.template.cue_opens_reasoning else ""
    marks = family.template.markers.tools
    head = (
        0
        if marks is not None and marks.is_message
        else len(family.template.assistant("")) - len(family.template.seal())
    )
    events = family.decoders["tools"]().feed([*family.tokenizer.encode(opened), *ids[head or start :]])
    assert [json.loads(event.arguments) for event in events if isinstance(event, ToolCall)] == [arguments, {}]
    assert [event.name for event in events if isinstance(event, ToolCall)] == [name for name, _ in called]


@pytest.mark.parametrize("name", THINKING)
def test_reasoning_is_told_apart_from_the_answer(name: str) -> None:
    family = FAMILIES[name]
    thought = family.style.thought or ""
    start, *_, end = family.events("reasoning", thought)
    inner = end.text.strip()
    assert (start, inner) == (ReasoningStart(), "one two")
    assert family.events("answer", thought)[-1].text.strip() == "Three."
    shown = family.events("chat", thought)[-1].text
    assert "one two" in shown
    assert "Three." in shown
    assert not any(mark in shown for mark in family.template.markers.reasoning or ())


@names
def test_the_stop_tokens_are_those_of_the_family(name: str) -> None:
    family = FAMILIES[name]
    contents = [family.tokenizer.decode([token]) for token in family.template.stop_tokens()]
    assert sorted(contents) == sorted(family.style.stops)


@pytest.mark.parametrize("name", ENFORCED)
async def test_the_grammar_accepts_the_call_of_the_family_and_no_other(name: str) -> None:
    family = FAMILIES[name]
    vocab_size = family.tokenizer.vocab_size
    compiler = GrammarCompiler(family.tokenizer, vocab_size=vocab_size, stop_ids=family.template.stop_tokens())
    try:
        grammar = await compiler.tool_call(family.template.markers, TOOLS)
        assert grammar is not None
        matcher = Matcher(grammar)
        ids = family.tokenizer.encode(family.style.enforced or "")
        for token in ids:
            assert allows(matcher, token), family.tokenizer.decode([token])
            matcher.accept([token])
        assert allows(matcher, family.template.stop_tokens()[0])
        assert not allows(Matcher(grammar), family.tokenizer.encode("x")[0])
    finally:
        await compiler.close()
    opened = "</think>" if family.template.cue_opens_reasoning else ""
    assert ToolCall("f", '{"text": "é", "n": 1}') in family.events("tools", opened + (family.style.enforced or ""))


@pytest.mark.parametrize("name", ENFORCED)
async def test_the_grammar_of_many_accepts_several_calls_and_that_of_one_does_not(name: str) -> None:
    family = FAMILIES[name]
    marks = family.template.markers.tools
    assert marks is not None
    called = [("f", {"text": "é", "n": 1}), ("g", {}), ("f", {"text": "", "n": 2})]
    texts = ["".join(segment.text for segment in write_calls(marks, called[:count])) for count in (1, 2, 3)]
    stop = family.template.stop_tokens()[0]
    compiler = GrammarCompiler(
        family.tokenizer, vocab_size=family.tokenizer.vocab_size, stop_ids=family.template.stop_tokens()
    )
    try:
        one = await compiler.tool_call(family.template.markers, TOOLS)
        many = await compiler.tool_call(family.template.markers, TOOLS, many=True)
    finally:
        await compiler.close()
    assert one is not None
    assert many is not None
    for grammar, lengths in ((one, (1,)), (many, (1,) if marks.is_message else (1, 2, 3))):
        for length, text in enumerate(texts, 1):
            matcher, ids = Matcher(grammar), family.tokenizer.encode(text)
            if length in lengths:
                matcher.accept(ids)
                assert allows(matcher, stop)
            else:
                with pytest.raises(GrammarError, match="not-accepted"):
                    matcher.accept(ids)


@names
async def test_a_family_without_a_form_has_no_grammar(name: str) -> None:
    family = FAMILIES[name]
    compiler = GrammarCompiler(family.tokenizer, vocab_size=family.tokenizer.vocab_size)
    try:
        grammar = await compiler.tool_call(family.template.markers, TOOLS)
        assert (grammar is None) == (family.style.enforced is None)
    finally:
        await compiler.close()


def test_json_that_no_mark_calls_a_call_is_one_only_if_it_is_nothing_else() -> None:
    family = FAMILIES["llama3"]
    for text in ('{"name": "f"}', '{"name": "f", "parameters": {}, "more": 1}', '{"name": "f", "parameters": 3}', "{}"):
        assert family.events("tools", text) == []
        assert family.events("chat", text)[-1] == Done(text)
    assert family.events("tools", 'Yes. {"name": "f", "parameters": {}}') == []


def test_a_mark_that_is_text_may_be_thought_about_but_a_token_calls() -> None:
    call = '<think>I use <tool_call>{"name": "g"}</tool_call>'
    assert FAMILIES["hermes-as-text"].events("tools", call) == []
    assert FAMILIES["qwen3"].events("tools", call) == [ToolStart(), ToolCall("g", "{}")]
    assert FAMILIES["qwen3"].events("reasoning", call)[-1] == ReasoningComplete("I use ")


@pytest.mark.parametrize(
    "arguments", ['{"a": 1e999}', '{"a": NaN}', "[1]", '"text"', '{"a": ' * 3000, '{"a": ' + "1" * 5000 + "}", "3"]
)
def test_arguments_that_are_no_json_object_are_no_call(arguments: str) -> None:
    events = FAMILIES["qwen3"].events("tools", f'<tool_call>{{"name": "f", "arguments": {arguments}}}</tool_call>')
    assert [type(event) for event in events] == [ToolStart, MalformedCall]


def test_half_a_surrogate_pair_stays_an_escape() -> None:
    events = FAMILIES["qwen3"].events("tools", r'<tool_call>{"name": "f", "arguments": {"a": "\ud800"}}</tool_call>')
    assert events[-1] == ToolCall("f", r'{"a": "\ud800"}')
    events = FAMILIES["qwen3"].events("tools", r'<tool_call>{"name": "\ud800"}</tool_call>')
    assert isinstance(events[-1], MalformedCall)


def test_the_good_calls_of_a_list_count_beside_the_bad_ones() -> None:
    events = FAMILIES["mistral"].events("tools", '[TOOL_CALLS][{"name": "f"}, 3, {"name": "g"}]')
    assert [type(event) for event in events] == [ToolStart, ToolCall, MalformedCall, ToolCall]
