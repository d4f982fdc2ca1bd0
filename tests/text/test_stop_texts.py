"""A text ends before the stop text that is complete first, however it comes, and nothing of it is ever shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sdk.conftest import load_alone

from pie.text import stop_texts

__all__ = ["load_alone"]

TEXTS = st.lists(st.text("ab", min_size=1, max_size=4), max_size=4)


@pytest.fixture(params=["server", "sdk"])
def stop_texts_of(request: pytest.FixtureRequest, load_alone: Callable[[str], ModuleType]) -> Any:
    sdk = load_alone("inferlet/stop_texts.py")
    return stop_texts.StopTexts if request.param == "server" else sdk.StopTexts


def before_the_first(text: str, wanted: Sequence[str]) -> tuple[str, bool]:
    """What is before the stop text that is complete first, and whether there is one, from the definition."""
    for end in range(len(text) + 1):
        complete = [one for one in wanted if text[:end].endswith(one)]
        if complete:
            return text[: end - max(map(len, complete))], True
    return text, False


def test_the_text_ends_before_the_first_stop_text_however_it_is_cut(stop_texts_of: Any) -> None:
    @given(st.lists(st.text("ab", max_size=5), max_size=8), TEXTS)
    def check(pieces: list[str], wanted: list[str]) -> None:
        stops = stop_texts_of(wanted)
        shown = ""
        for piece in pieces:
            shown += stops.feed(piece)
            assert before_the_first("".join(pieces), wanted)[0].startswith(shown)
        assert (shown + stops.finish(), stops.found) == before_the_first("".join(pieces), wanted)

    check()


def test_only_what_may_become_a_stop_text_is_held_back(stop_texts_of: Any) -> None:
    stops = stop_texts_of(["END", "\n\n"])
    assert [stops.feed(piece) for piece in ("a EN", "E x", "\n", "b E", "ND", "c")] == [
        "a ",
        "ENE x",
        "",
        "\nb ",
        "",
        "",
    ]
    assert stops.found
    assert stops.finish() == ""
