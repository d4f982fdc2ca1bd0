"""pie:mcp/client: the servers that the operator has configured, one connection per session."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from pie.host.interface import Interface
from pie.host.state import state_of
from pie.mcp.errors import McpFailure, McpRefusal
from pie.mcp.servers import McpConversation
from pie.wasm.guest import Guest
from pie.wasm.values import Err

__all__ = ["INTERFACE", "TYPES", "Session"]

T = TypeVar("T")
TYPES = Interface("pie:mcp/types")
INTERFACE = Interface("pie:mcp/client")
SERVER_ERROR = -32000
"""The number of errors that are not the server's own; their message begins with a code of ours."""


class Session:
    """A guest's handle of a connection; dropping it closes the connection."""

    def __init__(self, session: McpConversation) -> None:
        """Wrap an open connection."""
        self._session = session

    async def list_tools(self) -> str:
        """Result of tools/list."""
        return await _answer(self._session.request("tools/list"))

    async def call_tool(self, name: str, args: str) -> str:
        """Result of tools/call."""
        return await _answer(self._session.request("tools/call", {"name": name}, arguments=args))

    async def list_resources(self) -> str:
        """Result of resources/list."""
        return await _answer(self._session.request("resources/list"))

    async def read_resource(self, uri: str) -> str:
        """Result of resources/read."""
        return await _answer(self._session.request("resources/read", {"uri": uri}))

    async def list_prompts(self) -> str:
        """Result of prompts/list."""
        return await _answer(self._session.request("prompts/list"))

    async def get_prompt(self, name: str, args: str) -> str:
        """Result of prompts/get."""
        return await _answer(self._session.request("prompts/get", {"name": name}, arguments=args))

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


METHODS = ["list-tools", "call-tool", "list-resources", "read-resource", "list-prompts", "get-prompt"]
INTERFACE.resource("session", Session, METHODS)


@INTERFACE.function("available-servers")
def available_servers(guest: Guest) -> list[str]:
    """Names of the configured servers."""
    return list(state_of(guest).mcp.names)


@INTERFACE.function("connect")
async def connect(guest: Guest, server_name: str) -> Session:
    """Connect to a server by name; a server that is a process is started for this session."""
    state = state_of(guest)
    return Session(await _answer(state.mcp.connect(server_name, owner=state.process_id)))


async def _answer(pending: Awaitable[T]) -> T:
    """What comes, or the record that the contract has for errors."""
    try:
        return await pending
    except McpRefusal as error:
        raise Err({"code": error.number, "message": error.message, "data": error.data}) from None
    except McpFailure as error:
        raise Err({"code": SERVER_ERROR, "message": str(error), "data": None}) from None
