"""JSON made of the schemas of a description: what fits them, and what almost does."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["anything", "cheap", "fitting", "mutated"]

MAX_OPTIONAL = 3
MAX_SIZE = 3
COSTLY = ("max_tokens", "max_new_tokens", "maxTokens", "max_completion_tokens", "max_output_tokens", "n", "best_of")
"""Fields that make an answer long: the test is about words, not about work."""


def anything() -> st.SearchStrategy[Any]:
    """Any JSON, with surrogates that stand alone."""
    text = st.text(st.characters(), max_size=5)
    leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
    )


@st.composite
def fitting(draw: st.DrawFn, schema: dict[str, Any], components: dict[str, Any]) -> Any:
    """A value that satisfies a schema; of the optional fields of an object a few at a time."""
    if "$ref" in schema:
        return draw(fitting(components[schema["$ref"].rsplit("/", 1)[1]], components))
    if "anyOf" in schema:
        return draw(fitting(draw(st.sampled_from(schema["anyOf"])), components))
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if "properties" in schema:
        optional = sorted(schema["properties"].keys() - set(schema["required"]))
        some = draw(st.lists(st.sampled_from(optional), max_size=MAX_OPTIONAL, unique=True)) if optional else []
        chosen = sorted([*schema["required"], *some])
        return {name: draw(fitting(schema["properties"][name], components)) for name in chosen}
    return draw(_simple(schema, components))


def _simple(schema: dict[str, Any], components: dict[str, Any]) -> st.SearchStrategy[Any]:
    match schema.get("type"):
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            low = schema.get("minimum", schema.get("exclusiveMinimum"))
            return st.floats(low, schema["maximum"], exclude_min="exclusiveMinimum" in schema)
        case "string":
            return st.text(min_size=schema.get("minLength", 0), max_size=8)
        case "array":
            each = fitting(schema.get("items", {}), components)
            return st.lists(each, min_size=schema.get("minItems", 0), max_size=MAX_SIZE)
        case "object":
            each = fitting(schema.get("additionalProperties") or {}, components)
            return st.dictionaries(st.text(max_size=8), each, max_size=MAX_SIZE)
    return anything()


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """The value with one place changed, left out or added."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(value)))
        match draw(st.sampled_from(["change", "change", "leave out", "add"])):
            case "change":
                return {**value, name: draw(mutated(value[name]))}
            case "leave out":
                return {other: kept for other, kept in value.items() if other != name}
            case _:
                return {**value, draw(st.text(max_size=5)): draw(anything())}
    if isinstance(value, list) and value and draw(st.booleans()):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], draw(mutated(value[index])), *value[index + 1 :]]
    return draw(anything())


def cheap(body: Any, chosen: dict[str, Any], *, limit: str | None) -> Any:
    """The body with the chosen fields, and a short answer; `limit` is the field that says how long it may be."""
    if not isinstance(body, dict):
        return body
    named = {**body, **chosen}
    lengths = {field: min(value, 2) for field, value in named.items() if field in COSTLY and isinstance(value, int)}
    return {**named, **({limit: named.get(limit) or 2} if limit else {}), **lengths}
