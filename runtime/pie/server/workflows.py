"""Workflows: graphs of programs. Each is a process of our program `workflow`, which launches the others."""

from __future__ import annotations

import json

from pie.errors import UsageError
from pie.server.peer import Peer
from pie.server.processes import Launch
from pie.server.service import Service
from pie_client.messages import AttachWorkflow, CancelWorkflow, DetachWorkflow, SubmitWorkflow

__all__ = ["WorkflowCommand", "do_workflow_command"]

PROGRAM = "workflow"
WorkflowCommand = SubmitWorkflow | CancelWorkflow | AttachWorkflow | DetachWorkflow


async def do_workflow_command(command: WorkflowCommand, service: Service, *, user: str, peer: Peer) -> str:
    """Carry out a client's command; the text of its answer.

    Raises:
        UsageError: `bad-input` if a workflow is not JSON of the right form.
        ProcessError: `shutting-down`, `too-many-processes`.
        Denied: there is no such workflow, or it is another user's.
    """
    processes = service.processes
    match command:
        case SubmitWorkflow(json=text):
            return await _submit(text, service, user=user, peer=peer)
        case CancelWorkflow(workflow_id=workflow_id):
            processes.terminate(workflow_id, user=user)
            return "Workflow cancelled"
        case AttachWorkflow(workflow_id=workflow_id):
            processes.attach(workflow_id, user=user, reader=peer)
            return "Workflow attached"
        case DetachWorkflow(workflow_id=workflow_id):
            processes.leave(workflow_id, user=user, reader=peer)
            return "Workflow detached"


async def _submit(text: str, service: Service, *, user: str, peer: Peer) -> str:
    """Start a workflow, which nobody hears yet; its id."""
    service.check_open()
    service.check_room(user, 1)
    _check(text)
    program = await service.programs.ours(PROGRAM)
    workflow_id = service.processes.launch(Launch(program, PROGRAM, text, owner=user, captured=True), peer)
    service.processes.leave(workflow_id, user=user, reader=peer)
    return workflow_id


def _check(text: str) -> None:
    try:
        workflow = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad(f"the workflow is not JSON: {error}") from None
    if not isinstance(workflow, dict) or set(workflow) != {"steps"}:
        raise _bad("the workflow is no object with steps and nothing else")
    if not isinstance(workflow["steps"], dict) or not workflow["steps"]:
        raise _bad("the workflow has no steps")


def _bad(cause: str) -> UsageError:
    return UsageError(
        "bad-input", cause, remedy='Write {"steps": {"a": {"program": "name", "input": {}}}}; see inferlets/workflow.'
    )
