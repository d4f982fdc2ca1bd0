"""Bodies read as typed structs: what does not fit is refused, with the field that is at fault."""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from pie.server.surfaces.refusal import Refusal

__all__ = ["Count", "Fraction", "Penalty", "Seed", "Temperature", "Word", "bad_value", "read", "unsupported"]

T = TypeVar("T")

Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Fraction = Annotated[float, Meta(gt=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Word = Annotated[str, Meta(min_length=1, max_length=512)]

PLACE = re.compile(r"(?P<cause>.*) - at `(?:\$|key in \$)\.?(?P<place>[^`]*)`", re.DOTALL)
FIELD = re.compile(r"Object (?:contains unknown|missing required) field `(?P<field>.*)`", re.DOTALL)
MAX_CHARACTERS = 500


def read(body: bytes, kind: type[T]) -> T:
    """The struct that a body is.

    Raises:
        Refusal: `bad-json`, `unsupported-field`, `bad-value`.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _misfit(str(error)[:MAX_CHARACTERS]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal("bad-json", f"the body is not JSON: {error}"[:MAX_CHARACTERS], remedy="Send JSON.") from None


def unsupported(param: str) -> Refusal:
    """A field that this surface does not have, or not yet."""
    return Refusal(
        "unsupported-field",
        f"the field {param} is not supported",
        remedy="Leave it out; docs/http.md lists what each surface takes.",
    ).at(param)


def bad_value(param: str, cause: str) -> Refusal:
    """A field with a value that it cannot have."""
    return Refusal("bad-value", cause, remedy="Mend the field that is named.").at(param)


def _misfit(text: str) -> Refusal:
    match = PLACE.fullmatch(text)
    cause, place = (match["cause"], match["place"]) if match else (text, "")
    field = FIELD.fullmatch(cause)
    if field is None:
        return bad_value(place or "body", f"{place or 'the body'}: {cause.replace('`', '')}")
    param = f"{place}.{field['field']}" if place else field["field"]
    if "unknown" in cause:
        return unsupported(param)
    return bad_value(param, f"the field {param} is missing")
