"""Grammars, and matchers that walk them token by token."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from wit_world.imports import inference, sampling

from inferlet.errors import call
from inferlet.model import Tokenizer

__all__ = ["Grammar", "Matcher"]


class Grammar:
    """A grammar that texts must follow, compiled by the server."""

    __slots__ = ("wit",)

    def __init__(self, handle: inference.Grammar) -> None:
        self.wit = handle

    @classmethod
    def from_json_schema(cls, schema: str | Mapping[str, Any]) -> Grammar:
        """JSON that satisfies `schema`, a JSON text or the object it stands for.

        Raises:
            Error: the schema is not one, or is too large.
        """
        text = schema if isinstance(schema, str) else json.dumps(schema)
        return cls(call(inference.Grammar.from_json_schema, text))

    @classmethod
    def json(cls) -> Grammar:
        """Any JSON."""
        return cls(inference.Grammar.json())

    @classmethod
    def from_regex(cls, pattern: str) -> Grammar:
        """Texts that match `pattern` as a whole.

        Raises:
            Error: the pattern cannot be parsed.
        """
        return cls(call(inference.Grammar.from_regex, pattern))

    @classmethod
    def from_ebnf(cls, ebnf: str) -> Grammar:
        """Texts that follow an EBNF grammar whose start rule is `root`.

        Raises:
            Error: the grammar cannot be parsed.
        """
        return cls(call(inference.Grammar.from_ebnf, ebnf))

    def __str__(self) -> str:
        return self.wit.to_string()


class Matcher:
    """A place within a grammar."""

    __slots__ = ("wit",)

    def __init__(self, grammar: Grammar, tokenizer: Tokenizer) -> None:
        self.wit = inference.Matcher(grammar.wit, tokenizer.wit)

    def accept_tokens(self, token_ids: Iterable[int]) -> None:
        """Move on.

        Raises:
            Error: `not-accepted` if the grammar does not allow the tokens here.
        """
        call(self.wit.accept_tokens, list(token_ids))

    def next_token_logit_mask(self) -> list[int]:
        """The tokens that may follow, as BRLE."""
        return list(self.wit.next_token_logit_mask())

    def masks_ahead(self, tokens: Iterable[int]) -> list[list[int]]:
        """The tokens that may follow after each of `tokens`, as BRLE; the matcher stays where it is.

        The list ends before the first token that does not fit or that nothing may follow.
        """
        return [list(mask) for mask in call(sampling.masks_ahead, self.wit, list(tokens))]

    @property
    def is_terminated(self) -> bool:
        """Whether the text is complete and nothing may follow."""
        return self.wit.is_terminated()

    def reset(self) -> None:
        """Back to the start."""
        self.wit.reset()
