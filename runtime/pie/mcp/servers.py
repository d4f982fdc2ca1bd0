"""What programs need of MCP servers, whoever has them: the operator, or the client of a session."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pie.mcp.errors import McpRefusal

__all__ = ["McpConversation", "McpServers", "with_arguments"]

INVALID_PARAMS = -32602


class McpConversation(Protocol):
    """An open connection with one server."""

    async def request(self, method: str, params: Mapping[str, Any] | None = None, *, arguments: str = "") -> str:
        """The result of a request, as JSON text.

        Args:
            method: such as `tools/call`.
            params: what it takes.
            arguments: JSON of an object that is added to `params` as `arguments`; empty is none.

        Raises:
            McpFailure: the server cannot be reached or understood.
            McpRefusal: the server answers with an error, or `arguments` is not JSON.
        """
        ...

    def close(self) -> None:
        """Close it soon."""
        ...


class McpServers(Protocol):
    """The servers that one process may use."""

    @property
    def names(self) -> Sequence[str]:
        """Of the servers."""
        ...

    async def connect(self, name: str, *, owner: str) -> McpConversation:
        """Open a connection that is closed with its owner, a process.

        Raises:
            McpFailure: there is no such server, or it cannot be reached.
            McpRefusal: the server refuses.
        """
        ...

    def close_owner(self, owner: str) -> None:
        """Close what a process has opened."""
        ...


def with_arguments(params: Mapping[str, Any] | None, arguments: str) -> dict[str, Any]:
    """The parameters with the arguments, if there are any.

    Raises:
        McpRefusal: the arguments are not JSON.
    """
    whole = dict(params or {})
    if arguments.strip():
        try:
            whole["arguments"] = json.loads(arguments)
        except (ValueError, RecursionError) as error:
            raise McpRefusal(INVALID_PARAMS, f"the arguments are not JSON: {error}") from None
    return whole
