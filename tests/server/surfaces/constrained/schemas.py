"""JSON Schemas drawn from a seed: of every kind that a grammar can hold, and mostly finite, so that answers end."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

__all__ = ["object_schema", "root_schema"]

NAMES = ("name", "age", "city", "a b", "ünder", 'qu"ote', "x/y", "$id", "0", "required")
TEXTS = ("", "yes", "Oslo", 'say "hi"', "back\\slash", "日本", "line\nbreak", "😀")
PATTERNS = ("^[A-Z]{2}-[0-9]{1,4}$", "^(on|off)$", "^[a-c]{1,3}(,[a-c]{1,3}){0,2}$", "^日{1,3}$", "^[^a-z]{1,4}$")
VALUES: tuple[Any, ...] = (*TEXTS, None, True, False, 0, -1.5, 7, ["a", {"b": 1}], {"c": []}, [1, 2], {"k": "v"})
PART = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"], "additionalProperties": False}
TREE = {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 1}
Schema = dict[str, Any]


def root_schema(random: Random) -> Schema:
    """Any schema."""
    return _with_definitions(_schema(random, 3))


def object_schema(random: Random) -> Schema:
    """A schema of objects, as parameters of a tool are."""
    return _with_definitions(_object(random, 2))


def _with_definitions(schema: Schema) -> Schema:
    return {**schema, "$defs": {"part": PART, "tree": TREE}} if '"$ref"' in json.dumps(schema) else schema


def _schema(random: Random, depth: int) -> Schema:
    flat: tuple[Callable[[Random], Schema], ...] = (
        _type, _integer, _number, _string, _pattern, _enum, _const, _types, _reference,
    )  # fmt: skip
    nested: tuple[Callable[[Random, int], Schema], ...] = (_array, _tuple, _object, _object, _any_of, _one_of)
    if depth == 0 or random.random() < 0.3:
        return random.choice(flat)(random)
    return random.choice(nested)(random, depth)


def _object(random: Random, depth: int) -> Schema:
    names = random.sample(NAMES, random.randint(0, 4))
    made: Schema = {"type": "object", "properties": {name: _schema(random, depth - 1) for name in names}}
    required = [name for name in names if random.random() < 0.6]
    if required or random.random() < 0.5:
        made["required"] = required
    if random.random() < 0.5:
        made["additionalProperties"] = False
    return made


def _array(random: Random, depth: int) -> Schema:
    few = random.randint(0, 2)
    items = _schema(random, depth - 1)
    return {"type": "array", "items": items, "minItems": few, "maxItems": few + random.randint(0, 2)}


def _tuple(random: Random, depth: int) -> Schema:
    parts = [_schema(random, depth - 1) for _ in range(random.randint(1, 3))]
    return {"type": "array", "prefixItems": parts, "items": False, "minItems": len(parts)}


def _any_of(random: Random, depth: int) -> Schema:
    return {"anyOf": [_schema(random, depth - 1) for _ in range(random.randint(2, 3))]}


def _one_of(random: Random, depth: int) -> Schema:
    tags = random.sample(("circle", "square", "line"), random.randint(2, 3))
    return {"oneOf": [_tagged(tag, _schema(random, depth - 1)) for tag in tags]}


def _tagged(tag: str, content: Schema) -> Schema:
    properties = {"kind": {"const": tag}, "is": content}
    return {"type": "object", "properties": properties, "required": ["kind"], "additionalProperties": False}


def _type(random: Random) -> Schema:
    return {"type": random.choice(["boolean", "null"])}


def _types(random: Random) -> Schema:
    return {"type": random.sample(["boolean", "null", "integer", "string"], random.randint(1, 3)), "maxLength": 8}


def _reference(random: Random) -> Schema:
    return {"$ref": random.choice(["#/$defs/part", "#/$defs/tree"])}


def _integer(random: Random) -> Schema:
    low = random.randint(-1000, 1000)
    made: Schema = {"type": "integer"}
    if random.random() < 0.7:
        made[random.choice(["minimum", "exclusiveMinimum"])] = low
    if random.random() < 0.7:
        made[random.choice(["maximum", "exclusiveMaximum"])] = low + random.randint(2, 2000)
    return made


def _number(random: Random) -> Schema:
    low = random.randint(-400, 400) / 4
    made: Schema = {"type": "number"}
    if random.random() < 0.7:
        made["minimum"] = low
    if random.random() < 0.7:
        made["maximum"] = low + random.randint(1, 400) / 4
    return made


def _string(random: Random) -> Schema:
    made: Schema = {"type": "string", "maxLength": random.randint(3, 12)}
    if random.random() < 0.5:
        made["minLength"] = random.randint(0, 3)
    return made


def _pattern(random: Random) -> Schema:
    return {"type": "string", "pattern": random.choice(PATTERNS)}


def _enum(random: Random) -> Schema:
    return {"enum": random.sample(VALUES, random.randint(1, 4))}


def _const(random: Random) -> Schema:
    return {"const": random.choice(VALUES)}
