"""The example jacobi-decoding, run for real on the embedded model."""

from __future__ import annotations

import pytest
from tests.running import RunInferlet

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("block", [0, 1, 5, 40])
@pytest.mark.parametrize("prompt", ["Hello", "Count from 3 to 12.", "Tell me a short story."])
async def test_the_fixed_point_is_the_greedy_text(run_inferlet: RunInferlet, prompt: str, block: int) -> None:
    result = (await run_inferlet("jacobi-decoding", {"prompt": prompt, "block": block})).value
    assert result["same_as_greedy"]
    assert result["passes"] <= result["tokens"] + 1
    assert (block > 0) or result["passes"] == result["tokens"] + 1


async def test_a_sum_takes_fewer_passes_than_tokens(run_inferlet: RunInferlet) -> None:
    result = (await run_inferlet("jacobi-decoding", {})).value
    assert result["text"].endswith("748 + 596 = 1344")
    assert result["same_as_greedy"]
    assert result["passes_per_token"] < 0.9


@pytest.mark.parametrize("max_tokens", [1, 2, 33])
async def test_right_guesses_do_not_exceed_the_limit(run_inferlet: RunInferlet, max_tokens: int) -> None:
    result = (await run_inferlet("jacobi-decoding", {"max_tokens": max_tokens, "block": 16})).value
    assert result["same_as_greedy"]
    assert result["tokens"] == max_tokens
