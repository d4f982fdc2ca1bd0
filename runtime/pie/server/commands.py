"""What a client's commands do: each is carried out with the server's parts, and gives the text of its answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from pie.errors import PieError, RequestError
from pie.scheduler.budgets import TokenBudget
from pie.server.delivering import Delivery, deliver
from pie.server.peer import Peer
from pie.server.processes import Denied, Launch
from pie.server.programs import offered_of, read_input
from pie.server.queries import answer_query
from pie.server.service import Service
from pie.server.session import Command, InstallProgram
from pie.server.transcript import MAX_TEXT_BYTES
from pie.server.workflows import do_workflow_command
from pie_client.messages import (
    AttachProcess,
    AttachWorkflow,
    CancelWorkflow,
    CheckProgram,
    DetachWorkflow,
    LaunchDaemon,
    LaunchProcess,
    LaunchProcesses,
    ListProcesses,
    McpResponse,
    Query,
    RegisterMcpServer,
    Response,
    RunProcesses,
    SignalProcess,
    SubmitWorkflow,
    TerminateProcess,
)

__all__ = ["Commands"]

MAX_LAUNCHES = 1024
MAX_ENDED_LISTED = 256
Launches = LaunchProcess | LaunchProcesses | RunProcesses


class Commands:
    """Carries out the commands of one client."""

    def __init__(self, service: Service, user: str, peer: Peer) -> None:
        """Act for `user`, whose client is `peer`."""
        self._service = service
        self._user = user
        self._peer = peer

    def tell(self, message: Delivery) -> Response | None:
        """Give a text or a file to a process; its answer, None if none was asked for."""
        return deliver(message, self._service.processes, user=self._user, peer=self._peer)

    async def answer(self, command: Command | InstallProgram) -> Response | None:
        """Carry out a command; its answer, None for those that have none."""
        if isinstance(command, SignalProcess | McpResponse):
            return None
        try:
            return Response(corr_id=command.corr_id, ok=True, result=_fitting(await self._do(command)))
        except Denied as error:
            return Response(corr_id=command.corr_id, ok=False, result=str(error))
        except PieError as error:
            return Response(corr_id=command.corr_id, ok=False, result=str(error)[: MAX_TEXT_BYTES // 4])

    async def _do(self, command: Command | InstallProgram) -> str:
        processes = self._service.processes
        match command:
            case InstallProgram():
                self._service.check_open()
                await self._service.programs.install(command.wasm, command.manifest, replace=command.replace)
                return "Program installed successfully"
            case CheckProgram():
                return await self._check(command)
            case LaunchProcess() | LaunchProcesses() | RunProcesses():
                return await self._launch(command)
            case LaunchDaemon():
                return await self._launch_daemon(command)
            case SubmitWorkflow() | CancelWorkflow() | AttachWorkflow() | DetachWorkflow():
                return await do_workflow_command(command, self._service, user=self._user, peer=self._peer)
            case Query(subject=subject, record=record):
                return await answer_query(subject, record, self._service, user=self._user)
            case AttachProcess(process_id=process_id):
                processes.attach(process_id, user=self._user, reader=self._peer)
                return "Process attached"
            case TerminateProcess(process_id=process_id):
                return await self._terminate(process_id)
            case _:
                return self._tell(command)

    def _tell(self, command: Command | InstallProgram) -> str:
        """Carry out a command that needs no waiting."""
        match command:
            case ListProcesses(ended=ended):
                return json.dumps([*self._running(), *(self._ended() if ended else [])], ensure_ascii=False)
            case RegisterMcpServer(name=name):
                self._peer.relay.register(name)
                return "MCP server registered"
        raise TypeError(f"no command: {command!r}")

    async def _check(self, command: CheckProgram) -> str:
        there = await self._service.programs.has(
            command.name, command.version, wasm_hash=command.wasm_hash, manifest_hash=command.manifest_hash
        )
        return "true" if there else "false"

    async def _launch(self, command: Launches) -> str:
        inputs = [command.input] if isinstance(command, LaunchProcess) else command.inputs
        captured = not isinstance(command, RunProcesses) and command.capture_outputs
        budgets = _checked_budgets(command, len(inputs))
        self._service.check_open()
        stored, loaded = await self._service.programs.find(command.inferlet)
        self._service.check_room(self._user, len(inputs))
        for text in inputs:
            read_input(stored, text)
        identifier = f"{stored.name}@{stored.version}"
        launch = partial(Launch, loaded, identifier, owner=self._user, captured=captured)
        launches = [launch(text, budget=budget) for text, budget in zip(inputs, budgets, strict=True)]
        ids = [self._service.processes.launch(launch, self._peer) for launch in launches]
        match command:
            case LaunchProcess(detached=detached):
                if detached:  # in the same turn, so that nothing has been sent yet
                    self._service.processes.leave(ids[0], user=self._user, reader=self._peer)
                return ids[0] if captured else ""
            case LaunchProcesses():
                return json.dumps(ids)
        return await self._results(ids)

    async def _terminate(self, process_id: str) -> str:
        if not await self._service.daemons.end(process_id, user=self._user):
            self._service.processes.terminate(process_id, user=self._user)
        return "Process terminated"

    async def _launch_daemon(self, command: LaunchDaemon) -> str:
        if json.loads(command.input or "{}"):
            raise RequestError(
                "bad-input", "a daemon takes no input", remedy="Let its requests say what it should know."
            )
        self._service.check_open()
        stored, loaded = await self._service.programs.find(command.inferlet)
        identifier = f"{stored.name}@{stored.version}"
        await self._service.daemons.launch(offered_of(stored, loaded), identifier, owner=self._user, port=command.port)
        return "server launched"

    async def _results(self, ids: Sequence[str]) -> str:
        """What processes return, as a JSON array; if one fails, the others are ended and its error is raised."""
        processes = self._service.processes
        try:
            return json.dumps(await asyncio.gather(*map(processes.outcome, ids)), ensure_ascii=False)
        except PieError:
            processes.end(ids)
            raise

    def _running(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = [
            {
                "id": process_id,
                "username": entry.launch.owner,
                "program": entry.launch.identifier,
                "input": entry.launch.input_json,
                "elapsed_secs": int(elapsed_s),
            }
            for process_id, entry, elapsed_s in self._service.processes.running(self._user)
        ]
        rows += [
            {
                "id": daemon_id,
                "username": daemon.owner,
                "program": daemon.program,
                "input": "{}",
                "elapsed_secs": int(elapsed_s),
                "port": daemon.port,
            }
            for daemon_id, daemon, elapsed_s in self._service.daemons.running(self._user)
        ]
        return rows

    def _ended(self) -> list[dict[str, Any]]:
        """The newest; without their inputs, which may be long."""
        return [
            {
                "id": process_id,
                "username": entry.launch.owner,
                "program": entry.launch.identifier,
                "input": "",
                "elapsed_secs": int(elapsed_s),
                "ended": True,
            }
            for process_id, entry, elapsed_s in self._service.processes.ended(self._user)[:MAX_ENDED_LISTED]
        ]


def _checked_budgets(command: Launches, num_inputs: int) -> list[TokenBudget | None]:
    """The token budget of each input, if what is asked for can be launched."""
    if num_inputs > MAX_LAUNCHES:
        raise RequestError(
            "too-many-launches",
            f"{num_inputs} processes are to be launched at once, more than {MAX_LAUNCHES}",
            remedy="Launch them in several requests.",
        )
    budgets = [command.token_budget] if isinstance(command, LaunchProcess) else command.token_budgets
    if budgets is not None and len(budgets) != num_inputs:
        raise Denied(f"token_budgets length {len(budgets)} does not match inputs length {num_inputs}")
    return [None if budget is None else TokenBudget(budget) for budget in budgets or [None] * num_inputs]


def _fitting(result: str) -> str:
    size = len(result.encode("utf-8", "replace"))
    if size > MAX_TEXT_BYTES:
        raise RequestError(
            "answer-too-large",
            f"the answer has {size} bytes, more than {MAX_TEXT_BYTES}",
            remedy="Ask for less at a time.",
        )
    return result
