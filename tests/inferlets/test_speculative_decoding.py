"""The example speculative-decoding, run for real on the embedded model."""

from __future__ import annotations

import pytest
from tests.running import RunInferlet

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("length", [1, 3, 20])
@pytest.mark.parametrize(
    "prompt", ["Hello", "Sort these numbers: 12, 5, 31, 8", "Eva lives in Oslo. Where does Eva live?"]
)
async def test_guesses_change_no_token(run_inferlet: RunInferlet, prompt: str, length: int) -> None:
    result = (await run_inferlet("speculative-decoding", {"prompt": prompt, "length": length})).value
    assert result["same_tokens"]
    assert result["tokens"] + 1 == result["passes_without"] == result["passes"] + result["accepted"]


async def test_a_text_that_repeats_itself_takes_half_the_passes(run_inferlet: RunInferlet) -> None:
    result = (await run_inferlet("speculative-decoding", {})).value
    assert result["text"].endswith("5, 8, 12, 22, 31, 41")
    assert result["passes"] * 2 <= result["passes_without"]
    assert 0 < result["accepted"] < result["guessed"]


@pytest.mark.parametrize("max_tokens", [1, 2, 30])
async def test_guesses_keep_the_limit(run_inferlet: RunInferlet, max_tokens: int) -> None:
    result = (await run_inferlet("speculative-decoding", {"max_tokens": max_tokens})).value
    assert result["same_tokens"]
    assert result["tokens"] == max_tokens == result["passes"] + result["accepted"]
