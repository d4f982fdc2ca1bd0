"""The example agent-swarm, run for real on the embedded model."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.running import RunInferlet

from pie.process.process import ProgramFailed
from pie.runtime import Runtime

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = Path(__file__).parents[2] / "inferlets" / "agent-swarm"


async def test_every_solver_is_heard_and_the_most_likely_answer_is_believed(run_inferlet: RunInferlet) -> None:
    result = (await run_inferlet("agent-swarm", {"solvers": 6}, seed=1)).value
    logprobs = [answer["logprob"] for answer in result["answers"]]
    assert sum(answer["solvers"] for answer in result["answers"]) == 6
    assert logprobs == sorted(logprobs, reverse=True)
    assert result["answer"] == result["answers"][0]["answer"] == "peach, pear, plate, plum"


async def test_the_same_seed_gives_the_same_swarm_in_whatever_order_it_speaks(run_inferlet: RunInferlet) -> None:
    first, again, other = [(await run_inferlet("agent-swarm", {}, seed=seed)).value for seed in (7, 7, 8)]
    assert first == again
    assert first != other


async def test_two_swarms_at_once_do_not_hear_each_other(run_inferlet: RunInferlet) -> None:
    questions = ["What is the capital of Spain?", "What is the opposite of hot?"]
    runs = [run_inferlet("agent-swarm", {"question": question, "solvers": 2}, seed=1) for question in questions]
    spain, hot = await asyncio.gather(*runs)
    assert spain.value["answer"] == "The capital of Spain is Madrid."
    assert hot.value["answer"] == "The opposite of hot is cold."


async def test_a_swarm_leaves_no_process_and_no_topic(runtime: Runtime) -> None:
    process = runtime.launch(await runtime.load(PATH), {"solvers": 3}, seed=1)
    process.state.mailbox.close()
    num_open = process.state.topics.num_open
    assert len(json.loads(await process.outcome())["answers"]) <= 3
    assert process.state.topics.num_open == num_open
    assert runtime.num_processes == 0


async def test_a_copy_that_cannot_be_launched_ends_the_swarm(run_inferlet: RunInferlet) -> None:
    with pytest.raises(ProgramFailed) as failed:
        await run_inferlet("agent-swarm", {"program": "nobody"})
    assert failed.value.code == "program-not-found"


async def test_the_failure_of_a_copy_is_that_of_the_swarm(run_inferlet: RunInferlet, runtime: Runtime) -> None:
    with pytest.raises(ProgramFailed) as failed:
        await run_inferlet("agent-swarm", {"program": "chat"})
    assert failed.value.code == "bad-input"  # chat knows no parameter of a swarm
