"""The processes that clients launched: whose they are, who listens, and what they said when nobody did.

A process outlives the session that launched it. What is left of one that has ended is kept for a while, so that a
client that comes back learns how it ended.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pie.errors import PieError, ProcessError
from pie.host.mailbox import Listener, Mailbox
from pie.process.inbox import Inbox
from pie.process.process import Process
from pie.process.programs import LoadedProgram
from pie.runtime import Client, Runtime
from pie.scheduler.budgets import TokenBudget
from pie.server.history import HeardRoom
from pie.server.peer import Peer
from pie.server.relay import Relay, RelayedServers
from pie.server.settings import ServerSettings
from pie.server.transcript import MAX_TEXT_BYTES, Transcript
from pie.wasm.wasi.http import HttpExchange

__all__ = ["Denied", "Entry", "Launch", "ProcessTable"]

ENDED_KEPT_S = 600.0
ENDED_KEPT_BYTES = 256 << 20
MAX_ENDED = 4096
MAX_ERROR_CHARACTERS = 100_000
log = logging.getLogger(__name__)


class Denied(Exception):
    """A client asked for a process that is not there, or not its own; the text is what it is answered."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What is to be started.

    Attributes:
        program: what to run.
        identifier: its name and version.
        input_json: its input, as it was given.
        owner: the user.
        captured: whether the client hears it from the beginning; others are not heard before they are attached to.
        budget: the tokens that it may put into contexts; None is without a limit.
    """

    program: LoadedProgram
    identifier: str
    input_json: str
    owner: str
    captured: bool
    budget: TokenBudget | None = None


@dataclass(slots=True, eq=False)
class Entry:
    """One launched process.

    Attributes:
        launch: what was started.
        process: the process itself.
        transcript: what it says.
        started_s: on the monotonic clock.
        reader: the client that listens.
        launcher: the client that launched it, as long as it is connected.
        terminated: whether a client has ended it.
        ended_s: on the monotonic clock; None while it runs.
    """

    launch: Launch
    process: Process
    transcript: Transcript
    started_s: float
    reader: Peer | None = None
    launcher: Peer | None = None
    terminated: bool = False
    ended_s: float | None = None


class ProcessTable:
    """All of them, by id."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_unread_bytes: int = ENDED_KEPT_BYTES,
    ) -> None:
        """Start empty.

        Args:
            runtime: processes run in it.
            clock: seconds, which only go up.
            max_unread_bytes: of what processes have said that have ended, and nobody has been sent.
        """
        self._max_unread_bytes = max_unread_bytes
        self._runtime = runtime
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._ended: dict[str, Entry] = {}  # the oldest first
        self._unread: list[Entry] = []  # of those, the ones whose client has not been sent everything
        self._answering: dict[str, tuple[str, Process]] = {}  # owner and process, of those that answer HTTP requests
        self._heard = HeardRoom()  # of those that have ended
        self._watching: set[asyncio.Task[None]] = set()

    @property
    def num_running(self) -> int:
        """Processes that have not ended."""
        return len(self._entries) - len(self._ended) + len(self._answering)

    @property
    def num_answering(self) -> int:
        """Those of them that answer HTTP requests."""
        return len(self._answering)

    def check_room(self, user: str, num_launches: int, *, settings: ServerSettings) -> None:
        """Raise unless so many more processes of a user may run.

        Raises:
            ProcessError: `too-many-processes`.
        """
        max_running, max_of_user = settings.max_processes, settings.max_processes_per_user
        of_user = len(self.running(user)) + sum(owner == user for owner, _ in self._answering.values())
        for running, limit, whose in ((self.num_running, max_running, "run"), (of_user, max_of_user, "of yours run")):
            if running + num_launches > limit:
                raise ProcessError(
                    "too-many-processes",
                    f"{running} processes {whose}, and {num_launches} more would be more than {limit}",
                    remedy="Wait until some have ended, or end them.",
                )

    def launch(self, launch: Launch, launcher: Peer) -> str:
        """Start a process for a client, whose MCP servers it may use; its id."""
        process_id = str(uuid.uuid4())
        transcript = Transcript(process_id, captured=launch.captured)
        servers = RelayedServers(process_id, lambda: self._relay(process_id), self._runtime.mcp)
        client = Client(process_id, launch.owner, Mailbox(transcript.hear), servers)
        process = self._runtime.launch_for(client, launch.program, launch.input_json, budget=launch.budget)
        entry = Entry(launch, process, transcript, self._clock(), launcher=launcher)
        self._entries[process_id] = entry
        log.info("process launched", extra={"facts": _facts(entry)})
        if launch.captured:
            self._read(entry, launcher)
        task = asyncio.get_running_loop().create_task(self._watch(entry), name=f"watch {process_id}")
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        return process_id

    def launch_for_request(
        self,
        program: LoadedProgram,
        given: str | HttpExchange | Inbox,
        *,
        owner: str,
        listener: Listener,
        budget: TokenBudget | None = None,
        waits: bool = True,
    ) -> Process:
        """Start a process that answers an HTTP request, or many: nobody attaches to it, and nothing of it is kept.

        It begins when all models have been loaded, unless it only needs those that are ready and so never `waits`.
        """
        process_id = str(uuid.uuid4())
        mailbox = Mailbox(listener)
        mailbox.close()  # what it has to say, the request says
        client = Client(process_id, owner, mailbox, waits=waits)
        process = self._runtime.launch_for(client, program, given, budget=budget)
        self._answering[process_id] = owner, process
        task = asyncio.get_running_loop().create_task(self._answered(process), name=f"watch {process_id}")
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        return process

    async def outcome(self, process_id: str) -> str:
        """The JSON text that a process returns; raises its error."""
        return await self._entries[process_id].process.outcome()

    def attach(self, process_id: str, *, user: str, reader: Peer) -> None:
        """Let a client hear a process, from what nobody has heard yet.

        Raises:
            Denied: it is not there, another user's, or another client hears it.
        """
        entry = self.find(process_id, user=user, malformed="Invalid process_id")
        if entry.reader not in (None, reader):
            raise Denied("Process not found")
        self._read(entry, reader)

    def leave(self, process_id: str, *, user: str, reader: Peer) -> None:
        """A client does not listen to a process any more: it goes on, and what it says waits.

        Raises:
            Denied: it is not there, or another user's.
        """
        entry = self.find(process_id, user=user)
        if entry.reader is reader:
            entry.reader = None
            reader.outbox.detach(entry.transcript)

    def detach(self, reader: Peer) -> None:
        """A client has left: its processes go on, and what they say waits."""
        for entry in self._entries.values():
            if entry.launcher is reader:
                entry.launcher = None
            if entry.reader is reader:
                entry.reader = None
                reader.outbox.detach(entry.transcript)

    def terminate(self, process_id: str, *, user: str) -> None:
        """End a process.

        Raises:
            Denied: it is not there, has ended, or is another user's.
        """
        entry = self.find(process_id, user=user)
        if entry.ended_s is not None:
            raise Denied("Process not found")
        entry.terminated = True
        entry.process.terminate()

    def heard_by(self, reader: Peer, process_id: str) -> Entry | None:
        """The process, if it is there and this client listens to it."""
        entry = self._entries.get(process_id)
        return entry if entry is not None and entry.reader is reader else None

    def running(self, user: str) -> Sequence[tuple[str, Entry, float]]:
        """A user's processes that have not ended: id, entry, and seconds since the launch."""
        now_s = self._clock()
        return [
            (process_id, entry, now_s - entry.started_s)
            for process_id, entry in self._entries.items()
            if entry.launch.owner == user and entry.ended_s is None
        ]

    def ended(self, user: str) -> Sequence[tuple[str, Entry, float]]:
        """A user's processes that have ended and are remembered, the newest first: id, entry, and how long they ran."""
        return [
            (process_id, entry, entry.ended_s - entry.started_s)
            for process_id, entry in reversed(self._ended.items())
            if entry.launch.owner == user and entry.ended_s is not None
        ]

    async def idle(self) -> None:
        """Return when no process runs."""
        while self._watching:
            await asyncio.wait(self._watching)

    async def all_heard(self) -> None:
        """Return when all that listening clients are to hear has been sent."""
        for entry in tuple(self._entries.values()):
            if entry.reader is not None:
                await entry.transcript.heard()

    def terminate_all(self, reason: PieError) -> None:
        """End all processes."""
        for entry in self._entries.values():
            entry.process.terminate(reason)
        for _, process in self._answering.values():
            process.terminate(reason)

    def end(self, process_ids: Sequence[str]) -> None:
        """End those that still run, since nobody wants what they would return."""
        for process_id in process_ids:
            self._entries[process_id].process.terminate()

    def find(self, process_id: str, *, user: str, malformed: str = "Invalid process ID") -> Entry:
        """A user's process, running or ended.

        Args:
            process_id: its id.
            user: who asks.
            malformed: what is told of an id that is none.

        Raises:
            Denied: it is not there, or another user's.
        """
        try:
            entry = self._entries.get(str(uuid.UUID(process_id)))
        except ValueError:
            raise Denied(malformed) from None
        if entry is None:
            raise Denied("Process not found")
        if entry.launch.owner != user:
            raise Denied("Permission denied")
        return entry

    def _relay(self, process_id: str) -> Relay | None:
        """The MCP servers of whoever listens to a process, or else of whoever launched it."""
        entry = self._entries.get(process_id)
        peer = None if entry is None else entry.reader or entry.launcher
        return None if peer is None else peer.relay

    def _read(self, entry: Entry, reader: Peer) -> None:
        entry.reader = reader
        reader.outbox.attach(entry.transcript)

    async def _answered(self, process: Process) -> None:
        outcome = asyncio.ensure_future(process.outcome())
        await asyncio.wait([outcome])
        outcome.exception()  # whoever sent the request is told of it
        del self._answering[process.process_id]

    async def _watch(self, entry: Entry) -> None:
        outcome = "return"
        try:
            entry.transcript.finish("return", _checked(await entry.process.outcome()))
        except PieError as error:
            outcome = error.code
            entry.transcript.finish("error", "Signal" if entry.terminated else str(error)[:MAX_ERROR_CHARACTERS])
        except Exception:  # a defect of ours: whoever waits for the process must learn that it is over
            outcome = "server-failed"
            log.exception("process %s failed", entry.process.process_id)
            entry.transcript.finish("error", str(_server_failed()))
        entry.ended_s = self._clock()
        facts = {**_facts(entry), "outcome": outcome, "seconds": round(entry.ended_s - entry.started_s, 3)}
        log.info("process ended", extra={"facts": facts})
        self._ended[entry.process.process_id] = entry
        self._unread.append(entry)
        self._heard.add(entry.process.process_id, entry.transcript)
        self._forget_ended()

    def _forget_ended(self) -> None:
        """Drop those that ended long ago, and the oldest of too many."""
        oldest_s = self._clock() - ENDED_KEPT_S
        self._unread = [entry for entry in self._unread if entry.transcript.num_bytes]
        num_bytes = sum(entry.transcript.num_bytes for entry in self._unread)
        for process_id, entry in tuple(self._ended.items()):
            is_old = entry.ended_s is not None and entry.ended_s < oldest_s
            if not (is_old or len(self._ended) > MAX_ENDED or num_bytes > self._max_unread_bytes):
                return
            num_bytes -= entry.transcript.num_bytes
            entry.transcript.clear()
            self._heard.discard(process_id)
            del self._ended[process_id], self._entries[process_id]


def _facts(entry: Entry) -> dict[str, str]:
    launch = entry.launch
    return {"process": entry.process.process_id, "program": launch.identifier, "user": launch.owner}


def _checked(answer: str) -> str:
    """What a process returned, if it fits into a frame."""
    size = len(answer.encode("utf-8", "replace"))
    if size > MAX_TEXT_BYTES:
        raise ProcessError(
            "message-too-large",
            f"the program returned {size} bytes, more than {MAX_TEXT_BYTES}",
            remedy="Send it as a file, or in pieces, and return less.",
        )
    return answer


def _server_failed() -> ProcessError:
    return ProcessError(
        "server-failed",
        "the server met an error of its own in this process",
        remedy="Report it with the log of the server.",
    )
