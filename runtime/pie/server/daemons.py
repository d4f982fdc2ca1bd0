"""Daemons: programs that clients let answer HTTP requests on ports of their own, until they or the server end them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

from pie.errors import ProcessError, RequestError
from pie.server.answering import Answering, Offered
from pie.server.guard import Guard
from pie.server.listening import answering, listen_at
from pie.server.processes import ProcessTable
from pie.server.settings import ServerSettings

__all__ = ["Daemon", "Daemons"]

MAX_DAEMONS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Daemon:
    """One program on its port.

    Attributes:
        owner: the user who launched it; its processes are this user's.
        program: name and version.
        port: where it answers.
        started_s: on the clock of `Daemons`.
        serving: closes the port.
    """

    owner: str
    program: str
    port: int
    started_s: float
    serving: AsyncExitStack


class Daemons:
    """All daemons of a server, by id."""

    def __init__(
        self, processes: ProcessTable, settings: ServerSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start empty; daemons answer at the server's address, by processes that count as others do."""
        self._processes = processes
        self._settings = settings
        self._clock = clock
        self._daemons: dict[str, Daemon] = {}

    def __len__(self) -> int:
        """Daemons now."""
        return len(self._daemons)

    async def launch(self, offered: Offered, identifier: str, *, owner: str, port: int) -> str:
        """Let a program answer at a port; 0 takes a free one.

        Returns:
            Its id.

        Raises:
            ProcessError: `no-handler`.
            RequestError: `too-many-daemons`.
            UsageError: `port-in-use`, `cannot-listen`.
        """
        if not offered.program.handler:
            raise ProcessError(
                "no-handler",
                f"{identifier} does not answer HTTP requests",
                remedy="Give it a function `handle(request)`, build it with `pie build`, and install the component.",
            )
        if len(self._daemons) >= MAX_DAEMONS:
            raise RequestError("too-many-daemons", f"{MAX_DAEMONS} daemons run already", remedy="End one of them.")

        async def find() -> Offered:
            return offered

        async with AsyncExitStack() as stack:
            listening = stack.enter_context(listen_at(self._settings.host, port))
            app = Answering(self._processes, self._settings, find, owner=lambda _scope: owner)
            stack.push_async_callback(app.close)
            await stack.enter_async_context(answering(Guard(app, self._settings), listening))
            daemon_id = str(uuid.uuid4())
            port = listening.getsockname()[1]
            self._daemons[daemon_id] = Daemon(owner, identifier, port, self._clock(), stack.pop_all())
        return daemon_id

    def running(self, user: str) -> Iterator[tuple[str, Daemon, float]]:
        """A user's daemons: id, daemon and seconds since the launch."""
        for daemon_id, daemon in self._daemons.items():
            if daemon.owner == user:
                yield daemon_id, daemon, self._clock() - daemon.started_s

    async def end(self, daemon_id: str, *, user: str) -> bool:
        """Close a daemon's port once its requests are answered; whether the user has such a daemon."""
        daemon = self._daemons.get(daemon_id)
        if daemon is None or daemon.owner != user:
            return False
        del self._daemons[daemon_id]
        await daemon.serving.aclose()
        return True

    async def close(self) -> None:
        """End all of them."""
        while self._daemons:
            _, daemon = self._daemons.popitem()
            await daemon.serving.aclose()
