"""JSON schemas: whatever is drawn is JSON that fits; what cannot be enforced is refused."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest

from pie.errors import GrammarError
from pie.text.grammar import Grammar, GrammarCompiler
from pie.text.json_schema import sound_schema
from pie.text.matcher import Matcher
from pie.text.tokenizer import Tokenizer

Check = Callable[[Any], bool]


def matches(pattern: str) -> Check:
    return lambda value: isinstance(value, str) and re.search(pattern, value) is not None


SCHEMAS: dict[str, tuple[Any, Check]] = {
    "bounded text": ({"type": "string", "minLength": 1, "maxLength": 6}, lambda v: 1 <= len(v) <= 6),
    "text of a least length": ({"type": "string", "minLength": 3}, lambda v: len(v) >= 3),
    "bounded names": (
        {"type": "object", "propertyNames": {"maxLength": 3}, "additionalProperties": {"type": "null"}},
        lambda v: all(len(name) <= 3 for name in v),
    ),
    "any short pattern": ({"type": "string", "pattern": "^.{2,9}$"}, lambda v: 2 <= len(v) <= 9),
    "a class": ({"type": "string", "pattern": r"^[^a-z]{1,4}$"}, matches(r"^[^a-z]{1,4}$")),
    "letters of other alphabets": ({"type": "string", "pattern": "^日{1,3}$"}, matches("^日{1,3}$")),
    "date": ({"type": "string", "format": "date"}, lambda v: bool(re.fullmatch(r"\d{4}-\d\d-\d\d", v))),
    "pointer": ({"type": "string", "format": "json-pointer"}, matches("^(/|$)")),
    "relative pointer": ({"type": "string", "format": "relative-json-pointer"}, matches(r"^\d")),
    "constant with escapes": ({"const": 'a"\n\\'}, lambda v: v == 'a"\n\\'),
    "choice of anything": ({"enum": ['"', {"x": ["\n"]}, None, 2.5]}, lambda v: v in ('"', {"x": ["\n"]}, None, 2.5)),
    "number": ({"type": "number", "minimum": -1.5, "maximum": 2.25}, lambda v: -1.5 <= v <= 2.25),
    "integer": ({"type": "integer", "exclusiveMinimum": 3, "maximum": 99}, lambda v: 3 < v <= 99),
    "strange name": (
        {"type": "object", "properties": {'a"\n': {"type": "boolean"}}, "required": ['a"\n']},
        lambda v: isinstance(v['a"\n'], bool),
    ),
    "required but not described": (
        {"properties": {"a": {"type": "integer"}}, "required": ["a", "b"], "additionalProperties": {"type": "boolean"}},
        lambda v: isinstance(v["a"], int) and isinstance(v["b"], bool),
    ),
    "only what is named": ({"type": "object", "properties": {"a": {"type": "null"}}}, lambda v: v in ({}, {"a": None})),
    "tuple": (
        {"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "null"}], "items": False, "minItems": 2},
        lambda v: len(v) == 2 and isinstance(v[0], bool) and v[1] is None,
    ),
    "recursion": (
        {"$ref": "#/$defs/t", "$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}, "maxItems": 1}}},
        lambda v: isinstance(v, list) and len(v) <= 1,
    ),
    "one of": ({"oneOf": [{"type": "boolean"}, {"type": "integer"}]}, lambda v: isinstance(v, int)),
    "types": ({"type": ["string", "null"], "maxLength": 2}, lambda v: v is None or len(v) <= 2),
    "names that look like keywords": (
        {
            "type": "object",
            "properties": {name: {"type": "null"} for name in ("pattern", "not", "maxLength", "allOf", "enum")},
            "required": ["not", "enum"],
        },
        lambda v: "not" in v and "enum" in v,
    ),
}


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> dict[str, Grammar]:
    async def compile_all() -> dict[str, Grammar]:
        compiler = GrammarCompiler(tokenizer, vocab_size=tokenizer.vocab_size)
        try:
            return {name: await compiler.from_json_schema(json.dumps(schema)) for name, (schema, _) in SCHEMAS.items()}
        finally:
            await compiler.close()

    return asyncio.run(compile_all())


def draw(grammar: Grammar, random: Random, *, num_tokens: int = 120) -> list[int] | None:
    """Tokens drawn at random under the mask, leaning to the end; None if they did not reach it."""
    matcher, ids = Matcher(grammar), list[int]()
    for step in range(num_tokens):
        mask = matcher.mask()
        assert mask is not None
        choices = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little")).tolist()
        assert choices, "a dead end"
        token = 2 if 2 in choices and random.random() < 0.3 + step / 40 else random.choice(choices)
        matcher.accept([token])
        if matcher.is_terminated:
            return ids
        ids.append(token)
    return None


@pytest.mark.parametrize("name", SCHEMAS)
def test_whatever_is_drawn_is_json_that_fits(grammars: dict[str, Grammar], tokenizer: Tokenizer, name: str) -> None:
    num_complete = 0
    for seed in range(25):
        ids = draw(grammars[name], Random(seed))
        if ids is not None:
            num_complete += 1
            value = json.loads(tokenizer.decode(ids))
            assert SCHEMAS[name][1](value), value
    assert num_complete


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"not": {"type": "string"}}, "not"),
        ({"type": "object", "properties": {"a": {"if": {}, "then": {}}}}, "if"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "array", "contains": {}}, "contains"),
        ({"type": "number", "multipleOf": 0.5}, "multipleOf"),
        ({"allOf": [{"type": "string"}, {"maxLength": 3}]}, "allOf"),
        ({"type": "string", "pattern": "a", "maxLength": 3}, "stands beside maxLength"),
        ({"type": "string", "pattern": 'a"b'}, "with a backslash"),
        ({"type": "string", "pattern": r"a\nb"}, "with a backslash"),
        ({"type": "string", "pattern": "("}, "parenthesis"),
        ({"type": "string", "minLength": 5, "maxLength": 3}, ""),
    ],
)
async def test_a_schema_that_could_not_be_kept_is_refused(tokenizer: Tokenizer, schema: Any, reason: str) -> None:
    compiler = GrammarCompiler(tokenizer, vocab_size=tokenizer.vocab_size)
    with pytest.raises(GrammarError, match=f"bad-schema: .*{reason}"):
        await compiler.from_json_schema(json.dumps(schema))
    await compiler.close()


def test_values_in_a_schema_are_left_alone() -> None:
    schema = {"const": {"maxLength": 3}, "enum": [{"type": "object", "required": ["a"]}], "default": {"minLength": 1}}
    assert sound_schema(schema) == schema
    assert sound_schema(True) is True


@pytest.mark.parametrize("source", ["schema", "any"])
async def test_whitespace_between_parts_comes_to_an_end(tokenizer: Tokenizer, source: str) -> None:
    schema = {"type": "array", "items": {"type": "null"}, "minItems": 1}
    compiler = GrammarCompiler(tokenizer, vocab_size=tokenizer.vocab_size)
    grammar = await (compiler.from_json_schema(json.dumps(schema)) if source == "schema" else compiler.json())
    await compiler.close()
    matcher = Matcher(grammar)
    (space,) = tokenizer.encode(" ")
    matcher.accept([*tokenizer.encode("["), *[space] * 16])
    with pytest.raises(GrammarError, match="not-accepted"):
        matcher.accept([space])
    matcher.accept([*tokenizer.encode("null"), *[space] * 16, *tokenizer.encode("]")])
