"""`structuredOutputs` of `/v1/inference/chat`: the one thing that an answer is held to."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pie.server.surfaces.reading import Word, bad_value
from pie.server.surfaces.schemas import check_schema, closed
from pie.server.surfaces.vocabulary import Given
from pie.text.white_space import white_space_rule

__all__ = ["StructuredOutputs"]

FIELD = "structuredOutputs"
MAX_CHOICES = 1024
Source = Annotated[str, Meta(max_length=65536, pattern=r"\S")]


class StructuredOutputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Exactly one of the first five; the others say more of JSON."""

    json: dict[str, Any] | None = None
    regex: Source | None = None
    choice: Annotated[list[Word], Meta(min_length=1, max_length=MAX_CHOICES)] | None = None
    grammar: Source | None = None
    json_object: bool | None = None
    disable_any_whitespace: bool | None = None
    disable_additional_properties: bool | None = None
    whitespace_pattern: str | None = None

    def normal(self) -> Given:
        """The fields of the program's input that hold it.

        Raises:
            Refusal: there is not exactly one constraint, or it is not well formed.
        """
        self._check()
        if self.json is not None or self.json_object:
            return {"json_schema": self._schema()}
        if self.regex is not None:
            return {"regex": self.regex}
        if self.choice is not None:
            return {"grammar": f"root ::= {' | '.join(json.dumps(text, ensure_ascii=False) for text in self.choice)}"}
        return {"grammar": self.grammar}

    def _check(self) -> None:
        constraints = (self.json, self.regex, self.choice, self.grammar, self.json_object)
        num_given = sum(constraint is not None for constraint in constraints)
        if num_given != 1:
            cause = f"{num_given} of json, regex, choice, grammar and json_object are there, and not one"
            raise bad_value(FIELD, cause)
        if self.json_object is False:
            raise bad_value(f"{FIELD}.json_object", "json_object is true or absent")
        self._check_white_space()
        if self.json is not None:
            check_schema(self.json, f"{FIELD}.json")
        elif self.disable_additional_properties:
            raise bad_value(
                f"{FIELD}.disable_additional_properties", "there is no schema whose properties it could be of"
            )

    def _check_white_space(self) -> None:
        pattern = self.whitespace_pattern
        for name, value in (("disable_any_whitespace", self.disable_any_whitespace), ("whitespace_pattern", pattern)):
            if value not in (None, False) and self.json is None and self.json_object is None:
                raise bad_value(f"{FIELD}.{name}", "there is no JSON whose whitespace it could be")
        if pattern is None:
            return
        if self.disable_any_whitespace:
            raise bad_value(f"{FIELD}.whitespace_pattern", "disable_any_whitespace says already that there is none")
        try:
            white_space_rule(pattern)
        except ValueError as error:
            raise bad_value(f"{FIELD}.whitespace_pattern", str(error)) from None

    def _schema(self) -> Given:
        schema: Given = {"type": "object"} if self.json is None else self.json
        if self.disable_additional_properties:
            schema = closed(schema)
        if self.whitespace_pattern is not None:
            return {**schema, "x-whitespace-pattern": self.whitespace_pattern}
        return {**schema, "x-any-whitespace": False} if self.disable_any_whitespace else schema
