"""One running program: its guest, its grants, its budgets and how it ended.

A process knows neither clients nor HTTP; whoever launches it listens to its mailbox.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pie.config import ProcessLimits
from pie.errors import PieError, ProcessError
from pie.host.mailbox import Event
from pie.host.state import HostState
from pie.process.inbox import Inbox
from pie.process.programs import LoadedProgram
from pie.wasm.guest import Guest
from pie.wasm.limits import Limits
from pie.wasm.values import Err
from pie.wasm.wasi import WasiEnvironment
from pie.wasm.wasi.http import HttpExchange

__all__ = ["Process", "ProgramFailed"]

SCRATCH = "/scratch"
FRAME = re.compile(r'File "([^"]+)", line (\d+)')
JAVASCRIPT_FRAME = re.compile(r"^    at (?:.* )?\((?P<file>[^()]+):(?P<line>\d+):\d+\)$", re.MULTILINE)
OWN_CODE = re.compile(
    r"(?:(?:inferlet\.(?:Error|mcp\.McpError)|InferletError|McpError): )?"
    r"(?P<code>[a-z][a-z0-9]*(?:-[a-z0-9]+)*): (?P<cause>.+)"
)
DEBUG_REMEDY = "Run with --debug to see the program's traceback."
MEMORY_REMEDY = "Let the program hold less at a time, or give it more memory."


class ProgramFailed(ProcessError):
    """The program raised; `traceback` is its own, with the author's files and lines."""

    def __init__(self, traceback: str) -> None:
        """Reduce what a guest told to one line and keep the whole.

        An error of the SDK or the host keeps its own code; whatever else the program raised is `program-failed`.
        """
        last = _last_line(traceback)
        own = OWN_CODE.fullmatch(last)
        place = _place(traceback)
        if last.startswith("MemoryError"):
            super().__init__("memory-limit", f"the program ran out of memory{place}", remedy=MEMORY_REMEDY)
        elif own is not None:
            super().__init__(own["code"], f"{own['cause'].removesuffix('.')}{place}")
        else:
            super().__init__("program-failed", f"{last}{place}", remedy=DEBUG_REMEDY)
        self.traceback = traceback


class Process:
    """A program that has been launched. Await `outcome()` for its value; `terminate()` ends it early."""

    def __init__(self, program: LoadedProgram, state: HostState, *, limits: ProcessLimits) -> None:
        """Prepare a process; `start` runs it."""
        self.program = program
        self.state = state
        self._limits = limits
        self._task: asyncio.Task[str] | None = None
        self._reason: PieError | None = None

    @property
    def process_id(self) -> str:
        """Unique in this runtime."""
        return self.state.process_id

    def start(self, given: str | HttpExchange | Inbox, *, on_end: Callable[[], None]) -> None:
        """Begin to run the program.

        Args:
            given: its input as JSON text; or a request, for a program that answers HTTP; or many, one after another.
            on_end: called when it is over, however it ended.
        """
        self._task = asyncio.get_running_loop().create_task(self._run(given), name=self.process_id)
        self._task.add_done_callback(_retrieve)
        self._task.add_done_callback(lambda _task: on_end())

    async def outcome(self) -> str:
        """The JSON text that the program returned.

        Raises:
            ProgramFailed: the program raised.
            ProcessError: `terminated`, or it met a limit or trapped.
            PieError: the reason that `terminate` was given.
        """
        if self._task is None:
            raise ProcessError("not-started", f"process {self.process_id} was not started")
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if not self._task.cancelled():
                raise
            reason = self._reason or ProcessError("terminated", f"process {self.process_id} was terminated")
            raise reason from None

    def terminate(self, reason: PieError | None = None) -> None:
        """End the process now; what it holds is given back. Idempotent.

        Args:
            reason: what `outcome` raises; None is `terminated`.
        """
        if self._task is not None:
            self._reason = self._reason or reason
            self._task.cancel()

    async def _run(self, given: str | HttpExchange | Inbox) -> str:
        try:
            await self.state.enter()
            answer = await self._call(given)
        except BaseException:
            self.state.children.end()
            raise
        finally:
            self.state.close()
        self.program.keep_code(self.state.source)
        return answer

    async def _call(self, given: str | HttpExchange | Inbox) -> str:
        with ExitStack() as scratch:
            guest = await self._instantiate(lambda: _make_folder(scratch))
            try:
                if isinstance(given, str):
                    return await self._run_main(guest, given)
                return await (self._stay(guest, given) if isinstance(given, Inbox) else self._handle(guest, given))
            finally:
                guest.close()

    async def _run_main(self, guest: Guest, input_json: str) -> str:
        if not self.program.export:
            raise ProcessError(
                "no-main",
                f"{self.program.name} only answers HTTP requests",
                remedy="Serve it with `pie serve`, as docs/serving.md tells.",
            )
        answer = await guest.call((self.program.export, "run"), input_json)
        if isinstance(answer, Err):
            raise ProgramFailed(str(answer.payload))
        return str(answer.payload)

    async def _handle(self, guest: Guest, exchange: HttpExchange) -> str:
        if not self.program.handler:
            raise ProcessError(
                "no-handler",
                f"{self.program.name} does not answer HTTP requests",
                remedy="Give it a function `handle(request)`, or launch it instead.",
            )
        await guest.call((self.program.handler, "handle"), exchange.request, exchange.outparam)
        return "null"

    async def _stay(self, guest: Guest, inbox: Inbox) -> str:
        """Answer one request after another until the process is terminated or one of them ends the guest."""
        while True:
            async with inbox.next() as exchange:
                guest.meter.renew()  # each request has the limits of a process
                await self._handle(guest, exchange)

    async def _instantiate(self, scratch: Callable[[], Path]) -> Guest:
        mailbox = self.state.mailbox
        limits = self._limits
        return await self.program.component.instantiate(
            data=self.state,
            wasi=WasiEnvironment(
                stdout=lambda data: mailbox.say(Event("stdout", data)) if data else None,
                stderr=lambda data: mailbox.say(Event("stderr", data)) if data else None,
                env={"HOME": SCRATCH, "TMPDIR": SCRATCH},
                scratch=scratch,
                scratch_quota_bytes=limits.scratch_bytes,
            ),
            limits=Limits(
                memory_bytes=limits.memory_bytes,
                cpu_s=limits.cpu_s,
                spin_s=limits.spin_s,
                host_calls=limits.host_calls,
                handles=limits.handles,
            ),
        )


def _make_folder(cleanup: ExitStack) -> Path:
    """A new folder that goes with `cleanup`; most programs never ask for one.

    Raises:
        ProcessError: `io-error`.
    """
    try:
        return Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="pie-scratch-")))
    except OSError as error:
        raise ProcessError(
            "io-error",
            f"no folder can be made for {SCRATCH}: {error.strerror}",
            remedy="Make room on the disk of the server's temporary folder (TMPDIR).",
        ) from error


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # whoever awaits outcome() gets it; a process nobody awaits must not warn


def _last_line(traceback: str) -> str:
    """What was raised: the last line that is not indented (carets and quoted source are)."""
    lines = [line.rstrip() for line in traceback.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if not line.startswith((" ", "\t"))), "no message")


def _place(traceback: str) -> str:
    """` (main.py:12)`, the innermost line of the author's own code; nothing if no frame of it is known."""
    places = [(file, line) for file, line in FRAME.findall(traceback) if not file.startswith(("inferlet/", "/"))]
    if places:
        return f" ({places[-1][0]}:{places[-1][1]})"
    # JavaScript's frames come after the message, the innermost first; what led to it stands before.
    match = JAVASCRIPT_FRAME.search(traceback, traceback.rfind(_last_line(traceback)))
    return f" ({match['file']}:{match['line']})" if match else ""
