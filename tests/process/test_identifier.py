"""Names of installed programs and the order of their versions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from pie.errors import ProgramError
from pie.process.identifier import Identifier, is_identifier, parse_identifier, version_order

NAMES = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,127}", fullmatch=True)
VERSIONS = st.tuples(*[st.integers(0, 10**15)] * 3).map(lambda parts: ".".join(map(str, parts)))
OF_THE_PROTOCOL = re.compile(r"([a-zA-Z0-9][a-zA-Z0-9_-]*)@([0-9]+\.[0-9]+\.[0-9]+)")


@settings(deadline=None)
@given(NAMES, VERSIONS)
def test_an_identifier_is_read_as_it_was_written(name: str, version: str) -> None:
    assert parse_identifier(f"{name}@{version}") == Identifier(name, version)
    assert str(parse_identifier(f"{name}@{version}")) == f"{name}@{version}"
    assert parse_identifier(name) == Identifier(name)


@settings(deadline=None)
@given(st.text(max_size=30) | st.from_regex(r"[a-z0-9@._-]*", fullmatch=True))
def test_whatever_is_taken_is_of_the_protocols_form_and_nothing_else(text: str) -> None:
    whole = OF_THE_PROTOCOL.fullmatch(text) is not None
    assert is_identifier(text) == (whole or re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]*", text) is not None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "@1.0.0",
        "a@",
        "a@1",
        "a@1.0",
        "a@1.0.0.0",
        "a@1.0.x",
        "a@v1.0.0",
        "a@1.0.0-rc",
        "-a@1.0.0",
        "a b@1.0.0",
        "../a@1.0.0",
        "a/b",
        "a.b",
        "a@1.0.0\n",
        "ä",
        "a@١.0.0",
        "a" * 129,
        f"a@{'1' * 70}.0.0",
        "a@@1.0.0",
        "a\0",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ProgramError) as caught:
        parse_identifier(text)
    assert caught.value.code == "bad-identifier"
    assert len(caught.value.cause) < 1000
    assert not is_identifier(text)


@settings(deadline=None)
@given(VERSIONS, VERSIONS)
def test_versions_are_ordered_by_their_numbers(one: str, other: str) -> None:
    assert (version_order(one) < version_order(other)) == (Version(one) < Version(other))
    assert (version_order(one) == version_order(other)) == (one == other)


def test_ten_is_newer_than_nine() -> None:
    assert max(["0.9.0", "0.10.0", "0.2.30"], key=version_order) == "0.10.0"
