"""White space of JSON as a pattern says: what the grammar accepts is what the pattern matches."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from tests.text.test_families import FAMILIES

from pie.errors import GrammarError
from pie.text.grammar import GrammarCompiler
from pie.text.matcher import Matcher
from pie.text.white_space import white_space_rule, with_white_space

TRICKY = "[ \n\r\t]*"
SCHEMA = {
    "type": "object",
    "properties": {"a": {"enum": [TRICKY]}, "b": {"type": "array", "items": {"type": "integer"}}},
    "required": ["a", "b"],
    "additionalProperties": {"type": "string"},
}
PATTERNS = [
    "",
    " ",
    " ?",
    "[ ]?",
    r"[\n ]*",
    r"\s{0,2}",
    r"( |\n\t*)?",
    " *?",
    r"(?:\s*)*",
    "( |)",
    r"(\s+|\n+)+",
    " {2}",
]
PATTERNS += [r"\s{1,}", "\n\t", "| ", "()"]
SPACES = ["".join(signs) for length in range(4) for signs in itertools.product(" \n\t", repeat=length)]


async def test_json_has_the_white_space_that_the_pattern_matches() -> None:
    family = FAMILIES["qwen3"]
    compiler = GrammarCompiler(family.tokenizer, vocab_size=family.tokenizer.vocab_size)
    text = f'{{@"a"@:@{json.dumps(TRICKY)}@,@"b"@:@[@1@,@2@]@,@"c"@:@"x  y"@}}'
    try:
        for pattern in PATTERNS:
            grammar = await compiler.from_json_schema(json.dumps({**SCHEMA, "x-whitespace-pattern": pattern}))
            for space in SPACES:
                ids = family.tokenizer.encode(text.replace("@", space), allow_special=False)
                matcher = Matcher(grammar)
                if re.fullmatch(pattern, space):
                    matcher.accept(ids)
                    assert matcher.mask() is not None
                else:
                    with pytest.raises(GrammarError, match="not-accepted"):
                        matcher.accept(ids)
    finally:
        await compiler.close()


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("x", "no white space"),
        (r"\w", "no white space"),
        (" |a", "no white space"),
        ("[^ ]", "no white space"),
        ("[ -~]", "no white space"),
        ("^ $", "no white space"),
        (" *+", "no white space"),
        (r"\f", "no white space"),
        ("(", "no regular expression"),
        (" " * 65, "65 characters"),
        (" {1025}", "repeats more"),
        ("(( {64}){64}){64}", "repeats more"),
    ],
)
async def test_a_pattern_that_is_not_white_space_alone_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        white_space_rule(pattern)
    family = FAMILIES["qwen3"]
    compiler = GrammarCompiler(family.tokenizer, vocab_size=family.tokenizer.vocab_size)
    try:
        with pytest.raises(GrammarError, match="bad-schema"):
            await compiler.from_json_schema(json.dumps({"x-whitespace-pattern": pattern}))
    finally:
        await compiler.close()


def test_white_space_within_texts_and_classes_stays() -> None:
    grammar = r'root ::= "\"[ \n\r\t]*\"" [^ \n\r\t]* [ \n\r\t]* [ \n\r\t]'
    expected = r'root ::= "\"[ \n\r\t]*\"" [^ \n\r\t]* x_white_space [ \n\r\t]'
    assert with_white_space(grammar, "[ ]").splitlines() == [expected, "x_white_space ::= [ ]"]
