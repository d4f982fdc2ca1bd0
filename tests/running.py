"""What a test that runs programs is given, and what it gets back."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pie.host.mailbox import Event, Mailbox
from pie.process.programs import LoadedProgram
from pie.runtime import Client, Runtime
from pie.wasm.wasi.http_messages import HttpRequest

__all__ = ["BuildDaemon", "Run", "RunInferlet", "RunProgram", "ask", "everything_is_given_back", "run_to_end"]


@dataclass(frozen=True, slots=True)
class Run:
    """How a program ended.

    Attributes:
        value: what it returned.
        stdout: what it printed.
        messages: what it sent to its client, in order.
    """

    value: Any
    stdout: str
    messages: list[Any]


class RunProgram(Protocol):
    """Runs a program text, or several by file name, to its end."""

    async def __call__(self, program: str | dict[str, str], value: Any = None, *, seed: int = 1) -> Run:
        """Run it; raises the error with which it ends."""
        ...


class RunInferlet(Protocol):
    """Runs `inferlets/<name>` to its end."""

    async def __call__(self, name: str, value: Any, *, seed: int | None = None, lines: Sequence[str] = ()) -> Run:
        """Run it with an input; `lines` are the texts of a client that then goes away."""
        ...


class BuildDaemon(Protocol):
    """Builds the program in a file, which answers HTTP requests, once per version of it and of the SDK."""

    def __call__(self, entry: Path) -> Path:
        """The component."""
        ...


async def ask(runtime: Runtime, program: LoadedProgram, method: str, target: str, body: bytes) -> tuple[int, bytes]:
    """Let a program answer a request; its status and body."""
    waiting = [body, b""]

    async def receive() -> bytes:
        return waiting.pop(0) if waiting else b""

    client = Client(str(uuid.uuid4()), "local", Mailbox(lambda _event: None))
    answer = await runtime.answer(client, program, HttpRequest(method, "http", "localhost", target, [], receive))
    whole = b"".join([part async for part in answer.response.body])
    await answer.process.outcome()
    return answer.response.status, whole


async def run_to_end(runtime: Runtime, path: Path, value: Any, *, seed: int | None, lines: Sequence[str] = ()) -> Run:
    """Launch the program at a path and gather what it says; raises the error with which it ends."""
    events: list[Event] = []
    process = runtime.launch(await runtime.load(path), value, listener=events.append, seed=seed)
    for line in lines:
        process.state.mailbox.deliver(line)
    process.state.mailbox.close()
    returned = json.loads(await process.outcome())
    stdout = b"".join(event.data for event in events if event.kind == "stdout" and isinstance(event.data, bytes))
    return Run(returned, stdout.decode(), [event.data for event in events if event.kind == "message"])


async def everything_is_given_back(runtime: Runtime) -> None:
    """Check that nothing of a process is left: no guest, page or adapter weights.

    Saved contexts are deleted first, for they hold pages rightly.
    """
    scheduler = runtime.model.scheduler
    for name in await scheduler.list_snapshots("local"):
        await scheduler.delete(user="local", name=name)
    async with asyncio.timeout(10):  # what was cancelled in mid-step comes back with the step
        while (
            scheduler.ledger().held
            or scheduler.ledger().stashed
            or runtime.num_processes
            or runtime.num_guests
            or runtime.model.adapters.weights.num_held
        ):
            await asyncio.sleep(0.001)
    scheduler.check()
    ledger = scheduler.ledger()
    if ledger.free + ledger.cached != ledger.total:
        raise AssertionError(f"pages do not add up: {ledger}")
    if ledger.host_cached + ledger.host_free != ledger.host_total:
        raise AssertionError(f"host pages do not add up: {ledger}")
