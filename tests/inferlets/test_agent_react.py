"""The example agent-react, run for real on the embedded model."""

from __future__ import annotations

import pytest
from tests.running import RunInferlet

from pie.process.process import ProgramFailed

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_action_follows_from_the_thought(run_inferlet: RunInferlet) -> None:
    result = await run_inferlet("agent-react", {"question": "What is the weather in the capital of Egypt?"})
    assert result.messages == [
        "Thought: The capital of Egypt is Cairo.",
        "Action: get_weather(Cairo)",
        'Observation: {"temperature": 33, "sky": "windy"}',
    ]
    assert result.value == {"answer": "It is 33 degrees and windy in Cairo.", "steps": 1}


async def test_without_a_thought_the_model_asks_for_another_city(run_inferlet: RunInferlet) -> None:
    result = await run_inferlet("agent-loop", {"question": "What is the weather in the capital of Egypt?"})
    assert '"city": "Paris"' in result.messages[0]


async def test_the_model_chooses_among_the_tools(run_inferlet: RunInferlet) -> None:
    result = await run_inferlet("agent-react", {"question": "Find a train for the capital of Norway."})
    assert result.messages[1] == "Action: find_train(Oslo)"
    assert result.value["answer"] == "The number is 28."


async def test_an_agent_that_observes_errors_gives_up_after_its_last_step(run_inferlet: RunInferlet) -> None:
    with pytest.raises(ProgramFailed, match="none after 2 steps") as failed:
        await run_inferlet("agent-react", {"question": "What is the weather in the capital of France?", "max_steps": 2})
    assert failed.value.code == "no-answer"
