"""Grammars: what is drawn under a mask fits, what would hurt the server is refused."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pie.errors import GrammarError, RequestError
from pie.forward import Constraint, LogitMask
from pie.text.grammar import Grammar, GrammarCompiler
from pie.text.grammar_limits import GrammarLimits, screen
from pie.text.markers import find_markers
from pie.text.matcher import GrammarConstraint, Matcher
from pie.text.tokenizer import Tokenizer

VOCAB_SIZE = 2050  # two logits more than tokens, as padded models have
STOPS = {0, 2}
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "b", 3, None, True]}, "minItems": 1, "maxItems": 3},
        "where": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/place"}]},
    },
    "required": ["name", "age", "tags", "where"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "properties": {"x": {"const": 1}}, "required": ["x"]}},
}


@pytest.fixture
async def compiler(tokenizer: Tokenizer) -> AsyncIterator[GrammarCompiler]:
    compiler = GrammarCompiler(tokenizer, vocab_size=VOCAB_SIZE)
    yield compiler
    await compiler.close()


@pytest.fixture(scope="session")
def grammars(tokenizer: Tokenizer) -> dict[str, Grammar]:
    """Grammars for the properties, compiled once."""

    async def compile_all() -> dict[str, Grammar]:
        compiler = GrammarCompiler(tokenizer, vocab_size=VOCAB_SIZE)
        try:
            return {
                "person": await compiler.from_json_schema(json.dumps(PERSON)),
                "json": await compiler.json(),
                "digits": await compiler.from_regex(r"[0-9]{2,5}"),
                "short": await compiler.from_regex(r".{3}"),
                "yes": await compiler.from_ebnf('root ::= ("yes" | "no") (" " root)?'),
                "anything": await compiler.from_regex(r"(.|\n)*"),
            }
        finally:
            await compiler.close()

    return asyncio.run(compile_all())


async def test_tokens_without_a_logit_are_never_allowed(make_byte_tokenizer: Callable[..., Tokenizer]) -> None:
    tokenizer = make_byte_tokenizer("<end>", "<image>", "<far end>")
    compiler = GrammarCompiler(tokenizer, vocab_size=257, stop_ids=[256, 258])
    try:
        for grammar in (
            await compiler.from_regex("[a-c]{2}"),
            await compiler.from_regex(".{1,9}"),
            await compiler.json(),
        ):
            matcher = Matcher(grammar)
            mask = matcher.mask()
            assert mask is not None
            assert mask.shape == ((257 + 31) // 32,)
            ids = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))
            assert len(ids) > 0
            assert ids.max() < 256
        digits = Matcher(await compiler.from_regex("[a-c]{2}"))
        digits.accept(tokenizer.encode("ab"))
        end = digits.mask()
        assert end is not None
        assert np.flatnonzero(np.unpackbits(end.view(np.uint8), bitorder="little")).tolist() == [256]
    finally:
        await compiler.close()


def allowed(mask: LogitMask | None) -> list[int]:
    """Ids a mask allows."""
    if mask is None:
        return list(range(VOCAB_SIZE))
    assert mask.shape == ((VOCAB_SIZE + 31) // 32,)
    assert mask.dtype == np.uint32
    return np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little")).tolist()


def walk(constraint: Constraint, random: Random, *, num_tokens: int = 200) -> list[int] | None:
    """Draw at random under the mask, leaning to the end; None if the end was not reached."""
    ids: list[int] = []
    for step in range(num_tokens):
        choices = allowed(constraint.mask())
        assert choices, "a dead end"
        stops = STOPS & set(choices)
        token = random.choice(sorted(stops)) if stops and random.random() < 0.3 + step / 50 else random.choice(choices)
        if constraint.accept(token):
            return ids
        ids.append(token)
    return None


def fits_person(value: Any) -> bool:
    """What PERSON says, without a schema library."""
    where = value["where"]
    return (
        list(value) == ["name", "age", "tags", "where"]
        and isinstance(value["name"], str)
        and len(value["name"]) <= 5
        and type(value["age"]) is int
        and 0 <= value["age"] <= 120
        and 1 <= len(value["tags"]) <= 3
        and all(any(tag is one or tag == one for one in ("a", "b", 3, None, True)) for tag in value["tags"])
        and (where is None or where == {"x": 1})
    )


@given(seed=st.integers())
@settings(max_examples=40)
def test_what_is_drawn_under_a_schema_is_json_that_fits_it(
    grammars: dict[str, Grammar], tokenizer: Tokenizer, seed: int
) -> None:
    ids = walk(GrammarConstraint([Matcher(grammars["person"])]), Random(seed), num_tokens=400)
    if ids is not None:
        assert fits_person(json.loads(tokenizer.decode(ids)))


def test_most_walks_under_a_schema_reach_the_end(grammars: dict[str, Grammar]) -> None:
    walks = [walk(GrammarConstraint([Matcher(grammars["person"])]), Random(seed), num_tokens=400) for seed in range(10)]
    assert sum(ids is not None for ids in walks) >= 5


@pytest.mark.parametrize(
    ("name", "pattern"), [("digits", r"[0-9]{2,5}"), ("short", r".{3}"), ("yes", r"(yes|no)( (yes|no))*")]
)
@given(seed=st.integers())
@settings(max_examples=30)
def test_what_is_drawn_under_a_grammar_matches_it(
    grammars: dict[str, Grammar], tokenizer: Tokenizer, name: str, pattern: str, seed: int
) -> None:
    ids = walk(GrammarConstraint([Matcher(grammars[name])]), Random(seed))
    assert ids is not None
    assert re.fullmatch(pattern, tokenizer.decode(ids), re.DOTALL)


@given(seed=st.integers())
@settings(max_examples=20)
def test_any_json_drawn_parses(grammars: dict[str, Grammar], tokenizer: Tokenizer, seed: int) -> None:
    ids = walk(GrammarConstraint([Matcher(grammars["json"])]), Random(seed))
    if ids is not None:
        json.loads(tokenizer.decode(ids))


@given(seed=st.integers())
@settings(max_examples=30)
def test_several_matchers_allow_what_all_of_them_allow(
    grammars: dict[str, Grammar], tokenizer: Tokenizer, seed: int
) -> None:
    one, other = Matcher(grammars["digits"]), Matcher(grammars["short"])
    both = GrammarConstraint([one, other])
    assert set(allowed(both.mask())) == set(allowed(one.mask())) & set(allowed(other.mask()))
    ids = walk(both, Random(seed))
    assert ids is not None
    assert re.fullmatch(r"[0-9]{3}", tokenizer.decode(ids))


def test_no_matchers_restrict_nothing() -> None:
    assert GrammarConstraint([]).mask() is None
    assert not GrammarConstraint([]).accept(7)


def test_no_text_of_a_grammar_holds_a_control_token(grammars: dict[str, Grammar], tokenizer: Tokenizer) -> None:
    assert {token.token_id for token in tokenizer.added_tokens} & set(
        allowed(Matcher(grammars["anything"]).mask())
    ) == STOPS


def accepted_by(matcher: Matcher) -> list[int]:
    """The tokens that may come next, each tried."""
    accepted = []
    for token in range(VOCAB_SIZE):
        twin = matcher.fork()
        try:
            twin.accept([token])
        except GrammarError:
            continue
        accepted.append(token)
    return accepted


def test_the_mask_is_exactly_what_is_accepted(grammars: dict[str, Grammar], tokenizer: Tokenizer) -> None:
    matcher = Matcher(grammars["person"])
    matcher.accept(tokenizer.encode('{"name": "A", "age": 1'))
    assert accepted_by(matcher) == allowed(matcher.mask())


@pytest.mark.parametrize("pattern", ["A+[あ-ん]O", "[A-F]+[0-9倀-迿]O", "[A-F]+[😀-🟿]O", "A+[^a-z😀-🙏]O"])
async def test_the_mask_is_exactly_what_is_accepted_beside_characters_beyond_ascii(
    compiler: GrammarCompiler, pattern: str
) -> None:
    matcher, random = Matcher(await compiler.from_regex(pattern)), Random(1)
    while not matcher.is_terminated and matcher.num_tokens < 12:
        choices = allowed(matcher.mask())
        assert accepted_by(matcher) == choices
        matcher.accept([random.choice(choices)])


def test_a_refused_token_is_named_with_its_position_and_changes_nothing(
    grammars: dict[str, Grammar], tokenizer: Tokenizer
) -> None:
    matcher = Matcher(grammars["digits"])
    matcher.accept(tokenizer.encode("1"))
    before = allowed(matcher.mask())
    with pytest.raises(
        GrammarError, match=r"not-accepted: token \d+ \('x'\), 3 of 3 given, .* at position 3 of the text"
    ):
        matcher.accept(tokenizer.encode("23x"))
    assert allowed(matcher.mask()) == before
    assert matcher.num_tokens == 1
    for token in (-1, VOCAB_SIZE, 10**9):
        with pytest.raises(GrammarError, match="not-accepted"):
            matcher.accept([token])


def test_nothing_follows_a_stop_token(grammars: dict[str, Grammar], tokenizer: Tokenizer) -> None:
    matcher = Matcher(grammars["digits"])
    matcher.accept([*tokenizer.encode("12345"), 2])
    assert matcher.is_terminated
    assert allowed(matcher.mask()) == []
    with pytest.raises(GrammarError, match="after its end"):
        matcher.accept([2])
    matcher.rollback(1)
    assert not matcher.is_terminated
    assert set(allowed(matcher.mask())) == STOPS


async def test_only_the_given_stop_tokens_end_a_text(tokenizer: Tokenizer) -> None:
    compiler = GrammarCompiler(tokenizer, vocab_size=VOCAB_SIZE, stop_ids=[0])
    matcher = Matcher(await compiler.from_regex("ab"))
    matcher.accept(tokenizer.encode("ab"))
    assert allowed(matcher.mask()) == [0]
    await compiler.close()


@given(text=st.text(alphabet="0123456789", min_size=2, max_size=5), back=st.integers(0, 5))
def test_going_back_restores_the_position(
    grammars: dict[str, Grammar], tokenizer: Tokenizer, text: str, back: int
) -> None:
    ids = tokenizer.encode(text)
    back = min(back, len(ids))
    straight, detour = Matcher(grammars["digits"]), Matcher(grammars["digits"])
    straight.accept(ids[: len(ids) - back])
    detour.accept(ids)
    detour.rollback(back)
    assert allowed(detour.mask()) == allowed(straight.mask())
    detour.reset()
    assert allowed(detour.mask()) == allowed(Matcher(grammars["digits"]).mask())
    with pytest.raises(GrammarError, match="cannot go back 1"):
        detour.rollback(1)


@given(text=st.text(alphabet="0123456789x", min_size=1, max_size=8), stops=st.booleans())
def test_looking_ahead_sees_the_masks_of_the_way_and_stays(
    grammars: dict[str, Grammar], tokenizer: Tokenizer, text: str, stops: bool
) -> None:
    ids = [*tokenizer.encode(text), *([2] if stops else [])]
    constraint = GrammarConstraint([Matcher(grammars["digits"]), Matcher(grammars["short"])])
    walker = GrammarConstraint([Matcher(grammars["digits"]), Matcher(grammars["short"])])
    before = allowed(constraint.mask())
    ahead = constraint.masks_ahead(ids)
    assert allowed(constraint.mask()) == before
    for token, mask in zip(ids, ahead, strict=False):
        assert not walker.accept(token)
        assert allowed(walker.mask()) == allowed(mask)
    for token in ids[len(ahead) : len(ahead) + 1]:
        assert token in STOPS or token not in allowed(walker.mask())


def test_a_fork_goes_its_own_way(grammars: dict[str, Grammar], tokenizer: Tokenizer) -> None:
    matcher = Matcher(grammars["yes"])
    matcher.accept(tokenizer.encode("y"))
    twin = matcher.fork()
    twin.accept(tokenizer.encode("es"))
    assert matcher.num_tokens < twin.num_tokens
    assert set(allowed(twin.mask())) >= STOPS
    assert not STOPS & set(allowed(matcher.mask()))


def test_a_matcher_that_is_slow_time_and_again_gives_up(grammars: dict[str, Grammar]) -> None:
    def slow_clock() -> Iterator[float]:
        now = 0.0
        while True:
            yield now
            now += 0.5

    times = slow_clock()
    matcher = Matcher(grammars["json"], clock=lambda: next(times))
    for _ in range(4):
        matcher.mask()
    with pytest.raises(GrammarError, match=r"grammar-too-slow: .* 5 steps"):
        matcher.mask()


async def test_many_tokens_in_one_call_do_not_hide_a_slow_grammar(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    ambiguous = await compiler.from_ebnf('root ::= a\na ::= a a | "x"')
    now = iter(range(10**6))
    matcher = Matcher(ambiguous, clock=lambda: next(now) * 0.019)
    with pytest.raises(GrammarError, match="a call of more than 250 ms"):
        matcher.accept(tokenizer.encode("x") * 100)
    assert matcher.num_tokens == 0


async def test_the_same_source_is_compiled_once(compiler: GrammarCompiler) -> None:
    one, two = await asyncio.gather(compiler.from_regex("a+"), compiler.from_regex("a+"))
    assert one is two
    assert await compiler.from_regex("a*") is not one
    assert await compiler.from_ebnf('root ::= "a+"') is not one


async def test_the_cache_holds_no_more_than_its_bytes(tokenizer: Tokenizer) -> None:
    limits = GrammarLimits(cache_bytes=60_000)
    compiler = GrammarCompiler(tokenizer, vocab_size=VOCAB_SIZE, limits=limits)
    first = await compiler.from_regex("a{0}b")
    for index in range(40):
        await compiler.from_regex(f"a{{{index}}}b")
        assert compiler.cached_bytes <= limits.cache_bytes
    assert await compiler.from_regex("a{0}b") is not first
    await compiler.close()


async def test_a_grammar_can_be_read_as_ebnf(compiler: GrammarCompiler, tokenizer: Tokenizer) -> None:
    text = (await compiler.from_regex("yes|no")).to_string()
    matcher = Matcher(await compiler.from_ebnf(text))
    matcher.accept(tokenizer.encode("no"))
    assert set(allowed(matcher.mask())) >= STOPS


SCHEMAS = [
    "",
    "{",
    "[1]",
    "3",
    "null",
    "NaN",
    '{"type": "object",}',
    '{"type": 3}',
    '{"type": "nonsense"}',
    '{"$ref": "#/nope"}',
    "false",
    json.dumps({"const": "\ud800"}),
    '{"type": "string", "pattern": "("}',
]


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_a_schema_that_is_none_is_refused(compiler: GrammarCompiler, schema: str) -> None:
    with pytest.raises(GrammarError, match="bad-schema") as caught:
        await compiler.from_json_schema(schema)
    assert "\n" not in str(caught.value)
    assert "/project/" not in str(caught.value)


async def test_a_schema_that_is_no_json_is_refused_with_the_place(compiler: GrammarCompiler) -> None:
    with pytest.raises(GrammarError, match=r"line 2 column 9"):
        await compiler.from_json_schema('{\n "type" 3}')


@pytest.mark.parametrize("pattern", ["(", "a)", "(?=a)b", r"(a)\1", "[b-a]", "a{2,1}", "\ud800"])
async def test_a_regular_expression_that_is_none_is_refused(compiler: GrammarCompiler, pattern: str) -> None:
    with pytest.raises(GrammarError, match="bad-regex") as caught:
        await compiler.from_regex(pattern)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ebnf", ["", "root", "root ::= nope", 'a ::= "x"', 'root ::= "x', "\ud800"])
async def test_an_ebnf_that_is_none_is_refused(compiler: GrammarCompiler, ebnf: str) -> None:
    with pytest.raises(GrammarError, match="bad-ebnf") as caught:
        await compiler.from_ebnf(ebnf)
    assert "\n" not in str(caught.value)


def nested(levels: int) -> str:
    return '{"type":"object","properties":{"a":' * levels + "{}" + "}}" * levels


def doubled(levels: int) -> dict[str, Any]:
    return {"anyOf": [doubled(levels - 1)] * 2} if levels else {"type": "string"}


HOSTILE = {
    "deep schema": ("json-schema", nested(500)),
    "very deep schema": ("json-schema", nested(50_000)),
    "deep list": ("json-schema", "[" * 100_000),
    "many properties": ("json-schema", json.dumps({"properties": {f"p{index}": {} for index in range(5000)}})),
    "huge enum": ("json-schema", json.dumps({"enum": list(range(20_000))})),
    "doubled anyOf": ("json-schema", json.dumps(doubled(13))),
    "growing alternatives": ("regex", "|".join("a" * length for length in range(1, 800))),
    "deep groups": ("regex", "(" * 60_000 + "a" + ")" * 60_000),
    "endless repetition": ("regex", "a{1,4000000000}"),
    "endless repetition in ebnf": ("ebnf", 'root ::= "a"{1,99999999999999999999}'),
    "many alternatives": ("regex", "a|" * 6000),
    "deep ebnf": ("ebnf", "root ::= " + "(" * 5000 + '"a"' + ")" * 5000),
    "long ebnf": ("ebnf", "root ::= " + '"a" ' * 100_000),
    "pattern of a property": ("json-schema", json.dumps({"type": "string", "pattern": "a|" * 6000})),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_plainly_monstrous_is_refused_unread(name: str) -> None:
    kind, source = HOSTILE[name]
    with pytest.raises(GrammarError, match="grammar-too-large"):
        screen(kind, source, GrammarLimits())  # type: ignore[arg-type]


LIGHT_OR_TIMED = {
    "nullable recursion": 'root ::= a\na ::= a a | ""',
    "left recursion": 'root ::= root "x" | "y"',
    "empty loop": "root ::= root | root",
    "cycle": "root ::= a\na ::= b\nb ::= a",
    "repeated repetitions": 'root ::= (("a"{1,300} "b"){1,300} "c"){1,300}',
    "doubling rules": "root ::= r0\n" + "\n".join(f"r{i} ::= r{i + 1} r{i + 1}" for i in range(30)) + '\nr30 ::= "z"',
}


@pytest.mark.parametrize("name", LIGHT_OR_TIMED)
async def test_a_strange_grammar_compiles_or_is_refused_but_ends(
    compiler: GrammarCompiler, tokenizer: Tokenizer, name: str
) -> None:
    try:
        matcher = Matcher(await compiler.from_ebnf(LIGHT_OR_TIMED[name]))
    except GrammarError:
        return
    random = Random(0)
    for _ in range(30):
        choices = [token for token in allowed(matcher.mask()) if token not in STOPS]
        if not choices:
            break
        matcher.accept([random.choice(choices)])


class TestWorker:
    """Heavy grammars, in their process."""

    HEAVY = "|".join("a" * length + "b" for length in range(1, 320))

    async def test_a_heavy_grammar_is_compiled_elsewhere_and_works_here(
        self, compiler: GrammarCompiler, tokenizer: Tokenizer
    ) -> None:
        matcher = Matcher(await compiler.from_regex(self.HEAVY))
        matcher.accept(tokenizer.encode("aaab"))
        assert set(allowed(matcher.mask())) >= STOPS
        with pytest.raises(GrammarError, match="bad-regex"):
            await compiler.from_regex(self.HEAVY + "|(")
        assert (await compiler.from_regex(self.HEAVY + "|c")).to_string()

    async def test_a_grammar_that_takes_too_long_is_cut_off_and_the_next_is_served(self, tokenizer: Tokenizer) -> None:
        compiler = GrammarCompiler(tokenizer, vocab_size=VOCAB_SIZE, limits=GrammarLimits(timeout_s=0.05))
        await compiler.start_worker()
        with pytest.raises(GrammarError, match=r"grammar-timeout: compiling the regex took more than 0.05 s"):
            await compiler.from_regex("|".join("a" * length + "b" for length in range(1, 430)))
        assert (await compiler.from_regex("a+")).kind == "regex"
        await compiler.close()

    async def test_giving_up_waiting_ends_the_worker_and_the_next_grammar_gets_a_new_one(
        self, compiler: GrammarCompiler
    ) -> None:
        await compiler.start_worker()
        task = asyncio.create_task(compiler.from_regex(self.HEAVY))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "a" in (await compiler.from_regex(self.HEAVY + "|d")).to_string()


TOOL = {
    "name": "add",
    "parameters": {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/n"}},
        "required": ["a"],
        "$defs": {"n": {"type": "integer", "maximum": 9, "minimum": 0}},
    },
}


class TestToolCalls:
    """The grammar of a tool call as the model writes it."""

    async def test_a_drawn_call_names_a_tool_and_fits_its_parameters(
        self, compiler: GrammarCompiler, tokenizer: Tokenizer
    ) -> None:
        markers = find_markers(lambda content: tokenizer.token_id(content) is not None)
        grammar = await compiler.tool_call(markers, [json.dumps(TOOL), '{"name": "stop"}'])
        assert grammar is not None
        assert allowed(Matcher(grammar).mask()) == [5]
        matcher = Matcher(grammar)
        matcher.accept(tokenizer.encode('<tool_call>\n{"name": "add", "arguments": {"a": 7}}\n</tool_call>'))
        assert set(allowed(matcher.mask())) == STOPS
        for wrong in ('{"name": "sub"', '{"name": "add", "arguments": {"b"', '{"name": "add", "arguments": {"a": "x'):
            with pytest.raises(GrammarError, match="not-accepted"):
                Matcher(grammar).accept(tokenizer.encode(f"<tool_call>\n{wrong}"))

    async def test_no_form_or_no_tools_is_no_grammar(
        self, compiler: GrammarCompiler, make_byte_tokenizer: Callable[..., Tokenizer]
    ) -> None:
        assert await compiler.tool_call(find_markers(lambda _: False), ['{"name": "f"}']) is None
        assert await compiler.tool_call(find_markers(lambda _: True), []) is None
        with pytest.raises(RequestError, match="bad-tools"):
            await compiler.tool_call(find_markers(lambda _: True), ["{"])
