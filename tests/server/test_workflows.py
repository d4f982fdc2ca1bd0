"""Workflows: graphs of programs that clients submit, leave, attach to and cancel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.running import RunInferlet
from tests.server.running import Install

from pie.server.server import Server
from pie_client import Client, Refused
from pie_client.messages import AttachWorkflow, CancelWorkflow, DetachWorkflow, SubmitWorkflow

pytestmark = pytest.mark.asyncio(loop_scope="session")

STEPS = {
    "record": {"program": "json-record"},
    "sum": {"program": "best-of-n", "input": {"prompt": "What is ${record.age} + 8?", "n": 2, "temperature": 0.1}},
}


async def test_results_of_steps_are_inputs_of_others(run_inferlet: RunInferlet) -> None:
    run = await run_inferlet("workflow", {"steps": STEPS}, seed=1)
    assert run.value["record"] == {"name": "Wilma", "age": 34, "city": "Quito"}
    assert run.value["sum"]["answer"] == "34 + 8 = 42"


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ({"a": {"program": "chat", "input": "${b}"}}, "step a needs b, which is no step"),
        ({"a": {"program": "x", "input": "${b}"}, "b": {"program": "x", "input": "${a}"}}, "a, b wait for each other"),
        ({"a": {"program": "x", "input": ["${a.b}"]}}, "a wait for each other"),
        ({"a": {}}, "step a names no program"),
        ({"a": "chat"}, "step a names no program"),
        ({"a": {"program": "no-such-program"}}, "program-not-found"),
        ({**STEPS, "c": {"program": "chat", "input": "${record.shoe}"}}, "the result of record has no shoe"),
    ],
)
async def test_a_graph_that_is_wrong_is_refused_with_what_is_wrong(
    steps: object, told: str, run_inferlet: RunInferlet
) -> None:
    with pytest.raises(Exception, match=told):
        await run_inferlet("workflow", {"steps": steps})


async def test_a_client_submits_a_workflow_and_another_one_of_the_user_attaches_to_it(server: Server) -> None:
    async with Client(server.url) as first:
        await first.authenticate("me")
        workflow_id = await first.submit_workflow(STEPS)
    async with Client(server.url) as second:
        await second.authenticate("me")
        workflow = await second.attach_process(workflow_id)
        events = [event async for event in workflow]
        assert [json.loads(str(event.value))["step"] for event in events if event.kind == "message"] == [
            "record",
            "sum",
        ]
        assert json.loads(str(events[-1].value))["sum"]["answer"].endswith("= 42")


ENDLESS = "import asyncio\n\nasync def main():\n    await asyncio.sleep(3600)\n"


async def test_the_messages_of_the_protocol_are_answered(server: Server, programs_dir: Path) -> None:
    (programs_dir / "endless.py").write_text(ENDLESS)
    endless = {"a": {"program": "endless"}}
    async with Client(server.url) as client, Client(server.url) as other:
        await client.authenticate("me")
        await other.authenticate("other")
        answer = await client._ask(lambda n: SubmitWorkflow(corr_id=n, json=json.dumps({"steps": endless})))
        for message, told in (
            (AttachWorkflow, "Workflow attached"),
            (DetachWorkflow, "Workflow detached"),
            (AttachWorkflow, "Workflow attached"),
        ):
            assert await client._ask(lambda n, m=message: m(corr_id=n, workflow_id=answer)) == told  # type: ignore[misc]
        with pytest.raises(Refused, match="Permission denied"):
            await other._ask(lambda n: CancelWorkflow(corr_id=n, workflow_id=answer))
        assert await client._ask(lambda n: CancelWorkflow(corr_id=n, workflow_id=answer)) == "Workflow cancelled"
    (programs_dir / "endless.py").unlink()


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", "{}", '{"steps": {}}', '{"steps": []}', '{"steps": {"a": {}}, "b": 1}']
)
async def test_what_is_no_workflow_is_refused_at_once(text: str, server: Server, install: Install) -> None:
    async with Client(server.url) as client:
        await client.authenticate("me")
        with pytest.raises(Refused, match="bad-input"):
            await client._ask(lambda n: SubmitWorkflow(corr_id=n, json=text))
        with pytest.raises(Refused, match="Process not found"):
            await client._ask(lambda n: AttachWorkflow(corr_id=n, workflow_id="00000000-0000-0000-0000-000000000000"))
