"""The server on its port, from listening to the last connection's end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path

from pie.errors import ProcessError, UsageError
from pie.process.store import ProgramStore
from pie.runtime import Runtime
from pie.server.app import make_app
from pie.server.auth import Doorkeeper, KeyDoorkeeper, OpenDoorkeeper, new_token
from pie.server.daemons import Daemons
from pie.server.listening import CLOSING_S, answering, authority_of, is_loopback, listen_at
from pie.server.processes import ProcessTable
from pie.server.programs import InstalledPrograms
from pie.server.service import Service
from pie.server.settings import ServerSettings
from pie.server.tasks.routes import make_tasks_app
from pie.server.tasks.tasks import Tasks
from pie.server.users import Users, UsersFile

__all__ = ["Server", "listen", "serve"]

log = logging.getLogger(__name__)


@contextmanager
def listen(settings: ServerSettings) -> Iterator[socket.socket]:
    """Take the port.

    Raises:
        UsageError: `port-in-use`, `cannot-listen`, or `authentication-needed` for an address that others reach.
    """
    if not settings.authentication and not is_loopback(settings.host):
        raise UsageError(
            "authentication-needed",
            f"others can reach {settings.host}, and authentication is off",
            remedy="Leave out --no-auth, or listen at 127.0.0.1.",
        )
    with listen_at(settings.host, settings.port, silent_s=settings.silent_s) as listening:
        yield listening


class Server:
    """A server that answers.

    Attributes:
        service: its parts.
        tasks: chats that are kept.
        url: where clients connect.
        token_file: holds the internal token; None if nobody needs one.
    """

    def __init__(self, service: Service, tasks: Tasks, url: str, token_file: Path | None) -> None:
        """Made by `serve`."""
        self.url = url
        self.token_file = token_file
        self.service = service
        self.tasks = tasks

    async def drain(self) -> None:
        """Take nothing new, and wait until all processes have ended; after the grace period they are ended."""
        service = self.service
        service.is_draining = True
        await service.daemons.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(service.settings.grace_s):
                await service.retire()
                await service.processes.idle()
        await service.close()
        service.processes.terminate_all(
            ProcessError("shutting-down", "the server stopped", remedy="Launch it again when the server is back.")
        )
        await service.processes.idle()
        await self.tasks.settle()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_S):
                await service.processes.all_heard()


@asynccontextmanager
async def serve(
    runtime: Runtime,
    settings: ServerSettings,
    listening: socket.socket,
    *,
    home: Path,
    tasks_listening: socket.socket | None = None,
) -> AsyncIterator[Server]:
    """Answer at a socket until the block is left; then connections are closed.

    Args:
        runtime: runs the processes.
        settings: what the operator chose.
        listening: see `listen`.
        home: where programs, users, tasks and the token lie.
        tasks_listening: a second socket, where tasks alone are answered.

    Raises:
        UsageError: the file of users cannot be used.
    """
    token = new_token()
    doorkeeper = _doorkeeper(settings, home, token)
    programs = InstalledPrograms(runtime, await asyncio.to_thread(ProgramStore, home / "programs"))
    processes = ProcessTable(runtime)
    daemons = Daemons(processes, settings)
    port = listening.getsockname()[1]
    url = f"ws://{authority_of(settings.host)}:{port}"
    service = Service(runtime, programs, processes, daemons, doorkeeper, settings, url)
    tasks = Tasks(service, settings.tasks, home)
    with _token_file(home / f"server-{port}.token", token) if settings.authentication else nullcontext() as token_file:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(daemons.close)
            stack.push_async_callback(service.close)
            await stack.enter_async_context(answering(make_app(service, tasks), listening))
            if tasks_listening is not None:
                await stack.enter_async_context(answering(make_tasks_app(tasks), tasks_listening))
            stack.push_async_callback(tasks.close)
            await tasks.start()
            yield Server(service, tasks, url, token_file)


def _doorkeeper(settings: ServerSettings, home: Path, token: str) -> Doorkeeper:
    if not settings.authentication:
        return OpenDoorkeeper()
    file = UsersFile(settings.users_file or home / "authorized_users.toml")
    file.users()  # what is wrong with it should be told now

    def users() -> Users:
        try:
            return file.users()
        except UsageError as error:
            log.error("nobody but the internal token is let in: %s", error)
            return {}

    return KeyDoorkeeper(users, token)


@contextmanager
def _token_file(path: Path, token: str) -> Iterator[Path]:
    """A file that only we can read, for as long as the server runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
        file.write(token + "\n")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
