"""Programs launched by programs: who may launch what, how many at a time, and what becomes of them.

A child has the user of its parent, no client, and the limits of any process. It lives on when its parent returns, and
ends with a parent that fails or is terminated, so that nothing is left of a tree whose root was ended.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pie.build.manifest import check_input
from pie.errors import PieError, ProcessError, ProgramError, UsageError
from pie.mcp.servers import McpServers
from pie.process.launchable import Found, Launchable
from pie.process.programs import LoadedProgram
from pie.scheduler.budgets import TokenBudget
from pie.wasm.values import Err, Ok, Result

__all__ = ["Children", "Family", "Launched", "Starter"]

MAX_INPUT_BYTES = 4 << 20


class Running(Protocol):
    """A process, as its parent's side sees it."""

    @property
    def process_id(self) -> str:
        """Unique in this runtime."""
        ...

    async def outcome(self) -> str:
        """The JSON text that the program returned; raises its error."""
        ...

    def terminate(self) -> None:
        """End it now."""
        ...


@dataclass(slots=True)
class Family:
    """All processes that descend from one launch, which share one bound.

    Attributes:
        max_alive: descendants at a time.
        max_depth: generations of descendants.
        budget: tokens that all of them may put into their contexts; None is without a limit.
        mcp: the MCP servers that all of them may use; None are those of the operator.
        num_alive: descendants now.
    """

    max_alive: int
    max_depth: int
    budget: TokenBudget | None = None
    mcp: McpServers | None = None
    num_alive: int = 0


@dataclass(frozen=True, slots=True)
class Starter:
    """What the composition root lends for launching.

    Attributes:
        launchable: the programs that may be launched.
        load: loads the program at a path, under a name.
        start: starts a process with the input as JSON text, a seed, and children of its own.
    """

    launchable: Launchable
    load: Callable[[Path, str | None], Awaitable[LoadedProgram]]
    start: Callable[[LoadedProgram, str, int, Children], Running]


class Launched:
    """A launched child. Letting go of it does not end it.

    Attributes:
        future: done when the child is over.
    """

    def __init__(self, process: Running) -> None:
        """Follow a process that has just been started."""
        self._process = process
        self._cancelled = False
        self.future: asyncio.Future[str] = asyncio.ensure_future(process.outcome())
        self.future.add_done_callback(_retrieve)

    @property
    def process_id(self) -> str:
        """Identifies the process."""
        return self._process.process_id

    def answer(self) -> Result | None:
        """The JSON that the child returned, or the text of its error; None while it runs."""
        if not self.future.done():
            return None
        try:
            return Ok(self.future.result())
        except PieError as error:
            if self._cancelled and error.code == "terminated":
                error = ProcessError("cancelled", f"{self.process_id} was cancelled by the program that launched it")
            return Err(str(error))

    def cancel(self) -> None:
        """End it on behalf of its parent; what it returned before stays its answer."""
        self._cancelled = True
        self._process.terminate()

    def end(self) -> None:
        """End it because its parent failed."""
        self._process.terminate()


class Children:
    """The children of one process.

    Attributes:
        username: whose processes they are.
        budget: the tokens that they share with their parent, and with those who launched it; None is without a limit.
        mcp: the MCP servers of their family; None are those of the operator.
        are_first: whether no program launched their parent.
    """

    def __init__(self, starter: Starter, family: Family, *, username: str, depth: int = 0) -> None:
        """Make an empty set for a process that is `depth` launches below the first of its family."""
        self.username = username
        self.budget = family.budget
        self.mcp = family.mcp
        self.are_first = not depth
        self._starter = starter
        self._family = family
        self._depth = depth
        self._alive: set[Launched] = set()

    async def launch(self, name: str, input_json: str, seed: int) -> Launched:
        """Start a program; returns when it is loaded and runs.

        Args:
            name: as `Launchable.find` takes it.
            input_json: its input.
            seed: key of its random streams.

        Raises:
            ProcessError: `too-many-children`.
            ProgramError: there is no such program, or it cannot be loaded.
            UsageError: `bad-input` if the input is not JSON, or not what its Pie.toml asks for.
        """
        self._check_room()
        self._family.num_alive += 1
        try:
            launched = await self._start(name, input_json, seed)
        except BaseException:
            self._family.num_alive -= 1
            raise
        self._alive.add(launched)
        launched.future.add_done_callback(lambda _future: self._ended(launched))
        return launched

    def end(self) -> None:
        """Terminate those that still run, and with them their own."""
        for launched in tuple(self._alive):
            launched.end()

    def _check_room(self) -> None:
        if self._depth >= self._family.max_depth:
            raise ProcessError(
                "too-many-children",
                f"this program is {self._depth} launches below the first one, the most that may be",
                remedy="Let one program launch the others, instead of each the next.",
            )
        if self._family.num_alive >= self._family.max_alive:
            raise ProcessError(
                "too-many-children",
                f"{self._family.num_alive} programs launched by programs run already, the most that may be",
                remedy="Wait for some of them, or cancel them.",
            )

    async def _start(self, name: str, input_json: str, seed: int) -> Launched:
        starter = self._starter
        try:
            found = await asyncio.to_thread(_prepare, starter.launchable, name, input_json)
            program = await starter.load(found.path, found.name)
        except ProgramError as error:
            raise ProgramError(error.code, starter.launchable.hide(error.cause), remedy=error.remedy) from None
        children = Children(starter, self._family, username=self.username, depth=self._depth + 1)
        return Launched(starter.start(program, input_json, seed, children))

    def _ended(self, launched: Launched) -> None:
        self._alive.discard(launched)
        self._family.num_alive -= 1


def _prepare(launchable: Launchable, name: str, input_json: str) -> Found:
    """The program, after its input is found to be right."""
    found = launchable.find(name)
    value = _parse(input_json)
    if found.manifest is not None:
        check_input(found.manifest, value)
    return found


def _parse(input_json: str) -> Any:
    if len(input_json) > MAX_INPUT_BYTES:
        raise UsageError(
            "bad-input",
            f"the input has {len(input_json)} characters, more than {MAX_INPUT_BYTES}",
            remedy="Give the child less, or let it ask for more by messages.",
        )
    try:
        return json.loads(input_json) if input_json.strip() else None
    except (ValueError, RecursionError) as error:
        raise UsageError("bad-input", f"the input is not JSON: {error}", remedy="Give the child JSON.") from None


def _retrieve(future: asyncio.Future[str]) -> None:
    if not future.cancelled():
        future.exception()  # a child that nobody asks about must not warn
