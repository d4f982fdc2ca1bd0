"""Tool calls as text: reads what a model wrote as a call, and writes a call as its family does.

Whatever is no call is a `MalformedCall`, never an exception: a model may write anything. It does not know of tokens or
of how a turn is cut into calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pie.text.markers import CallShape, ToolMarkers
from pie.text.tokenizer import Segment

__all__ = [
    "MalformedCall",
    "ToolCall",
    "dumped",
    "is_usable_name",
    "read_calls",
    "read_guess",
    "read_value",
    "write_calls",
    "written_value",
]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call; `arguments` is a JSON object."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class MalformedCall:
    """What was marked as a call is none: the text, and in one line why not."""

    text: str
    cause: str


def read_calls(text: str, marks: ToolMarkers, *, name: str | None = None) -> list[ToolCall | MalformedCall]:
    """Read what stands between the marks of a call; at least one result.

    Args:
        text: of the call, with the text of marks within.
        marks: how the family writes calls.
        name: of the tool, where it stands outside of the text.
    """
    try:
        if name is not None:
            return [_call(name, _json(text))]
        match marks.shape:
            case CallShape.JSON:
                return _listed(_json(text), text, marks)
            case CallShape.NAMED:
                return _named(text, marks)
            case CallShape.PAIRS:
                return [_paired(text)]
    except ValueError as error:
        return [MalformedCall(text, str(error))]


def read_guess(text: str, marks: ToolMarkers) -> ToolCall | None:
    """Read JSON that no mark says to be a call: an object with nothing but a name and arguments."""
    try:
        value = _json(text)
        keys = set(value) if isinstance(value, dict) else set()
        return _from_object(value, marks) if keys == {marks.name_key, marks.arguments_key} else None
    except ValueError:
        return None


def write_calls(marks: ToolMarkers, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Segment]:
    """The calls of one turn as the model writes them; names and arguments are no trusted text."""
    segments = [Segment(marks.around[0], trusted=True)]
    for index, (name, arguments) in enumerate(calls):
        segments += [Segment(marks.between if index else "", trusted=True), *_written(marks, name, arguments)]
    return [*segments, Segment(marks.around[1], trusted=True)]


def _written(marks: ToolMarkers, name: str, arguments: Mapping[str, Any]) -> list[Segment]:
    body = _body(marks, name, arguments)
    return [Segment(marks.opening, trusted=True), *body, Segment(marks.closing, trusted=True)]


def _body(marks: ToolMarkers, name: str, arguments: Mapping[str, Any]) -> list[Segment]:
    match marks.shape:
        case CallShape.JSON:
            return [Segment(dumped({marks.name_key: name, marks.arguments_key: arguments}), trusted=False)]
        case CallShape.NAMED:
            separator = Segment(marks.separator, trusted=True)
            return [Segment(name, trusted=False), separator, Segment(dumped(arguments), trusted=False)]
        case CallShape.PAIRS:
            pairs = (_pair(key, value if isinstance(value, str) else dumped(value)) for key, value in arguments.items())
            return [Segment(f"{name}\n", trusted=False), *(segment for pair in pairs for segment in pair)]


def _pair(key: str, value: str) -> list[Segment]:
    between = Segment("</arg_key>\n<arg_value>", trusted=True)
    pair = [Segment("<arg_key>", trusted=True), Segment(key, trusted=False), between, Segment(value, trusted=False)]
    return [*pair, Segment("</arg_value>\n", trusted=True)]


def _listed(value: Any, text: str, marks: ToolMarkers) -> list[ToolCall | MalformedCall]:
    """One object or a list; a list keeps its good calls beside the bad ones."""
    if not isinstance(value, list):
        return [_from_object(value, marks)]
    calls: list[ToolCall | MalformedCall] = []
    for item in value:
        try:
            calls.append(_from_object(item, marks))
        except ValueError as error:
            calls.append(MalformedCall(dumped(item), str(error)))
    return calls or [MalformedCall(text, f"no JSON object with a text under {marks.name_key!r}, but an empty list")]


def _from_object(value: Any, marks: ToolMarkers) -> ToolCall:
    name = value.get(marks.name_key) if isinstance(value, dict) else None
    if not isinstance(name, str):
        raise ValueError(f"no JSON object with a text under {marks.name_key!r}")
    # Models that were trained on several formats mix up the two common keys.
    keys = (marks.arguments_key, "arguments", "parameters")
    arguments = next((value[key] for key in keys if key in value), None)
    return _call(name, _json(arguments) if isinstance(arguments, str) else arguments)


def _named(text: str, marks: ToolMarkers) -> list[ToolCall | MalformedCall]:
    head = marks.head.match(text) if marks.head is not None else None
    if head is not None:
        return [_call(head[1], _json(text[head.end() :].strip().removesuffix("```")))]
    if text.lstrip()[:1] in ("[", "{"):  # older models of the family list their calls
        return _listed(_json(text), text, marks)
    raise ValueError("no name in front of arguments")


def _paired(text: str) -> ToolCall:
    name, _, rest = text.partition("<arg_key>")
    arguments: dict[str, Any] = {}
    while rest:
        key, found_key, rest = rest.partition("</arg_key>")
        before, found_value, rest = rest.partition("<arg_value>")
        value, found_end, rest = rest.partition("</arg_value>")
        if not (found_key and found_value and found_end) or before.strip():
            raise ValueError(f"no value for the argument {key[:60]!r}")
        arguments[key.strip()] = read_value(value)
        between, _, rest = rest.partition("<arg_key>")
        if between.strip():
            raise ValueError(f"{between.strip()[:60]!r} between two arguments")
    return _call(name.strip(), arguments)


def read_value(text: str) -> Any:
    """The value of a marked argument: what reads as JSON is JSON, since the format does not tell texts from others."""
    try:
        return _json(text)
    except ValueError:
        return text


def written_value(text: str) -> str:
    """A value of a marked argument as JSON."""
    try:
        return dumped(read_value(text))
    except ValueError:
        return dumped(text)


def _call(name: str, arguments: Any) -> ToolCall:
    """A call with a usable name and an object of arguments; none at all are no arguments.

    Raises:
        ValueError: why it is no call.
    """
    if not is_usable_name(name):
        raise ValueError("the name is no text")
    if not isinstance(arguments, dict | None):
        raise ValueError("the arguments are no JSON object")
    return ToolCall(name, dumped(arguments or {}))


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def dumped(value: Any) -> str:
    """A value as JSON that UTF-8 can hold.

    Raises:
        ValueError: it has what JSON has not, or is nested too deeply.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        return text if _is_unicode(text) else json.dumps(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def is_usable_name(name: str) -> bool:
    """Whether a tool can have this name."""
    return bool(name) and _is_unicode(name)


def _is_unicode(text: str) -> bool:
    """False with half of a surrogate pair, which JSON can name and UTF-8 cannot hold."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
