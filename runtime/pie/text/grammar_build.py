"""Builds one grammar with xgrammar: source to compiled grammar, its faults as `GrammarError` of one line.

Used in the server and in the worker process alike; it has no limits, no cache and no patience of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import xgrammar

from pie.errors import GrammarError
from pie.text.grammar_limits import GrammarKind
from pie.text.json_schema import needs_escapes, patterns_in, refuse_unenforced, sound_schema
from pie.text.white_space import white_space_rule, with_white_space
from pie.text.wide_classes import classes_apart

__all__ = ["build", "token_table"]

_SCHEMA_FAULT = ("bad-schema", "Pass a JSON schema that at least one value fits.")
_FAULTS: dict[GrammarKind, tuple[str, str]] = {
    "json-schema": _SCHEMA_FAULT,
    "json": _SCHEMA_FAULT,
    "tool-call": _SCHEMA_FAULT,
    "regex": ("bad-regex", "Use no look-around, back-references or \\p classes."),
    "ebnf": ("bad-ebnf", "Write rules as `name ::= ...` and start with a rule `root`."),
}
_MANY = "one_or_more_calls"
_MAX_WHITESPACE = 16
"""Between two parts of JSON; without a bound small models go on with it until their limit of tokens."""
_PLACE_IN_LIBRARY = re.compile(r"^\[[\d:]+\] \S+?:\d+: ")


def token_table(tokens: Sequence[bytes], stop_ids: Sequence[int], vocab_size: int) -> Any:
    """The vocabulary as xgrammar wants it; a token with empty bytes is never part of text.

    Args:
        tokens: raw bytes by id.
        stop_ids: tokens that may follow a complete text.
        vocab_size: number of logits, at least the number of tokens.
    """
    return xgrammar.TokenizerInfo(
        list(tokens), xgrammar.VocabType.RAW, vocab_size=vocab_size, stop_token_ids=list(stop_ids)
    )


def build(kind: GrammarKind, source: str, table: Any, *, num_threads: int) -> Any:
    """Parse and compile; may take long and cannot be interrupted. Frees the interpreter lock meanwhile.

    Raises:
        GrammarError: `bad-schema`, `bad-regex` or `bad-ebnf`.
    """
    try:
        compiler = xgrammar.GrammarCompiler(table, max_threads=num_threads, cache_enabled=False)
        grammar = _parse(kind, source)
        apart = classes_apart(str(grammar))
        return compiler.compile_grammar(grammar if apart is None else xgrammar.Grammar.from_ebnf(apart))
    except (RuntimeError, ValueError, TypeError) as error:
        code, remedy = _FAULTS[kind]
        raise GrammarError(code, _one_line(error), remedy=remedy) from error


def _parse(kind: GrammarKind, source: str) -> Any:
    match kind:
        case "json":
            return _parse_schema({})  # the library's own JSON grammar knows objects and lists only
        case "json-schema":
            schema = json.loads(source)
            refuse_unenforced(schema)
            return _parse_schema(schema)
        case "regex":
            return xgrammar.Grammar.from_regex(source)
        case "ebnf":
            return xgrammar.Grammar.from_ebnf(source)
        case "tool-call":
            return _parse_calls(json.loads(source))


def _parse_calls(source: dict[str, Any]) -> Any:
    """What `tool_call` hands over: each piece is a schema, or a list of text and ids of control tokens."""
    alternatives = [_concat(pieces) for pieces in source["alternatives"]]
    calls = alternatives[0] if len(alternatives) == 1 else xgrammar.Grammar.union(*alternatives)
    if "between" in source:
        # The library joins grammars one after the other or as alternatives; what repeats has to be written.
        text = f"{calls}\n{_MANY} ::= root ({_ebnf(source['between'])} root)*\n"
        calls = xgrammar.Grammar.from_ebnf(text, root_rule_name=_MANY)
    around = [[_parse_piece(source[key])] if source[key] else [] for key in ("before", "after")]
    parts = [*around[0], calls, *around[1]]
    return parts[0] if len(parts) == 1 else xgrammar.Grammar.concat(*parts)


def _concat(pieces: Sequence[Any]) -> Any:
    return xgrammar.Grammar.concat(*[_parse_piece(piece) for piece in pieces if piece])


def _parse_piece(piece: Any) -> Any:
    if isinstance(piece, dict):
        return _parse_schema(piece["schema"])
    return xgrammar.Grammar.from_ebnf(f"root ::= {_ebnf(piece)}")


def _ebnf(parts: Sequence[str | int]) -> str:
    return " ".join(
        f"Token({part})" if isinstance(part, int) else json.dumps(part, ensure_ascii=False) for part in parts
    )


def _parse_schema(schema: Any) -> Any:
    sound = sound_schema(schema)
    for pattern in filter(needs_escapes, set(patterns_in(sound))):
        # Where xgrammar 0.2.8 cannot work the escapes of JSON into a pattern, it silently leaves them out.
        alone = xgrammar.Grammar.from_json_schema(json.dumps({"type": "string", "pattern": pattern}))
        if "json_string=true" not in str(alone):
            raise GrammarError(
                "bad-schema",
                f"the pattern {pattern[:60]!r} asks for characters that JSON writes with a backslash",
                remedy="Leave quotes, backslashes and control characters out of patterns.",
            )
    any_whitespace = not (isinstance(sound, dict) and sound.get("x-any-whitespace") is False)
    separators = None if any_whitespace else (",", ":")
    if any_whitespace and isinstance(sound, dict) and "x-whitespace-pattern" in sound:
        return _with_white_space(xgrammar.Grammar.from_json_schema(json.dumps(sound)), sound["x-whitespace-pattern"])
    return xgrammar.Grammar.from_json_schema(
        json.dumps(sound), any_whitespace=any_whitespace, separators=separators, max_whitespace_cnt=_MAX_WHITESPACE
    )


def _with_white_space(grammar: Any, pattern: Any) -> Any:
    try:
        rule = white_space_rule(pattern if isinstance(pattern, str) else json.dumps(pattern))
    except ValueError as error:
        raise GrammarError(
            "bad-schema",
            f"x-whitespace-pattern: {error}",
            remedy="Write a regular expression of white space, such as [ ]? or \\n *.",
        ) from None
    return xgrammar.Grammar.from_ebnf(with_white_space(str(grammar), rule))


def _one_line(error: Exception) -> str:
    text = _PLACE_IN_LIBRARY.sub("", str(error)).partition("The JSON string is:")[0]
    return " ".join(text.split())[:300].rstrip(".") or "the grammar cannot be used"
