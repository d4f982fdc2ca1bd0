"""The composition root: builds the parts, starts them, launches processes, and stops everything in order.

`loading` loads its models, and knows the engine for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import sys
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pie.config import Settings
from pie.egress.client import HttpClient
from pie.egress.hosts import AllowedHosts, parse_allowed_host
from pie.errors import PieError, ProcessError, UsageError
from pie.host.imports import all_imports
from pie.host.mailbox import Listener, Mailbox
from pie.host.served_model import ServedModel
from pie.host.state import HostState
from pie.host.topics import Topics
from pie.loading import ModelLoader
from pie.mcp.clients import McpClients
from pie.mcp.servers import McpServers
from pie.process.children import Children, Family, Starter
from pie.process.inbox import Inbox
from pie.process.launchable import Launchable
from pie.process.process import Process
from pie.process.programs import LoadedProgram, Programs, Progress
from pie.scheduler.budgets import TokenBudget
from pie.wasm.engine import WasmEngine
from pie.wasm.wasi.http import HttpExchange
from pie.wasm.wasi.http_messages import HttpRequest, HttpResponse

__all__ = ["Answer", "Client", "Runtime"]

# How long Python code on the event loop may keep the device thread from handing over a finished step.
SWITCH_INTERVAL_S = 0.0005
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Client:
    """For whom a process runs.

    Attributes:
        process_id: names the process; unique in this runtime.
        username: whose saved contexts and topics it sees.
        mailbox: its conversation with whoever launched it.
        mcp: the MCP servers it may use; None are those of the operator.
        waits: whether it begins when all models have been loaded; otherwise with those that are ready.
    """

    process_id: str
    username: str
    mailbox: Mailbox
    mcp: McpServers | None = None
    waits: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that has begun, and the process that makes it; whoever stops reading terminates the process."""

    process: Process
    response: HttpResponse

    @classmethod
    async def begun(cls, process: Process, exchange: HttpExchange) -> Self:
        """The answer of a process that was launched with a request, once its response begins.

        Raises:
            ProcessError: `no-handler`; `no-response` if the program gave none.
            PieError: why the process ended before it answered.
        """
        try:
            return cls(process, await exchange.response())
        except asyncio.CancelledError:
            process.terminate()
            raise
        except PieError:
            await process.outcome()  # if it failed, that says more
            raise


class Runtime:
    """Everything between a program's path and its outcome: models, each with a scheduler, and one component host.

    Use it as an async context manager; leaving it ends all processes and joins all threads.

    Attributes:
        models: the served models by name, the one that programs get by default first; see `ServedModels`.
        programs: loads programs.
        mcp: the MCP servers of the operator.
    """

    def __init__(
        self, settings: Settings, *, on_progress: Progress = lambda _text: None, in_background: bool = False
    ) -> None:
        """Prepare.

        Args:
            settings: where things are kept, and how much may be used.
            on_progress: hears what takes long while loading.
            in_background: whether models are loaded after it has been entered; see `loaded`.
        """
        self._settings = settings
        self._in_background = in_background
        self._on_progress = on_progress
        self._processes: set[Process] = set()
        self._num_launched = 0
        self._topics = Topics()
        self.mcp = McpClients(settings.mcp_servers)
        self._allowed_hosts = AllowedHosts([parse_allowed_host(word) for word in settings.allowed_hosts])
        launchable = Launchable(settings.programs, settings.home / "programs")
        self._starter = Starter(launchable, self._load_child, self._start_child)

    async def __aenter__(self) -> Self:
        """Load the models and start stepping, or begin with it.

        Raises:
            PieError: a model cannot be loaded, unless that is done in the background.
        """
        settings = self._settings
        self._switch_interval_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        with ExitStack() as undo:  # all of it is there, or nothing
            undo.callback(sys.setswitchinterval, self._switch_interval_s)
            self._wasm = undo.enter_context(_component_host(settings))
            self.programs = Programs(self._wasm, all_imports(), settings.cache)
            self._loader = ModelLoader(settings, self._stepping_failed)
            self.models = self._loader.models
            if self._in_background:
                self._loader.begin()
            else:
                self._loader.load()
            undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Terminate what runs, then stop the scheduler, the component host and the device."""
        while processes := tuple(self._processes):  # again, for what was being launched meanwhile
            for process in processes:
                process.terminate()
            for process in processes:
                with suppress(Exception):
                    await process.outcome()
            await asyncio.sleep(0)  # what has ended leaves the set in a callback, which must have its turn
        await self.mcp.close()
        await self._loader.close()
        self._wasm.close()
        sys.setswitchinterval(self._switch_interval_s)

    def _stepping_failed(self, error: BaseException) -> None:
        """A scheduler that fails is a defect of ours; no program may wait for it for ever."""
        log.critical("the scheduler failed; all processes end", exc_info=error)
        for process in tuple(self._processes):
            process.terminate(_server_failed())

    async def loaded(self) -> None:
        """Return when all models have been loaded, but for those that cannot be.

        Raises:
            PieError: why the first one was not, if none was.
        """
        await self.models.settled()
        if not self.models:
            raise self.models.failures[self.models.names[0]].reason

    @property
    def model(self) -> ServedModel:
        """The model that programs get unless they ask for another; raises ModelError if it is not ready."""
        return self.models.find("")

    @property
    def is_stepping(self) -> bool:
        """Whether all schedulers run; they do until the runtime is left, unless one has failed."""
        return self._loader.is_stepping

    @property
    def busy_s(self) -> float:
        """How long the oldest of the steps in progress has taken; 0 while there are none."""
        return max((model.scheduler.busy_s for model in self.models.values()), default=0.0)

    @property
    def num_processes(self) -> int:
        """Processes that have not ended."""
        return len(self._processes)

    @property
    def num_launched(self) -> int:
        """Processes since the start."""
        return self._num_launched

    @property
    def num_guests(self) -> int:
        """Component instances that have not been given back."""
        return len(self._wasm.guests)

    async def load(self, path: Path, *, name: str | None = None) -> LoadedProgram:
        """Load a program from a path (see `Programs.load`); `name` is for people, and by default that of the file."""
        return await self.programs.load(path, self._on_progress, name=name)

    def launch(  # noqa: PLR0913 - what follows the input are choices that most callers leave alone
        self,
        program: LoadedProgram,
        value: Any = None,
        *,
        listener: Listener = lambda _event: None,
        username: str = "local",
        seed: int | None = None,
        token_budget: int | None = None,
        on_receive: Callable[[], None] | None = None,
    ) -> Process:
        """Start a process; it waits for its turn while those that run could fill all pages.

        Args:
            program: what to run.
            value: its input, any JSON value.
            listener: hears what the process says.
            username: whose saved contexts and topics it sees.
            seed: key of its random streams; the same seed gives the same tokens. None draws one.
            token_budget: tokens that it, and the programs that it launches, may put into contexts; None is without a
                limit.
            on_receive: called when the process first waits for a text from its client.

        Raises:
            UsageError: `bad-token-budget`.
        """
        client = Client(str(uuid.uuid4()), username, Mailbox(listener, on_receive=on_receive))
        budget = None if token_budget is None else TokenBudget(token_budget)
        return self.launch_for(client, program, json.dumps(value), seed=seed, budget=budget)

    def launch_for(
        self,
        client: Client,
        program: LoadedProgram,
        given: str | HttpExchange | Inbox,
        *,
        seed: int | None = None,
        budget: TokenBudget | None = None,
    ) -> Process:
        """Start a process as `launch` does, with its input as JSON text, a request, or many, one after another."""
        limits = self._settings.limits
        family = Family(limits.children, limits.child_depth, budget, client.mcp)
        children = Children(self._starter, family, username=client.username)
        seed = secrets.randbits(64) if seed is None else seed & 0xFFFFFFFFFFFFFFFF
        return self._start(program, given, seed, children, client)

    async def answer(self, client: Client, program: LoadedProgram, request: HttpRequest) -> Answer:
        """Let a program answer an HTTP request, in a process of its own; returns when the response begins.

        Raises:
            PieError: see `Answer.begun`.
        """
        client.mailbox.close()  # what it has to say, the request says
        exchange = HttpExchange(request)
        return await Answer.begun(self.launch_for(client, program, exchange), exchange)

    async def _load_child(self, path: Path, name: str | None) -> LoadedProgram:
        return await self.programs.load(path, name=name)

    def _start_child(self, program: LoadedProgram, input_json: str, seed: int, children: Children) -> Process:
        mailbox = Mailbox(lambda _event: None)
        mailbox.close()  # a child has no client
        client = Client(str(uuid.uuid4()), children.username, mailbox, children.mcp, waits=False)
        return self._start(program, input_json, seed, children, client)

    def _start(
        self, program: LoadedProgram, given: str | HttpExchange | Inbox, seed: int, children: Children, client: Client
    ) -> Process:
        state = HostState(
            process_id=client.process_id,
            username=client.username,
            models=self.models,
            mailbox=client.mailbox,
            topics=self._topics,
            children=children,
            mcp=client.mcp or self.mcp,
            http=HttpClient(self._allowed_hosts),
            seed=seed,
            waits=client.waits,
            source=program.source_text(),
        )
        process = Process(program, state, limits=self._settings.limits)
        self._processes.add(process)
        self._num_launched += 1

        def ended() -> None:
            self._processes.discard(process)
            if isinstance(given, HttpExchange):
                given.end()

        process.start(given, on_end=ended)
        return process


def _server_failed() -> ProcessError:
    return ProcessError(
        "server-failed",
        "the part of the server that runs the model has failed",
        remedy="This is a fault of the server: report it with its log, and start the server again.",
    )


def _component_host(settings: Settings) -> WasmEngine:
    try:
        return WasmEngine(cache_dir=settings.cache / "components")
    except OSError as error:
        raise UsageError(
            "cache-unusable",
            f"{error.filename}: {error.strerror}",
            remedy="Set PIE_CACHE to a folder that you may write to.",
        ) from error
