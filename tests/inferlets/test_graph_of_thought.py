"""The example graph-of-thought, run for real on the embedded model."""

from __future__ import annotations

import re

import pytest
from tests.running import RunInferlet

pytestmark = pytest.mark.asyncio(loop_scope="session")

MERGE = re.compile(r"(\d+) \+ (\d+):.* -> (\d+) \(score ([012])\)")


async def test_the_graph_adds_up_what_one_attempt_does_not(run_inferlet: RunInferlet) -> None:
    results = [(await run_inferlet("graph-of-thought", {}, seed=seed)).value for seed in (1, 2, 3)]
    total = 17 + 38 + 26 + 12 + 25 + 33 + 9 + 24
    assert [result["answer"] for result in results].count(total) >= 2  # what is drawn depends on the processor
    assert all(result["without_graph"] != total for result in results)


async def test_every_thought_is_merged_once_until_one_is_left(run_inferlet: RunInferlet) -> None:
    numbers = [12, 45, 33, 27, 51]
    result = await run_inferlet("graph-of-thought", {"numbers": ", ".join(map(str, numbers))}, seed=1)
    thoughts = list(numbers)
    for message in result.messages:
        merge = MERGE.fullmatch(message)
        assert merge, message
        a, b, total, _ = map(int, merge.groups())
        thoughts.remove(a)
        thoughts.remove(b)
        thoughts.append(total)
    assert thoughts == [result.value["answer"]]


async def test_candidates_that_fail_all_checks_are_refined(run_inferlet: RunInferlet) -> None:
    messages = [
        message
        for seed in (1, 2)
        for message in (await run_inferlet("graph-of-thought", {"candidates": 2}, seed=seed)).messages
    ]
    refined = [message.split(" -> ") for message in messages if message.count(" -> ") > 1]
    assert refined
    for first, *_, chosen in refined:
        assert chosen.split()[0] not in first.partition(": ")[2].split()
        assert chosen.endswith("(score 2)")


async def test_a_single_number_is_its_own_sum(run_inferlet: RunInferlet) -> None:
    result = await run_inferlet("graph-of-thought", {"numbers": "7"})
    assert result.value["answer"] == 7
    assert result.messages == []
