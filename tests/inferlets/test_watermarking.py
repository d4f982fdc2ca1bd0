"""The example watermarking, run for real on the embedded model."""

from __future__ import annotations

import pytest
from tests.running import RunInferlet

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("key", [1, 3])
async def test_marked_texts_stand_out_for_the_holder_of_the_key_alone(run_inferlet: RunInferlet, key: int) -> None:
    result = (await run_inferlet("watermarking", {"key": key})).value
    assert result["marked"]["z"] > 4
    assert abs(result["plain"]["z"]) < 3
    assert abs(result["marked_by_another_key"]["z"]) < 3
    assert result["plain_text"] != result["marked_text"]


async def test_a_mark_without_strength_is_no_mark(run_inferlet: RunInferlet) -> None:
    result = (await run_inferlet("watermarking", {"strength": 0.0, "texts": 3})).value
    assert result["marked_text"] == result["plain_text"]
    assert result["marked"] == result["plain"]


async def test_what_can_be_said_in_one_way_only_takes_no_mark(run_inferlet: RunInferlet) -> None:
    request = {"prompt": "What is the capital of France?", "texts": 2, "strength": 2.0}
    result = (await run_inferlet("watermarking", request)).value
    assert result["marked_text"] == result["plain_text"] == "The capital of France is Paris."
