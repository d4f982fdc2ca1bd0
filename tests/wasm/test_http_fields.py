"""Header fields: a list of names and values, against a plain list; what they refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pie.wasm.values import Err, Variant
from pie.wasm.wasi.http_messages import MAX_FIELDS, Fields

NAME = st.text("abcXYZ-09!é ", max_size=4)
VALUES = st.lists(st.binary(max_size=3) | st.just(b"a b"), max_size=3)


def is_name(name: str) -> bool:
    return bool(name) and all(letter.isascii() and (letter.isalnum() or letter in "!-") for letter in name)


def is_value(value: bytes) -> bool:
    return all(byte == 9 or 32 <= byte != 127 for byte in value)


@given(st.lists(st.tuples(NAME, VALUES), max_size=20))
def test_fields_are_a_list_of_names_without_case(changes: list[tuple[str, list[bytes]]]) -> None:
    fields, model = Fields(), list[tuple[str, bytes]]()
    for name, values in changes:
        if not (is_name(name) and all(map(is_value, values))):
            before = fields.entries()
            with pytest.raises(Err) as caught:
                fields.set(name, values)
            assert caught.value.payload == Variant("invalid-syntax")
            assert fields.entries() == before
            continue
        fields.set(name, values)
        fields.append(name, b"last")
        model = [entry for entry in model if entry[0].lower() != name.lower()]
        model += [(name, value) for value in [*values, b"last"]]
        assert fields.get(name.upper()) == [*values, b"last"]
    assert fields.entries() == model
    for name, _ in model:
        fields.delete(name.lower())
    assert fields.entries() == []


FULL = Fields([(f"x-{number}", b"") for number in range(MAX_FIELDS)])


@pytest.mark.parametrize(
    ("change", "tag"),
    [
        (lambda: FULL.append("y", b""), "forbidden"),
        (lambda: Fields().append("z", b"a" * 70_000), "forbidden"),
        (lambda: Fields().append("Connection", b"close"), "forbidden"),
        (lambda: Fields.checked([("a", b"b\r\nc: d")]), "invalid-syntax"),
        (lambda: FULL.freeze().delete("x-1"), "immutable"),
        (lambda: FULL.freeze().append("x-1", b""), "immutable"),
    ],
)
def test_what_fields_cannot_be_is_refused(change: Callable[[], object], tag: str) -> None:
    with pytest.raises(Err) as caught:
        change()
    assert caught.value.payload == Variant(tag)
