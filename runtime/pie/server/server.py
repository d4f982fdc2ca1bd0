"""The server on its port, from listening to the last connection's end."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path

import uvicorn

from pie.errors import ProcessError, UsageError
from pie.process.store import ProgramStore
from pie.runtime import Runtime
from pie.server.app import make_app
from pie.server.auth import Doorkeeper, KeyDoorkeeper, OpenDoorkeeper, new_token
from pie.server.processes import ProcessTable
from pie.server.programs import InstalledPrograms
from pie.server.service import Service
from pie.server.settings import ServerSettings
from pie.server.users import Users, UsersFile

__all__ = ["Server", "listen", "serve"]

MAX_FRAME_BYTES = 4 << 20
CLOSING_S = 5
BACKLOG = 1024
SILENT_MS = 60_000
log = logging.getLogger(__name__)


@contextmanager
def listen(settings: ServerSettings) -> Iterator[socket.socket]:
    """Take the port.

    Raises:
        UsageError: `port-in-use`, `cannot-listen`, or `authentication-needed` for an address that others reach.
    """
    if not settings.authentication and not _is_loopback(settings.host):
        raise UsageError(
            "authentication-needed",
            f"others can reach {settings.host}, and authentication is off",
            remedy="Leave out --no-auth, or listen at 127.0.0.1.",
        )
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
        # A client that reads nothing for so long is cut off by the kernel; accepted sockets inherit it.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_MS)
    except OSError as error:
        raise _cannot_listen(settings, error) from None
    with listening:
        yield listening


class Server:
    """A server that answers.

    Attributes:
        service: its parts.
        url: where clients connect.
        token_file: holds the internal token; None if nobody needs one.
    """

    def __init__(self, service: Service, url: str, token_file: Path | None) -> None:
        """Made by `serve`."""
        self.url = url
        self.token_file = token_file
        self.service = service

    async def drain(self) -> None:
        """Take nothing new, and wait until all processes have ended; after the grace period they are ended."""
        service = self.service
        service.is_draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(service.settings.grace_s):
                await service.processes.idle()
        service.processes.terminate_all(
            ProcessError("shutting-down", "the server stopped", remedy="Launch it again when the server is back.")
        )
        await service.processes.idle()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_S):
                await service.processes.all_heard()


@asynccontextmanager
async def serve(
    runtime: Runtime, settings: ServerSettings, listening: socket.socket, *, home: Path
) -> AsyncIterator[Server]:
    """Answer at a socket until the block is left; then connections are closed.

    Args:
        runtime: runs the processes.
        settings: what the operator chose.
        listening: see `listen`.
        home: where programs, users and the token lie.

    Raises:
        UsageError: the file of users cannot be used.
    """
    token = new_token()
    doorkeeper = _doorkeeper(settings, home, token)
    programs = InstalledPrograms(runtime, await asyncio.to_thread(ProgramStore, home / "programs"))
    service = Service(runtime, programs, ProcessTable(runtime), doorkeeper, settings)
    port = listening.getsockname()[1]
    with _token_file(home / f"server-{port}.token", token) if settings.authentication else nullcontext() as token_file:
        async with _answering(uvicorn.Server(_configuration(service)), listening):
            yield Server(service, f"ws://{_authority(settings.host)}:{port}", token_file)


@asynccontextmanager
async def _answering(server: uvicorn.Server, listening: socket.socket) -> AsyncIterator[None]:
    """Run uvicorn without its signal handlers: signals are the command's."""
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listening])
    ticking = asyncio.get_running_loop().create_task(server.main_loop(), name="uvicorn")
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.wait([ticking])
        await server.shutdown(sockets=[listening])


def _configuration(service: Service) -> uvicorn.Config:
    return uvicorn.Config(
        make_app(service),
        http="h11",
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,  # nothing to gain on short messages, and no compression bombs
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=CLOSING_S,
    )


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


def _cannot_listen(settings: ServerSettings, error: OSError) -> UsageError:
    where = f"{_authority(settings.host)}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            "port-in-use", f"something listens at {where} already", remedy="Stop it, or choose another --port."
        )
    return UsageError("cannot-listen", f"{where}: {error.strerror}", remedy="Choose another --host or --port.")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _authority(host: str) -> str:
    return f"[{host}]" if ":" in host else host
