"""MCP servers that live with a client: what a program asks of them goes through the client's session and back."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

from pie.mcp.errors import McpFailure, McpRefusal
from pie.mcp.servers import McpConversation, McpServers, with_arguments
from pie_client.messages import McpRequest, McpResponse

__all__ = ["Relay", "RelayedServers"]

ANSWER_S = 60.0
MAX_PARAMS_BYTES = 900_000
MAX_SERVERS = 64
SERVER_ERROR = -32000


class Relay:
    """The MCP servers of one connected client, and the requests that wait for their answers.

    Attributes:
        names: of the servers that the client has told of.
    """

    def __init__(self, send: Callable[[McpRequest], None]) -> None:
        """Send requests with `send`."""
        self.names: list[str] = []
        self._send = send
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[McpResponse]] = {}

    def register(self, name: str) -> None:
        """The client has a server of this name.

        Raises:
            McpFailure: `mcp-too-many-servers`.
        """
        if name in self.names:
            return
        if len(self.names) >= MAX_SERVERS:
            raise McpFailure(
                "mcp-too-many-servers",
                f"this session has {len(self.names)} MCP servers, the most that may be",
                remedy="Register fewer.",
            )
        self.names.append(name)

    async def request(self, process_id: str, name: str, method: str, params: str) -> McpResponse:
        """What the client answers to a request of a process.

        Raises:
            McpFailure: `mcp-failed` if the client leaves meanwhile, `mcp-timeout`.
        """
        number = next(self._numbers)
        answer: asyncio.Future[McpResponse] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        request = McpRequest(corr_id=number, process_id=process_id, server_name=name, method=method, params=params)
        self._send(request)
        try:
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except TimeoutError:
            raise McpFailure(
                "mcp-timeout",
                f"the client's MCP server {name!r} did not answer {method} within {ANSWER_S:g} s",
                remedy="Try again.",
            ) from None
        finally:
            del self._waiting[number]

    def answer(self, response: McpResponse) -> None:
        """The client has answered; an answer that nobody waits for is dropped."""
        answer = self._waiting.get(response.corr_id)
        if answer is not None and not answer.done():
            answer.set_result(response)

    def close(self) -> None:
        """The client has left."""
        self.names.clear()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(_gone("left before it answered"))


class RelayedServers:
    """The servers of one process: those of its client, and those of the operator."""

    def __init__(self, process_id: str, relay: Callable[[], Relay | None], operators: McpServers) -> None:
        """Ask `relay` each time who the client is; None if there is none."""
        self._process_id = process_id
        self._relay = relay
        self._operators = operators

    @property
    def names(self) -> list[str]:
        """The client's first; of two with one name, that of the client is used."""
        relay = self._relay()
        own = relay.names if relay is not None else []
        return [*own, *(name for name in self._operators.names if name not in own)]

    async def connect(self, name: str, *, owner: str) -> McpConversation:
        """A conversation with a server; see `McpServers`. The client has shaken hands with its own already."""
        relay = self._relay()
        if relay is not None and name in relay.names:
            return _RelayedConversation(self, name)
        return await self._operators.connect(name, owner=owner)

    def close_owner(self, owner: str) -> None:
        """Close what a process has opened with the operator's servers; with the client's nothing is open."""
        self._operators.close_owner(owner)

    async def request(self, name: str, method: str, params: Mapping[str, Any]) -> str:
        """The result of a request to the client's server; see `McpConversation`."""
        relay = self._relay()
        if relay is None or name not in relay.names:
            raise _gone("is not there any more")
        text = json.dumps(params)
        if len(text) > MAX_PARAMS_BYTES:
            raise McpFailure(
                "mcp-failed",
                f"the parameters of {method} have {len(text)} bytes, more than {MAX_PARAMS_BYTES}",
                remedy="Send less at a time.",
            )
        response = await relay.request(self._process_id, name, method, text)
        if not response.ok:
            raise _refusal(response.result)
        return response.result


class _RelayedConversation:
    """A program's conversation with a server of its client; it survives that the client leaves and comes back."""

    def __init__(self, servers: RelayedServers, name: str) -> None:
        self._servers = servers
        self._name = name
        self._is_closed = False

    async def request(self, method: str, params: Mapping[str, Any] | None = None, *, arguments: str = "") -> str:
        if self._is_closed:
            raise _gone("is not asked any more: the connection is closed")
        return await self._servers.request(self._name, method, with_arguments(params, arguments))

    def close(self) -> None:
        self._is_closed = True


def _refusal(text: str) -> McpRefusal:
    """The error that an MCP server answered with, or whatever else the client said."""
    try:
        fields = json.loads(text)
        data = fields.get("data")
        return McpRefusal(int(fields["code"]), str(fields["message"]), None if data is None else json.dumps(data))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return McpRefusal(SERVER_ERROR, text)


def _gone(what: str) -> McpFailure:
    return McpFailure(
        "mcp-failed", f"the client that has the MCP server {what}", remedy="Let the client stay until the program ends."
    )
