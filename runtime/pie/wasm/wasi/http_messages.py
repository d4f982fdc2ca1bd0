"""wasi:http's values: header fields, and what is asked and answered over HTTP, as the host's own code sees it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from pie.wasm.values import Err, Variant

__all__ = ["Fields", "HttpRequest", "HttpResponse", "Receive"]

Receive = Callable[[], Awaitable[bytes]]
"""Gives the next part of a request's body when it comes; empty at its end. Raises OSError if the client is gone."""

MAX_FIELDS = 256
MAX_FIELD_BYTES = 64 << 10
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BAD_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# Fields of a connection, which is the server's affair (RFC 9110, section 7.6.1).
_FORBIDDEN = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "transfer-encoding", "upgrade"}
)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What a client asks of a program.

    Attributes:
        method: such as GET.
        scheme: http or https.
        authority: the server's name and port as the client wrote them.
        path: with its query.
        headers: names and values in their order.
        receive: gives the body in parts.
    """

    method: str
    scheme: str
    authority: str
    path: str
    headers: Sequence[tuple[str, bytes]]
    receive: Receive


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What a program answers.

    Attributes:
        status: such as 200.
        headers: names and values in their order.
        body: its parts as the program writes them. Raises ProcessError if the program ends before its body does.
    """

    status: int
    headers: tuple[tuple[str, bytes], ...]
    body: AsyncIterator[bytes]


class Fields:
    """wasi:http/types.fields: a list of names and values; names are compared without regard to case."""

    __slots__ = ("_entries", "_immutable")

    def __init__(self, entries: Sequence[tuple[str, bytes]] = (), *, immutable: bool = False) -> None:
        """Hold entries that are known to be right."""
        self._entries = list(entries)
        self._immutable = immutable

    @classmethod
    def checked(cls, entries: Sequence[tuple[str, bytes]]) -> Fields:
        """Fields of a guest's entries; raises Err(header-error)."""
        fields = cls()
        for name, value in entries:
            fields.append(name, value)
        return fields

    def freeze(self) -> Fields:
        """A copy that cannot be changed."""
        return Fields(self._entries, immutable=True)

    def copy(self) -> Fields:
        """A copy that can be changed."""
        return Fields(self._entries)

    def entries(self) -> list[tuple[str, bytes]]:
        """All names and values."""
        return list(self._entries)

    def get(self, name: str) -> list[bytes]:
        """The values under a name."""
        wanted = name.lower()
        return [value for other, value in self._entries if other.lower() == wanted]

    def set(self, name: str, values: Sequence[bytes]) -> None:
        """Replace what is under a name; raises Err(header-error)."""
        kept = self.without(name)
        for value in values:
            kept.append(name, value)
        self._entries = kept.entries()

    def delete(self, name: str) -> None:
        """Remove what is under a name; raises Err(header-error)."""
        self._entries = self.without(name).entries()

    def without(self, name: str) -> Fields:
        """A copy without a name; raises Err(header-error) if these fields cannot be changed."""
        self._check(name, b"")
        wanted = name.lower()
        return Fields([entry for entry in self._entries if entry[0].lower() != wanted])

    def append(self, name: str, value: bytes) -> None:
        """Add a value under a name; raises Err(header-error)."""
        self._check(name, value)
        size = sum(len(other) + len(held) for other, held in self._entries)
        if len(self._entries) >= MAX_FIELDS or size + len(name) + len(value) > MAX_FIELD_BYTES:
            raise Err(Variant("forbidden"))
        self._entries.append((name, value))

    def _check(self, name: str, value: bytes) -> None:
        if self._immutable:
            raise Err(Variant("immutable"))
        if not _NAME.fullmatch(name) or _BAD_IN_VALUE.search(value):
            raise Err(Variant("invalid-syntax"))
        if name.lower() in _FORBIDDEN:
            raise Err(Variant("forbidden"))
