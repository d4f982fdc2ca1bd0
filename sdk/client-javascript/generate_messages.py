"""Writes src/messages.ts from the definition of the messages in pie_client.messages: types, and what is checked.

python sdk/client-javascript/generate_messages.py
"""

from __future__ import annotations

import inspect
import json
import types
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from pie_client import messages

__all__ = ["OUTPUT", "generate"]

OUTPUT = Path(__file__).parent / "src" / "messages.ts"
HEAD = """// Made by generate_messages.py from sdk/client-python/pie_client/messages.py: change that, make this anew.
/** What client and server say to each other: one map per frame, named by its `type`. */

/** A whole number from 0 on. */
export type Whole = number;
"""
TABLE = """
/** What a field holds: a kind, a list of it, or one of some words; with `?` it may be left out or null. */
export type Kind = 'bool' | 'bytes' | 'str' | 'u32' | 'u64' | 'u64?[]' | 'str[]' | readonly string[];
/** The fields of a message. */
export type Fields = { readonly [field: string]: { readonly kind: Kind; readonly optional: boolean } };
"""
KINDS = {messages.U32: "u32", messages.U64: "u64", bool: "bool", bytes: "bytes", str: "str"}
TYPES = {"u32": "Whole", "u64": "Whole", "bool": "boolean", "bytes": "Uint8Array", "str": "string"}


def generate() -> str:
    """The text of messages.ts."""
    unions = {"Client": get_args(messages.ClientMessage), "Server": get_args(messages.ServerMessage)}
    every = [message for members in unions.values() for message in members]
    parts = [HEAD, *map(_interface, every)]
    parts += [_union(name, members) for name, members in unions.items()]
    return "".join([*parts, TABLE, *(_table(name, members) for name, members in unions.items())])


def _interface(message: type[msgspec.Struct]) -> str:
    lines = [f"\n/** {inspect.getdoc(message)} */", f"export interface {message.__name__} {{"]
    lines.append(f"  readonly type: '{_tag(message)}';")
    for field, kind, optional in _fields(message):
        nullable = " | null" if optional else ""
        lines.append(f"  readonly {field}{'?' if optional else ''}: {_type(kind)}{nullable};")
    return "\n".join([*lines, "}\n"])


def _union(name: str, members: tuple[type[msgspec.Struct], ...]) -> str:
    return f"\nexport type {name}Message =" + "".join(f"\n  | {member.__name__}" for member in members) + ";\n"


def _table(name: str, members: tuple[type[msgspec.Struct], ...]) -> str:
    lines = [f"\n/** The fields of each message that a {name.lower()} sends. */"]
    lines.append(f"export const {name.upper()}_MESSAGES: {{ readonly [type: string]: Fields }} = {{")
    for member in members:
        lines.append(f"  {_tag(member)}: {{")
        for field, kind, optional in _fields(member):
            value = json.dumps(kind).replace('"', "'")
            lines.append(f"    {field}: {{ kind: {value}, optional: {str(optional).lower()} }},")
        lines.append("  },")
    return "\n".join([*lines, "};\n"])


def _tag(message: type[msgspec.Struct]) -> str:
    return str(message.__struct_config__.tag)


def _fields(message: type[msgspec.Struct]) -> list[tuple[str, str | list[str], bool]]:
    """Name, kind and whether it may be left out, of each field."""
    hints = msgspec.inspect.type_info(message)
    if not isinstance(hints, msgspec.inspect.StructType):
        raise TypeError(f"{message.__name__} is no struct")
    annotations = {field.name: field.type for field in msgspec.structs.fields(message)}
    return [(field.name, *_kind(annotations[field.name], required=field.required)) for field in hints.fields]


def _kind(annotation: Any, *, required: bool) -> tuple[str | list[str], bool]:
    inner, nullable = _without_none(annotation)
    if nullable == required:
        raise TypeError(f"{annotation} must have the default None if it may be None, and only then")
    if get_origin(inner) is Literal:
        return [*get_args(inner)], nullable
    if get_origin(inner) is list:
        item, may_be_none = _without_none(get_args(inner)[0])
        return KINDS[item] + ("?[]" if may_be_none else "[]"), nullable
    return KINDS[inner], nullable


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) is types.UnionType or type(None) in get_args(annotation):
        (inner,) = (part for part in get_args(annotation) if part is not type(None))
        return inner, True
    return annotation, False


def _type(kind: str | list[str]) -> str:
    if isinstance(kind, list):
        return " | ".join(f"'{word}'" for word in kind)
    if kind.endswith("?[]"):
        return f"readonly ({TYPES[kind[:-3]]} | null)[]"
    return f"readonly {TYPES[kind[:-2]]}[]" if kind.endswith("[]") else TYPES[kind]


if __name__ == "__main__":
    OUTPUT.write_text(generate(), encoding="utf-8")
