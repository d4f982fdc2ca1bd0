"""Reads `{"name": ..., "arguments": {...}}`, or a list of such objects, while it is written.

Arguments go on as they come, once the name is known. What was begun is never taken back: whatever follows the arguments
of a call is of no consequence. The cost of a text is that of its length, however it comes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from pie.text.calls import is_usable_name
from pie.text.pieces import JsonEnd
from pie.text.said import ArgumentsDelta, CallBegun, CallEnded, CallPiece, NoCall

__all__ = ["JsonCalls"]

_SIGN = re.compile(r'["\\]')
_LITERAL = re.compile(r"[^\s,\]}]*")

Step = Callable[[str, int], int]
"""Reads a text from an index on and returns where it stopped, further on or in another state."""


class JsonCalls:
    """Follows the keys and values of an object; each step is a state."""

    def __init__(self, name_key: str, argument_keys: Sequence[str]) -> None:
        """Begin before the object or the list.

        Args:
            name_key: where an object has the name.
            argument_keys: where it may have the arguments.
        """
        self._name_key, self._argument_keys = name_key, argument_keys
        self._out: list[CallPiece] = []
        self._step: Step = self._outside
        self._is_list = False
        self._begin_object()

    def feed(self, text: str) -> list[CallPiece]:
        """What the next text makes."""
        self._out = []
        place = 0
        while place < len(text):
            place = self._step(text, place)
        return self._out

    def close(self, *, is_cut: bool) -> list[CallPiece]:
        """What has not become a call is none."""
        return [] if self._is_begun else [NoCall()]

    def _begin_object(self) -> None:
        self._key = ""
        self._name: str | None = None
        self._arguments: list[str] | None = None  # those that stand before the name
        self._is_begun = self._is_whole = False
        self._json = JsonEnd()
        self._string: list[str] = []
        self._is_escaped = False
        self._then: Callable[[str], None] = self._keyed

    def _outside(self, text: str, place: int) -> int:
        sign = text[place]
        if sign == "{":
            self._begin_object()
            self._step = self._between
        elif sign == "[" and not self._is_list and not self._is_begun:
            self._is_list = True
        elif sign == "]" and self._is_list:
            self._step = self._ended
        elif not (sign.isspace() or (sign == "," and self._is_list)):
            return self._fail(text)
        return place + 1

    def _ended(self, text: str, _place: int) -> int:
        return len(text)

    def _between(self, text: str, place: int) -> int:
        """Before a key, or the end of the object."""
        sign = text[place]
        if sign == '"':
            self._read_string(self._keyed)
        elif sign == "}":
            return self._object_ended(text, place + 1)
        elif not (sign.isspace() or sign == ","):
            return self._fail(text)
        return place + 1

    def _keyed(self, key: str) -> None:
        self._key, self._step = key, self._colon

    def _colon(self, text: str, place: int) -> int:
        sign = text[place]
        if sign == ":":
            self._step = self._value
        elif not sign.isspace():
            return self._fail(text)
        return place + 1

    def _value(self, text: str, place: int) -> int:
        sign = text[place]
        if sign.isspace():
            return place + 1
        is_arguments = self._key in self._argument_keys and self._arguments is None and not self._is_begun
        if sign == '"':
            self._read_string(self._named if self._key == self._name_key else self._spelled if is_arguments else _drop)
            return place + 1
        if self._key == self._name_key or (is_arguments and sign not in "{n"):
            return self._fail(text)
        self._json = JsonEnd()
        if is_arguments and sign == "{":
            self._open_arguments()
            self._step = self._within_arguments
        else:
            self._step = self._skipped if sign in "{[" else self._literal
        return place

    def _named(self, name: str) -> None:
        if not is_usable_name(name):
            self._fail("")
            return
        self._name, self._step = name, self._between
        if self._arguments is not None:
            self._begin_call("".join(self._arguments), is_whole=True)

    def _spelled(self, text: str) -> None:
        """The arguments as a text of JSON, as some models write them."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            self._fail("")
            return
        self._step = self._between
        if self._name is None:
            self._arguments = [text]
        else:
            self._begin_call(text, is_whole=True)

    def _open_arguments(self) -> None:
        if self._name is None:
            self._arguments = []
        else:
            self._begin_call("", is_whole=False)

    def _within_arguments(self, text: str, place: int) -> int:
        end = self._json.feed(text[place:])
        stop = len(text) if end is None else place + end
        if self._arguments is not None:
            self._arguments.append(text[place:stop])
        else:
            self._out.append(ArgumentsDelta(text[place:stop]))
        if end is not None:
            self._step = self._between
            self._end_call()
        return stop

    def _skipped(self, text: str, place: int) -> int:
        end = self._json.feed(text[place:])
        if end is None:
            return len(text)
        self._step = self._between
        return place + end

    def _literal(self, text: str, place: int) -> int:
        match = _LITERAL.match(text, place)
        end = len(text) if match is None else match.end()
        if end < len(text):
            self._step = self._between
        return end

    def _read_string(self, then: Callable[[str], None]) -> None:
        self._string, self._is_escaped, self._then = [], False, then
        self._step = self._within_string

    def _within_string(self, text: str, place: int) -> int:
        if self._is_escaped:
            self._string.append(text[place])
            self._is_escaped = False
            return place + 1
        sign = _SIGN.search(text, place)
        if sign is None:
            self._string.append(text[place:])
            return len(text)
        self._string.append(text[place : sign.start()])
        if sign[0] == "\\":
            self._string.append("\\")
            self._is_escaped = True
            return sign.end()
        return self._string_ended(text, sign.end())

    def _string_ended(self, text: str, place: int) -> int:
        then, self._step = self._then, self._between
        try:
            value = json.loads(f'"{"".join(self._string)}"')
        except ValueError:
            return self._fail(text)
        if then is not _drop:
            then(value)
        return place

    def _object_ended(self, text: str, place: int) -> int:
        if self._name is None:
            return self._fail(text)
        if not self._is_begun:
            self._begin_call("{}", is_whole=True)
        self._step = self._outside if self._is_list else self._ended
        return place

    def _begin_call(self, arguments: str, *, is_whole: bool) -> None:
        self._is_begun, self._arguments = True, None
        self._out.append(CallBegun(self._name or ""))
        if arguments:
            self._out.append(ArgumentsDelta(arguments))
        if is_whole:
            self._end_call()

    def _end_call(self) -> None:
        if self._is_begun and not self._is_whole:
            self._is_whole = True
            self._out.append(CallEnded())

    def _fail(self, text: str) -> int:
        """This is no call, and neither is what follows."""
        self._step = self._ended if self._is_begun else self._no_call
        return self._step(text, 0)

    def _no_call(self, text: str, _place: int) -> int:
        self._out.append(NoCall())
        return len(text)


def _drop(_text: str) -> None:
    """A value that says nothing."""
