"""Reads calls of each shape while they are written: which reader follows a family's calls, and those that are not JSON.

`calls` reads the same of whole texts. What is written well both read alike; here a call that goes wrong after its
arguments have begun is still a call, since it was told already.
"""

from __future__ import annotations

import re

from pie.text.calls import dumped, is_usable_name, read_guess, written_value
from pie.text.json_calls import JsonCalls
from pie.text.markers import CallShape, ToolMarkers
from pie.text.pieces import JsonEnd, Opened
from pie.text.said import ArgumentsDelta, CallBegun, CallEnded, CallPiece, CallReader, NoCall

__all__ = ["call_reader"]

_LONGEST_HEAD = 4096
_NEXT_MARK = {
    "<arg_key>": "</arg_key>",
    "</arg_key>": "<arg_value>",
    "<arg_value>": "</arg_value>",
    "</arg_value>": "<arg_key>",
}
_FIRST_KEY = re.compile(r'\{\s*(?:"([^"\\]*)"\s*:|[^\s"])')


def call_reader(marks: ToolMarkers, opened: Opened) -> CallReader:
    """What reads a call that was just opened."""
    if opened.is_guess:
        return GuessedCall(marks)
    if opened.name is not None:
        return NamedCall(marks, opened.name)
    match marks.shape:
        case CallShape.JSON:
            return _json_calls(marks)
        case CallShape.NAMED:
            return NamedCall(marks, None)
        case CallShape.PAIRS:
            return PairedCall()


def _json_calls(marks: ToolMarkers) -> JsonCalls:
    return JsonCalls(marks.name_key, (marks.arguments_key, "arguments", "parameters"))


class NamedCall:
    """A name, unless it stands outside, and the arguments as JSON after it."""

    def __init__(self, marks: ToolMarkers, name: str | None) -> None:
        """Begin before the name, or with a `name` before the arguments."""
        self._marks, self._name = marks, name
        self._head = ""
        self._json: JsonEnd | None = None
        self._listed: JsonCalls | None = None
        self._is_none = self._is_over = False

    def feed(self, text: str) -> list[CallPiece]:
        """What the next text makes."""
        if self._listed is not None:
            return self._listed.feed(text)
        if self._json is not None:
            return self._arguments(self._json, text)
        self._head += text
        return [NoCall()] if self._is_none else self._begin()

    def close(self, *, is_cut: bool) -> list[CallPiece]:
        """What has not become a call is none."""
        if self._listed is not None:
            return self._listed.close(is_cut=is_cut)
        return [NoCall()] if self._json is None else []

    def _begin(self) -> list[CallPiece]:
        """Find the brace before which the name stands."""
        name, rest = self._name, self._head.lstrip()
        if name is None:
            if rest[:1] in ("[", "{"):  # older models of the family list their calls
                self._listed = _json_calls(self._marks)
                return self._listed.feed(self._head)
            head = None if self._marks.head is None else self._marks.head.match(self._head)
            name, rest = (None, "") if head is None else (head[1], self._head[head.end() :].lstrip())
        if name is not None and rest[:1] == "{" and is_usable_name(name):
            self._head, self._json = "", JsonEnd()
            return [CallBegun(name), *self._arguments(self._json, rest)]
        # What looks like a name may be the beginning of a longer head, but one that stands outside is known.
        self._is_none = len(self._head) > _LONGEST_HEAD or bool(rest and (self._name is not None or rest[:1] == "{"))
        return [NoCall()] if self._is_none else []

    def _arguments(self, end: JsonEnd, text: str) -> list[CallPiece]:
        if self._is_over:
            return []
        place = end.feed(text)
        if place is None:
            return [ArgumentsDelta(text)] if text else []
        self._is_over = True
        return [ArgumentsDelta(text[:place]), CallEnded()]


class PairedCall:
    """A name, then marked keys and marked values; an argument is told when its value is whole."""

    def __init__(self) -> None:
        """Begin before the name."""
        self._until = "<arg_key>"
        self._parts: list[str] = []
        self._tail = ""
        self._key = ""
        self._num_told = 0
        self._is_begun = self._is_none = False

    def feed(self, text: str) -> list[CallPiece]:
        """What the next text makes."""
        if self._is_none:
            return [NoCall()]
        made: list[CallPiece] = []
        text = self._tail + text
        while (place := text.find(self._until)) >= 0:
            field = "".join([*self._parts, text[:place]])
            text = text[place + len(self._until) :]
            self._parts = []
            made += self._field(field)
            if not self._is_begun:
                self._is_none = True
                return [NoCall()]
        num_kept = min(len(self._until) - 1, len(text))  # where the mark may have begun
        self._parts.append(text[: len(text) - num_kept])
        self._tail = text[len(text) - num_kept :]
        return made

    def close(self, *, is_cut: bool) -> list[CallPiece]:
        """A call that is not cut ends here, if it does not end within an argument."""
        if self._is_begun:
            is_between = self._until == "<arg_key>"
            return [ArgumentsDelta("}"), CallEnded()] if is_between and not is_cut else []
        name = "".join([*self._parts, self._tail]).strip()
        if self._is_none or is_cut or not is_usable_name(name):
            return [NoCall()]
        return [CallBegun(name), ArgumentsDelta("{}"), CallEnded()]

    def _field(self, field: str) -> list[CallPiece]:
        """What ends with the mark that was looked for."""
        mark, self._until = self._until, _NEXT_MARK[self._until]
        if mark == "<arg_key>" and not self._is_begun:
            self._is_begun = is_usable_name(field.strip())
            return [CallBegun(field.strip()), ArgumentsDelta("{")]
        if mark == "</arg_key>":
            self._key = field.strip()
        return self._argument(field) if mark == "</arg_value>" else []

    def _argument(self, value: str) -> list[CallPiece]:
        comma = ", " if self._num_told else ""
        self._num_told += 1
        return [ArgumentsDelta(f"{comma}{dumped(self._key)}: {written_value(value)}")]


class GuessedCall:
    """An object that no mark says to be a call: told when it is whole, or as soon as it cannot be one."""

    def __init__(self, marks: ToolMarkers) -> None:
        """Begin before the object."""
        self._marks = marks
        self._held: list[str] = []
        self._begin: str | None = ""
        self._is_none = False

    def feed(self, text: str) -> list[CallPiece]:
        """What the next text makes."""
        if self._begin is not None:
            self._begin += text
            first = _FIRST_KEY.match(self._begin)
            if first is not None or len(self._begin) > _LONGEST_HEAD:
                self._begin = None
                keys = (self._marks.name_key, self._marks.arguments_key)
                self._is_none = first is None or first[1] not in keys
        if not self._is_none:
            self._held.append(text)
            return []
        return [NoCall()]

    def close(self, *, is_cut: bool) -> list[CallPiece]:
        """The object is whole: if it is a call and nothing else, it is one."""
        call = None if self._is_none else read_guess("".join(self._held), self._marks)
        if call is None:
            return [NoCall()]
        return [CallBegun(call.name), ArgumentsDelta(call.arguments), CallEnded()]
