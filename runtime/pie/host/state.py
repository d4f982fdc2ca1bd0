"""What one running program has been given: models, a session, topics, a seed, and the tasks it started.

Every host function reaches its process through this object (`guest.data`). It owns the process's asyncio tasks and
ends them with the process; it knows nothing of how the process was launched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from pie.egress.client import HttpClient
from pie.host.mailbox import Mailbox
from pie.host.served_model import ServedModel
from pie.host.served_models import ServedModels, model_loading
from pie.host.topics import Topics
from pie.mcp.servers import McpServers
from pie.scheduler.budgets import TokenBudget
from pie.wasm.guest import Guest
from pie.wasm.values import Result

__all__ = ["Children", "HostState", "Launched", "SourceText", "state_of"]

T = TypeVar("T")


@dataclass(slots=True)
class SourceText:
    """The program of a runner: its text as JSON, and the compiled code the runner hands back.

    Attributes:
        text: what `pie:ext/source.load` returns.
        saved_code: module name -> base64 of its compiled code.
    """

    text: str
    saved_code: dict[str, str] = field(default_factory=dict)


class Launched(Protocol):
    """A program that a program launched."""

    future: asyncio.Future[str]

    @property
    def process_id(self) -> str:
        """Unique in this runtime."""
        ...

    def answer(self) -> Result | None:
        """What it returned, as JSON text, or the text of its error; None while it runs."""
        ...

    def cancel(self) -> None:
        """End it."""
        ...


class Children(Protocol):
    """The programs that one process launches."""

    @property
    def budget(self) -> TokenBudget | None:
        """The tokens that they and the process may put into contexts; None is without a limit."""
        ...

    @property
    def are_first(self) -> bool:
        """Whether no program launched the process."""
        ...

    async def launch(self, name: str, input_json: str, seed: int) -> Launched:
        """Start one; raises PieError if it cannot be."""
        ...

    def end(self) -> None:
        """End all of them."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class HostState:
    """The grants of one process.

    Attributes:
        process_id: unique in this runtime; also the owner of its contexts.
        username: who launched it; names of saved contexts and topics are this user's.
        models: those of the server.
        mailbox: the client session.
        topics: messaging between processes.
        children: the programs it launches.
        mcp: the MCP servers it may connect to.
        http: sends its HTTP requests.
        seed: key of all random streams of the process.
        waits: whether it begins when all models have been loaded; otherwise with those that are ready.
        source: the program text of a runner, None for a component of its own.
        own_models: those that were ready when it began, which are all that it may use.
    """

    process_id: str
    username: str
    models: ServedModels
    mailbox: Mailbox
    topics: Topics
    children: Children
    mcp: McpServers
    http: HttpClient
    seed: int
    waits: bool = True
    source: SourceText | None = None
    own_models: dict[str, ServedModel] = field(init=False)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _num_streams: int = 0

    def __post_init__(self) -> None:
        """Take the models that are ready."""
        self.own_models = dict(self.models)

    async def enter(self) -> None:
        """Wait until every model has room for the process; one that a program launched is not kept waiting."""
        if self.waits:
            await self.models.settled()
        self.own_models = dict(self.models)
        children = self.children
        for model in self.own_models.values():
            await model.scheduler.owners.admit(self.process_id, budget=children.budget, waits=children.are_first)

    def model(self, name: str) -> ServedModel:
        """The model of that name; the empty name is the first one.

        Raises:
            ModelError: `model-not-served`, `model-loading`, `model-load-failed`.
        """
        name = name or self.models.names[0]
        if name not in self.own_models and name in self.models:
            raise model_loading(name)  # it was, when this process began
        return self.own_models.get(name) or self.models.find(name)

    def new_stream(self) -> int:
        """The key of a fresh random stream: the n-th stream of a process depends on its seed and n alone."""
        self._num_streams += 1
        return mix(self.seed, self._num_streams)

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine until it is done or the process ends."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it is the guest's to ask for; nobody else warns of it

    def close(self) -> None:
        """End every task and stop listening; contexts are released by their owner's name."""
        for task in tuple(self._tasks):
            task.cancel()
        self.mailbox.close()
        self.mcp.close_owner(self.process_id)
        for model in self.own_models.values():
            model.scheduler.release_owner(self.process_id)


def state_of(guest: Guest) -> HostState:
    """The state of the process that a guest runs for."""
    return cast(HostState, guest.data)


def mix(seed: int, index: int) -> int:
    """A 64-bit key from a seed and an index: the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    z = (seed + index * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return z ^ (z >> 31)
