"""JSON Schemas in requests: whether one is well formed, whether it is strict, and what it is without other properties.

Owns the shape only: whether a grammar can be made of a schema is found where it is compiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pie.server.surfaces.refusal import Refusal

__all__ = ["check_schema", "check_strict", "closed"]

TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
ONE = frozenset({"additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"})
MANY = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
TEXTS = frozenset({"$ref", "description", "format", "pattern", "title"})
COUNTS = frozenset({"maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"})
NUMBERS = frozenset({"exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"})
MAX_DEPTH = 64

Schemas = Iterator[tuple[str, Any]]


def check_schema(schema: Any, param: str) -> None:
    """Raise unless a schema is well formed.

    Raises:
        Refusal: `invalid-schema`, with the place as a JSON pointer.
    """
    for pointer, part in _walk(schema, param):
        if isinstance(part, bool):
            continue
        if not isinstance(part, dict):
            raise _invalid(param, pointer, "a schema is an object, true or false")
        for keyword, value in part.items():
            if why := _fault(keyword, value):
                raise _invalid(param, f"{pointer}/{_escaped(keyword)}", why)


def check_strict(schema: Any, param: str) -> None:
    """Raise unless each object in a well formed schema names all its properties, needs them all, and has no others.

    Raises:
        Refusal: `invalid-schema`, with the place as a JSON pointer.
    """
    for pointer, part in _walk(schema, param):
        if not _is_object(part):
            continue
        if part.get("additionalProperties") is not False:
            raise _invalid(param, pointer, "strict is true, and additionalProperties is not false")
        missing = sorted(part.get("properties", {}).keys() - set(part.get("required", [])))
        if missing:
            raise _invalid(param, pointer, f"strict is true, and required lacks {missing[0][:100]!r}")


def closed(schema: Any) -> Any:
    """A copy of a well formed schema in which objects that say nothing of other properties have none."""
    if not isinstance(schema, dict):
        return schema
    copy = {keyword: _closed_value(keyword, value) for keyword, value in schema.items()}
    if _is_object(schema) and "patternProperties" not in schema:
        copy.setdefault("additionalProperties", False)
    return copy


def _closed_value(keyword: str, value: Any) -> Any:
    if keyword in NAMED:
        return {name: closed(part) for name, part in value.items()}
    if isinstance(value, list) and (keyword in MANY or keyword == "items"):
        return [closed(part) for part in value]
    return closed(value) if keyword in ONE else value


def _walk(schema: Any, param: str) -> Schemas:
    """The schema and all schemas in it, each with its place."""
    todo = [("#", schema, 0)]
    while todo:
        pointer, part, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise _invalid(param, pointer, f"schemas are nested more than {MAX_DEPTH} deep")
        yield pointer, part
        if isinstance(part, dict):
            todo += [(f"{pointer}/{place}", inner, depth + 1) for place, inner in _inner(part)]


def _inner(schema: dict[str, Any]) -> Schemas:
    for keyword, value in schema.items():
        if keyword in NAMED and isinstance(value, dict):
            for name, part in value.items():
                yield f"{keyword}/{_escaped(name)}", part
        elif isinstance(value, list) and (keyword in MANY or keyword == "items"):
            for index, part in enumerate(value):
                yield f"{keyword}/{index}", part
        elif keyword in ONE:
            yield keyword, value


def _fault(keyword: str, value: Any) -> str:
    """What is wrong with the value of a keyword; empty if nothing is."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if keyword == "type":
        names = value if isinstance(value, list) and value else [value]
        return "" if all(isinstance(name, str) and name in TYPES for name in names) else "no type is called so"
    if keyword == "required":
        is_names = isinstance(value, list) and all(isinstance(name, str) for name in value)
        return "" if is_names else "required is a list of names"
    if keyword in NAMED:
        return "" if isinstance(value, dict) else f"{keyword} is an object"
    if keyword in MANY or keyword == "enum":
        return "" if isinstance(value, list) and value else f"{keyword} is a list that is not empty"
    if keyword in TEXTS:
        return "" if isinstance(value, str) else f"{keyword} is a text"
    if keyword in COUNTS:
        return "" if is_number and value >= 0 and value == int(value) else f"{keyword} is a count"
    return f"{keyword} is a number" if keyword in NUMBERS and not is_number else ""


def _is_object(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    kinds = schema.get("type", [])
    return "properties" in schema or "object" in (kinds if isinstance(kinds, list) else [kinds])


def _escaped(name: str) -> str:
    """A name as JSON pointers have it."""
    return name.replace("~", "~0").replace("/", "~1")


def _invalid(param: str, pointer: str, why: str) -> Refusal:
    return Refusal("invalid-schema", f"{pointer[:300]}: {why}", remedy="Mend the schema at that place.").at(param)
