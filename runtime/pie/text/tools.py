"""Tool schemas as programs hand them in: one JSON text per tool.

Owns their shape: what counts as a tool, the form templates expect, and what a call of one consists of. It does not know
of tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pie.errors import RequestError
from pie.text.markers import CallShape, ToolMarkers
from pie.text.tokenizer import Segment

__all__ = ["CallForms", "call_forms", "parse_tools"]

_MAX_CHARACTERS = 1_000_000


def parse_tools(tools: Sequence[str]) -> list[dict[str, Any]]:
    """Parse tool schemas into `{"type": "function", "function": {"name": ..., ...}}`.

    Args:
        tools: JSON objects, `{"name", "description", "parameters"}` or the same under `"function"`.

    Raises:
        RequestError: `bad-tools` if one is not a JSON object with a name, or all together are too long.
    """
    size = sum(map(len, tools))
    if size > _MAX_CHARACTERS:
        raise RequestError("bad-tools", f"tool schemas of {size} characters, more than {_MAX_CHARACTERS}")
    return [_parse_tool(text, index) for index, text in enumerate(tools)]


@dataclass(frozen=True, slots=True)
class CallForms:
    """How the calls of a turn are written; a piece is a text or a JSON schema.

    Attributes:
        before, after: what stands around all of them.
        alternatives: the pieces of one call, of any of the tools.
        between: what stands between two; None if a turn has one call alone.
    """

    before: Segment
    alternatives: list[list[Segment | dict[str, Any]]]
    after: Segment
    between: Segment | None


def call_forms(marks: ToolMarkers, tools: Sequence[dict[str, Any]]) -> CallForms:
    """What calls of the tools consist of. Names are no trusted text.

    Args:
        marks: how the family writes calls; not of shape PAIRS.
        tools: as `parse_tools` gives them.
    """
    before, after = (Segment(text, trusted=True) for text in marks.around)
    between = None if marks.is_message else Segment(marks.between, trusted=True)
    return CallForms(before, _alternatives(marks, tools), after, between)


def _alternatives(marks: ToolMarkers, tools: Sequence[dict[str, Any]]) -> list[list[Segment | dict[str, Any]]]:
    opening, closing = Segment(marks.opening, trusted=True), Segment(marks.closing, trusted=True)
    if marks.shape is CallShape.JSON:
        return [[opening, _call_schema(marks, tools), closing]]
    separator = Segment(marks.separator, trusted=True)
    return [[opening, Segment(_name(tool), trusted=False), separator, _parameters(tool), closing] for tool in tools]


def _call_schema(marks: ToolMarkers, tools: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """An object with the name of a tool and arguments that fit its parameters."""
    branches, definitions = [], {}
    for index, tool in enumerate(tools):
        definitions[f"tool{index}"] = _moved(_parameters(tool), f"#/$defs/tool{index}")
        properties = {marks.name_key: {"const": _name(tool)}, marks.arguments_key: {"$ref": f"#/$defs/tool{index}"}}
        branches.append({"type": "object", "properties": properties, "required": list(properties)})
    return {"anyOf": branches, "$defs": definitions}


def _name(tool: dict[str, Any]) -> str:
    return str(tool["function"]["name"])


def _parameters(tool: dict[str, Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = tool["function"].get("parameters") or {"type": "object"}
    return parameters


def _parse_tool(text: str, index: int) -> dict[str, Any]:
    try:
        tool = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError("bad-tools", f"tool {index} is not JSON: {error}", remedy="Pass JSON schemas.") from error
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RequestError("bad-tools", f"tool {index} has no name", remedy='Pass {"name": ..., "parameters": ...}.')
    return {"type": "function", "function": tool} if function is tool else {**tool, "function": function}


def _moved(schema: Any, place: str) -> Any:
    """The schema with references to its own root turned to its new place."""
    if isinstance(schema, list):
        return [_moved(item, place) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: _moved(value, place) for key, value in schema.items()}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = place + reference[1:]
    return moved
