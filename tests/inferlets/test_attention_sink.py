"""The example attention-sink, run for real on the embedded model."""

from __future__ import annotations

import re

import pytest
from tests.running import RunInferlet

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROGRESS = re.compile(r"after (\d+) tokens: (\d+) pages, (\d+) without")


def bound(window: int, sink: int, page_size: int = 16) -> int:
    """Most pages that a window and its first tokens can touch, the next page, and the one in place of the discarded."""
    return -(-sink // page_size) + 1 + (window + page_size - 2) // page_size + 1 + 1


@pytest.mark.parametrize(("window", "sink"), [(64, 4), (32, 0), (20, 40)])
async def test_the_pages_stay_bounded_while_the_text_grows(run_inferlet: RunInferlet, window: int, sink: int) -> None:
    run = await run_inferlet("attention-sink", {"window": window, "sink": sink, "max_tokens": 400}, seed=1)
    assert run.value["most_pages"] <= bound(window, sink) < run.value["pages_without"]
    told = [[int(number) for number in PROGRESS.fullmatch(message).groups()] for message in run.messages]  # type: ignore[union-attr]
    assert [tokens for tokens, _, _ in told] == [100, 200, 300, 400]
    assert all(pages <= run.value["most_pages"] for _, pages, _ in told)
    assert [without for _, _, without in told] == sorted({without for _, _, without in told})


async def test_a_window_wider_than_the_text_gives_nothing_back(run_inferlet: RunInferlet) -> None:
    result = (await run_inferlet("attention-sink", {"window": 2000, "max_tokens": 100}, seed=1)).value
    assert result["most_pages"] == result["pages_without"]
