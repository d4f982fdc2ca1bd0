"""All connections with MCP servers: opened by name, used from the event loop of programs, closed with their process.

The thread on which they live starts with the first connection.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import threading
from collections import defaultdict
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pie.config import McpServer
from pie.mcp.errors import McpFailure
from pie.mcp.servers import with_arguments

if TYPE_CHECKING:
    from pie.mcp.connection import Connection

__all__ = ["McpClients", "McpSession"]

T = TypeVar("T")
MAX_SESSIONS = 16


class McpSession:
    """An open connection, as the event loop of programs sees it."""

    def __init__(self, thread: _Thread, connection: Connection) -> None:
        """Made by `McpClients.connect`."""
        self._thread = thread
        self._connection = connection

    async def request(self, method: str, params: Mapping[str, Any] | None = None, *, arguments: str = "") -> str:
        """The result of a request, as JSON text (see `Connection.request`).

        Args:
            method: such as `tools/call`.
            params: what it takes.
            arguments: JSON of an object that is added to `params` as `arguments`; empty is none.

        Raises:
            McpFailure: `mcp-failed` or `mcp-timeout`.
            McpRefusal: the server answers with an error, or `arguments` is not an object.
        """
        return await self._thread.run(_request(self._connection, method, dict(params or {}), arguments))

    def close(self) -> None:
        """Close it soon."""
        self._thread.call(self._connection.end)


async def _request(connection: Connection, method: str, params: dict[str, Any], arguments: str) -> str:
    """Parse and ask, on the thread of the connection: the arguments may be long."""
    return await connection.request(method, with_arguments(params, arguments))


class McpClients:
    """The operator's servers by name, and the connections of all processes with them."""

    def __init__(self, servers: Sequence[McpServer]) -> None:
        """Offer `servers`; none of them is started yet."""
        self._servers = {server.name: server for server in servers}
        self._thread: _Thread | None = None
        self._connections: defaultdict[str, set[Connection]] = defaultdict(set)  # only used on the thread

    @property
    def names(self) -> list[str]:
        """Of the servers, in the operator's order."""
        return list(self._servers)

    async def connect(self, name: str, *, owner: str) -> McpSession:
        """Open a connection that is closed with its owner.

        Raises:
            McpFailure: `mcp-unknown-server`, `mcp-not-installed`, `mcp-too-many-sessions`, `mcp-failed`, `mcp-timeout`.
            McpRefusal: the server refuses.
        """
        server = self._servers.get(name)
        if server is None:
            known = ", ".join(self._servers) or "none"
            raise McpFailure(
                "mcp-unknown-server",
                f"no MCP server is called {name[:100]!r}; there is {known}",
                remedy="Use a name of available_servers(); who runs the server adds others with --mcp.",
            )
        if importlib.util.find_spec("mcp") is None:
            raise McpFailure(
                "mcp-not-installed",
                "the Python package mcp is not installed here",
                remedy="Install it, such as with `pip install 'pie[mcp]'`.",
            )
        if self._thread is None:
            self._thread = _Thread()
        return McpSession(self._thread, await self._thread.run(self._open(server, owner)))

    def close_owner(self, owner: str) -> None:
        """Close what a process has opened, and what it is opening."""
        if self._thread is not None:
            self._thread.call(self._end, owner)

    async def close(self) -> None:
        """Close all connections and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.run(self._end_all())
            await thread.close()

    async def _open(self, server: McpServer, owner: str) -> Connection:
        from pie.mcp.connection import Connection  # imports `mcp`, on this thread

        mine = self._connections[owner]
        if len(mine) >= MAX_SESSIONS:
            raise McpFailure(
                "mcp-too-many-sessions",
                f"this program has {len(mine)} MCP sessions, the most that may be",
                remedy="Close those that are no longer needed.",
            )
        connection = Connection(server, on_end=lambda: self._forget(owner, connection))
        mine.add(connection)
        await connection.open()
        return connection

    def _forget(self, owner: str, connection: Connection) -> None:
        self._connections[owner].discard(connection)
        if not self._connections[owner]:
            del self._connections[owner]

    def _end(self, owner: str) -> None:
        for connection in tuple(self._connections.get(owner, ())):
            connection.end()

    async def _end_all(self) -> None:
        connections = [connection for mine in self._connections.values() for connection in mine]
        for connection in connections:
            connection.end()
        await asyncio.gather(*[connection.ended() for connection in connections])


class _Thread:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        # Without a handler anywhere, logging prints the package's warnings, with tracebacks, to stderr.
        logging.getLogger("mcp").addHandler(logging.NullHandler())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mcp", daemon=True)
        self._thread.start()

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns there; cancelling this cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    def call(self, function: Any, *arguments: Any) -> None:
        """Call a function there soon."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    async def close(self) -> None:
        """End the loop and the thread."""
        await self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()
