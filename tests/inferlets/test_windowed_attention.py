"""The example windowed-attention, run for real on the embedded model."""

from __future__ import annotations

import pytest
from tests.running import RunInferlet

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_only_a_window_that_reaches_the_fact_knows_it(run_inferlet: RunInferlet) -> None:
    result = (await run_inferlet("windowed-attention", {"windows": "24, 48, 96"})).value
    *short, whole = result["answers"]
    assert whole["window"] > result["tokens"]
    assert whole["answer"] == "Tom lives in Lima."
    assert all(one["answer"] != whole["answer"] for one in short)


async def test_what_lies_in_the_window_is_known_in_fewer_pages(run_inferlet: RunInferlet) -> None:
    request = {"question": "Where does Mia live?", "windows": "24,500"}
    narrow, whole = (await run_inferlet("windowed-attention", request)).value["answers"]
    assert narrow["answer"] == whole["answer"] == "Mia lives in Athens."
    assert narrow["pages"] < whole["pages"]


async def test_masks_written_by_hand_do_what_the_option_does(run_inferlet: RunInferlet) -> None:
    windows = "1, 2, 15, 16, 17, 33, 69, 70"
    answers = (await run_inferlet("windowed-attention", {"windows": windows})).value["answers"]
    assert [one["window"] for one in answers] == [int(size) for size in windows.split(",")]
    assert all(one["same_by_option"] for one in answers)
