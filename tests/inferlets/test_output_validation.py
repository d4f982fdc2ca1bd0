"""The example output-validation, run for real on the embedded model."""

from __future__ import annotations

import pytest
from tests.running import RunInferlet

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("seed", [1, 4, 5])
async def test_only_items_that_were_found_good_are_in_the_list(run_inferlet: RunInferlet, seed: int) -> None:
    run = await run_inferlet("output-validation", {}, seed=seed)
    items = run.value["items"]
    assert len(items) == 5
    assert run.value["complete"]
    assert all(item.isalpha() for item in items)
    assert len({item[0] for item in items}) == 5
    assert len(run.messages) == run.value["rejected"]


async def test_the_greedy_choice_is_not_proposed_again_once_it_was_rejected(run_inferlet: RunInferlet) -> None:
    run = await run_inferlet("output-validation", {"temperature": 0.0, "count": 20, "tries": 5})
    last_place = [message.partition(":")[0] for message in run.messages[-5:]]
    assert len(set(last_place)) == 5


async def test_it_gives_up_after_so_many_tries_and_says_so(run_inferlet: RunInferlet) -> None:
    run = await run_inferlet("output-validation", {"count": 20, "tries": 2}, seed=1)
    assert not run.value["complete"]
    assert len(run.value["items"]) < 20
    assert len(run.messages) == run.value["rejected"] >= 2
    assert len({item[0] for item in run.value["items"]}) == len(run.value["items"])
