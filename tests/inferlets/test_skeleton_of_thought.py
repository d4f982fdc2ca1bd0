"""The example skeleton-of-thought, run for real on the embedded model."""

from __future__ import annotations

import pytest
from tests.running import RunInferlet

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(("topic", "points"), [("animals", 3), ("things", 5), ("politicians", 4)])
async def test_the_skeleton_has_as_many_words_as_were_asked_for(
    run_inferlet: RunInferlet, topic: str, points: int
) -> None:
    result = await run_inferlet("skeleton-of-thought", {"topic": topic, "points": points}, seed=1)
    assert len(result.value) == points
    assert all(word.isalpha() and word.islower() for word in result.value)
    assert result.messages[0] == f"skeleton: {', '.join(result.value)}"


async def test_all_points_are_started_before_one_is_finished(run_inferlet: RunInferlet) -> None:
    result = await run_inferlet("skeleton-of-thought", {"points": 4}, seed=1)
    assert result.messages[1:] == [f"started: {point}" for point in result.value] + ["finished one"] * 4


async def test_the_answer_has_the_points_in_the_order_of_the_skeleton(run_inferlet: RunInferlet) -> None:
    result = await run_inferlet("skeleton-of-thought", {}, seed=1)
    parts = result.stdout.strip().split("\n\n")
    assert [point in part for point, part in zip(result.value, parts, strict=True)] == [True] * 3
