"""The example tree-of-thought, run for real on the embedded model."""

from __future__ import annotations

import re

import pytest
from tests.running import RunInferlet

pytestmark = pytest.mark.asyncio(loop_scope="session")

STATE = re.compile(r"([\d, ]+) \((-?[\d.]+)\)")


def levels(messages: list[str]) -> list[list[tuple[list[int], float]]]:
    """The states of each level: their numbers in order, and their values."""
    return [
        [([int(number) for number in numbers.split(",")], float(value)) for numbers, value in STATE.findall(message)]
        for message in messages
    ]


async def test_the_tree_sorts_what_one_attempt_does_not(run_inferlet: RunInferlet) -> None:
    results = [(await run_inferlet("tree-of-thought", {}, seed=seed)).value for seed in (1, 2, 3)]
    in_order = "15, 27, 39, 52, 63, 73, 85"
    assert [result["answer"] for result in results].count(in_order) >= 2  # what is drawn depends on the processor
    assert all(result["without_tree"] != in_order for result in results)


async def test_each_level_has_the_best_states_one_thought_further_on(run_inferlet: RunInferlet) -> None:
    numbers = [33, 55, 94, 10, 26]
    request = {"numbers": ", ".join(map(str, numbers)), "keep": 2, "proposals": 4}
    result = await run_inferlet("tree-of-thought", request, seed=5)
    tree = levels(result.messages)
    assert len(tree) == len(numbers)
    parents: list[list[int]] = [[]]
    for depth, states in enumerate(tree, start=1):
        values = [value for _, value in states]
        assert 1 <= len(states) <= 2
        assert values == sorted(values, reverse=True)
        assert all(len(set(ordered)) == depth and set(ordered) <= set(numbers) for ordered, _ in states)
        assert all(ordered[:-1] in parents for ordered, _ in states)
        parents = [ordered for ordered, _ in states]
    assert result.value["answer"] == ", ".join(map(str, parents[0]))


async def test_a_number_may_occur_twice_and_begin_another_one(run_inferlet: RunInferlet) -> None:
    result = (await run_inferlet("tree-of-thought", {"numbers": "5, 55, 5"}, seed=1)).value
    assert sorted(map(int, result["answer"].split(","))) == [5, 5, 55]
