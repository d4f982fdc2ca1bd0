"""MCP servers on the client's side: children that speak JSON-RPC over their stdin and stdout, line by line.

What the server asks of them is passed on as it is, and so is the answer.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pie_client.errors import ClientError
from pie_client.messages import McpRequest, McpResponse

__all__ = ["McpServers"]

PROTOCOL_VERSION = "2024-11-05"
CLIENT_INFO = {"name": "pie_client", "version": "0.1.0"}
MAX_LINE_BYTES = 8 << 20
START_S = 60.0
STOP_S = 1.0
SERVER_ERROR = -32000
Json = dict[str, Any]


class McpServers:
    """The servers of one session by name."""

    def __init__(self) -> None:
        """Start with none."""
        self._servers: dict[str, _Server] = {}

    async def start(self, name: str, command: Sequence[str]) -> None:
        """Start one and shake hands with it.

        Raises:
            ClientError: `mcp-failed`, or `mcp-name-taken`.
        """
        if name in self._servers:
            raise ClientError("mcp-name-taken", f"this session has an MCP server called {name!r} already")
        try:
            server = await _Server.start(command)
        except OSError as error:
            raise ClientError("mcp-failed", f"the MCP server {name!r} cannot be started: {error.strerror}") from None
        try:
            async with asyncio.timeout(START_S):
                await server.shake_hands()
        except BaseException as error:
            await server.stop()
            if isinstance(error, (TimeoutError, _RpcError)):
                why = str(error) or f"it took more than {START_S:g} s"
                cause = f"the MCP server {name!r} did not answer the handshake: {why}"
                raise ClientError("mcp-failed", cause) from None
            raise
        self._servers[name] = server

    async def answer(self, request: McpRequest) -> McpResponse:
        """What a server answers to a request of the host."""
        try:
            result = await self._request(request)
        except _RpcError as error:
            return McpResponse(corr_id=request.corr_id, ok=False, result=json.dumps(error.fields))
        return McpResponse(corr_id=request.corr_id, ok=True, result=json.dumps(result))

    async def close(self) -> None:
        """End all of them."""
        servers, self._servers = self._servers, {}
        for server in servers.values():
            await server.stop()

    async def _request(self, request: McpRequest) -> Any:
        server = self._servers.get(request.server_name)
        if server is None:
            raise _RpcError({"code": SERVER_ERROR, "message": f"no MCP server {request.server_name!r} in this session"})
        try:
            params = json.loads(request.params)
        except ValueError as error:
            raise _RpcError({"code": -32602, "message": f"the parameters are not JSON: {error}"}) from None
        return await server.request(request.method, params)


class _RpcError(Exception):
    """An error as JSON-RPC has it."""

    def __init__(self, fields: Json) -> None:
        super().__init__(fields.get("message", "no message"))
        self.fields = fields


class _Server:
    """One child and the requests that wait for it."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.get_running_loop().create_task(self._read(), name="mcp server")

    @classmethod
    async def start(cls, command: Sequence[str]) -> _Server:
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=MAX_LINE_BYTES)
        return cls(child)

    async def shake_hands(self) -> None:
        about = {"protocolVersion": PROTOCOL_VERSION, "capabilities": {}, "clientInfo": CLIENT_INFO}
        await self.request("initialize", about)
        await self._write({"method": "notifications/initialized", "params": {}})

    async def request(self, method: str, params: Any) -> Any:
        """The result; raises _RpcError."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            if self._reading.done():
                raise _gone()
            await self._write({"id": number, "method": method, "params": params})
            return await answer
        finally:
            del self._waiting[number]

    async def stop(self) -> None:
        """Close its stdin, which asks it to leave; kill it if it stays."""
        if self._child.stdin is not None:
            self._child.stdin.close()
        try:
            async with asyncio.timeout(STOP_S):
                await self._reading
                await self._child.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._child.kill()
            await self._child.wait()
        await asyncio.wait([self._reading])

    async def _write(self, message: Json) -> None:
        if self._child.stdin is None:
            raise RuntimeError("the child was started without a pipe to its stdin")
        try:
            self._child.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            await self._child.stdin.drain()
        except OSError:
            raise _gone() from None

    async def _read(self) -> None:
        try:
            async for line in _lines(self._child):
                self._take(line)
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(_gone())

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return  # some servers print to stdout what is meant for people
        number = message.get("id") if isinstance(message, dict) else None
        answer = self._waiting.get(number) if isinstance(number, int) else None
        if answer is None or answer.done():
            return
        if "error" in message:
            fields = message["error"]
            answer.set_exception(_RpcError(fields if isinstance(fields, dict) else {"message": str(fields)}))
        else:
            answer.set_result(message.get("result"))


async def _lines(child: asyncio.subprocess.Process) -> Any:
    if child.stdout is None:
        raise RuntimeError("the child was started without a pipe from its stdout")
    while True:
        try:
            line = await child.stdout.readline()
        except ValueError:  # longer than the limit: what follows cannot be understood either
            return
        if not line:
            return
        yield line


def _gone() -> _RpcError:
    return _RpcError({"code": SERVER_ERROR, "message": "the MCP server has ended"})
