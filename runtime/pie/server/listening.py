"""A port, and an application that answers at it."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from pie.errors import UsageError

__all__ = ["CLOSING_S", "answering", "authority_of", "is_loopback", "listen_at"]

MAX_FRAME_BYTES = 4 << 20
CLOSING_S = 5
BACKLOG = 1024
MAX_PORT = 65535


@contextmanager
def listen_at(host: str, port: int, *, silent_s: float = 60.0) -> Iterator[socket.socket]:
    """Take a port.

    Args:
        host: the address.
        port: 0 takes a free one.
        silent_s: who takes nothing of what is sent for so long is cut off by the kernel.

    Raises:
        UsageError: `port-in-use`, `cannot-listen`.
    """
    if not 0 <= port <= MAX_PORT:  # the system would take it modulo 65536
        raise UsageError("cannot-listen", f"there is no port {port}", remedy=f"Choose one up to {MAX_PORT}.")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
        # Accepted sockets inherit both. Events are small, and Nagle's algorithm would hold each back for 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(silent_s * 1000))
    except OSError as error:
        raise _cannot_listen(host, port, error) from None
    with listening:
        yield listening


@asynccontextmanager
async def answering(app: ASGIApp, listening: socket.socket) -> AsyncIterator[None]:
    """Let an application answer until the block is left. Signals are left alone: they are the command's."""
    server = uvicorn.Server(_configuration(app))
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


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def authority_of(host: str) -> str:
    """An address as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def _configuration(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
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


def _cannot_listen(host: str, port: int, error: OSError) -> UsageError:
    where = f"{authority_of(host)}:{port}"
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            "port-in-use", f"something listens at {where} already", remedy="Stop it, or choose another port."
        )
    return UsageError("cannot-listen", f"{where}: {error.strerror}", remedy="Choose another address or port.")
