"""The stand-in takes nothing that flashinfer does not take; told where it is installed."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from tests.engine.flashinfer_backend.stand_in import stand_in

CALLS = [
    ("BatchPrefillWithPagedKVCacheWrapper", "__init__"),
    ("BatchPrefillWithPagedKVCacheWrapper", "plan"),
    ("BatchPrefillWithPagedKVCacheWrapper", "run"),
    ("BatchDecodeWithPagedKVCacheWrapper", "__init__"),
    ("BatchDecodeWithPagedKVCacheWrapper", "plan"),
    ("BatchDecodeWithPagedKVCacheWrapper", "run"),
    ("SegmentGEMMWrapper", "__init__"),
    ("SegmentGEMMWrapper", "run"),
    ("append_paged_kv_cache",),
    ("merge_state",),
]


@pytest.mark.parametrize("path", CALLS, ids=".".join)
def test_every_argument_is_one_of_the_library(path: tuple[str, ...]) -> None:
    library: Any = pytest.importorskip("flashinfer", reason="flashinfer is not installed")
    ours: Any = stand_in()
    for name in path:
        library, ours = getattr(library, name), getattr(ours, name)
    theirs = list(inspect.signature(library).parameters)
    parameters = inspect.signature(ours).parameters.values()
    by_place = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert theirs[: len(by_place)] == by_place
    assert {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} <= set(theirs)
