"""What is sent, checked here: what the server cannot read it ignores, and never answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec.inspect import BoolType, BytesType, IntType, ListType, Metadata, NoneType, StrType, Type, UnionType

from pie_client.errors import ClientError
from pie_client.messages import ClientMessage, encode

__all__ = ["MAX_FRAME_BYTES", "bytes_of", "frame_of", "json_of", "text_of", "texts_of"]

MAX_FRAME_BYTES = 4 << 20
"""What the server takes, and sends; a longer frame ends the session."""
MAX_WHOLE = (1 << 64) - 1
_TYPES = {
    message: {field.name: msgspec.inspect.type_info(field.type) for field in msgspec.structs.fields(message)}
    for message in get_args(ClientMessage)
}


def frame_of(message: ClientMessage) -> bytes:
    """The frame of a message.

    Raises:
        ClientError: `bad-argument` if a field holds what the server could not read, or all are too long together.
    """
    name = message.__struct_config__.tag
    for field, kind in _TYPES[type(message)].items():
        wanted = _wanted(kind, getattr(message, field))
        if wanted is not None:
            raise ClientError("bad-argument", f"{field} of {name} must be {wanted}")
    frame = encode(message)
    if len(frame) > MAX_FRAME_BYTES:
        cause = f"{name} would be a message of {len(frame)} bytes, more than {MAX_FRAME_BYTES}"
        raise ClientError("bad-argument", cause)
    return frame


def bytes_of(name: str, data: bytes | Path) -> bytes:
    """Bytes, or those of a file; raises `bad-argument` of anything else."""
    if isinstance(data, Path):
        return data.read_bytes()
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ClientError("bad-argument", f"{name} must be bytes")
    return bytes(data)


def text_of(name: str, text: str | Path) -> str:
    """A text, or that of a file; raises `bad-argument` of anything else."""
    if isinstance(text, Path):
        return text.read_text(encoding="utf-8")
    if not _is_text(text):
        raise ClientError("bad-argument", f"{name} must be text")
    return text


def texts_of(name: str, texts: Any) -> list[str]:
    """At least one text; raises `bad-argument` of anything else."""
    if isinstance(texts, str) or not isinstance(texts, Sequence) or not texts or not all(map(_is_text, texts)):
        raise ClientError("bad-argument", f"{name} must be a list of texts, and not empty")
    return [*texts]


def json_of(value: Any) -> str:
    """The JSON text of a value; None is an empty object. Raises `bad-argument` of what has none."""
    try:
        return json.dumps({} if value is None else value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split()).rstrip(".")
        raise ClientError("bad-argument", f"the input cannot be written as JSON: {why}") from None


def _wanted(kind: Type, value: Any) -> str | None:
    """What must be in the place of a value; None if it may stay."""
    match kind:
        case Metadata(type=inner):
            return _wanted(inner, value)
        case UnionType(types=kinds):
            (inner,) = (one for one in kinds if not isinstance(one, NoneType))
            return None if value is None else _wanted(inner, value)
        case ListType(item_type=item):
            items = value if isinstance(value, list) else [object()]
            wrong = next((wanted for one in items if (wanted := _wanted(item, one)) is not None), None)
            return wrong and f"a list, each item {wrong}"
        case IntType(le=largest):
            return _wanted_whole(value, MAX_WHOLE if largest is None else largest)
        case StrType():
            return None if _is_text(value) else "text"
        case BytesType():
            return None if isinstance(value, bytes) else "bytes"
        case BoolType():
            return None if isinstance(value, bool) else "True or False"
    raise TypeError(f"no message of a client has a field of {kind}")


def _wanted_whole(value: Any, largest: int) -> str | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= largest
    return None if is_whole else f"a whole number from 0 to {largest}"


def _is_text(value: Any) -> bool:
    """Whether it is text without half a surrogate pair, which is no character."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False
