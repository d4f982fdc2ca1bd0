"""One connection with a server: frames out, frames in, and each answer to the request that waits for it."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from pie_client.checking import MAX_FRAME_BYTES, frame_of
from pie_client.errors import ClientError, ConnectionLost, Refused
from pie_client.inbox import Inboxes
from pie_client.messages import (
    BadMessage,
    ClientMessage,
    File,
    McpRequest,
    McpResponse,
    ProcessEvent,
    Response,
    ServerMessage,
    decode_server_message,
)

__all__ = ["Connection", "Request"]

SERVER_ERROR = -32000
Request = Callable[[int], ClientMessage]
"""Makes a request with the number that its answer will have."""
log = logging.getLogger(__name__)


class Connection:
    """Sends messages and hands out what comes.

    Attributes:
        inboxes: what has come of each process.
    """

    def __init__(self, websocket: ClientConnection) -> None:
        """Take over an open WebSocket; see `open`."""
        self.inboxes = Inboxes()
        self._websocket = websocket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._relay: Callable[[McpRequest], Awaitable[McpResponse]] | None = None
        self._relaying: set[asyncio.Task[None]] = set()
        self._end: ConnectionLost | None = None
        self._listening = asyncio.get_running_loop().create_task(self._listen(), name="pie_client")

    @classmethod
    async def open(cls, url: str) -> Connection:
        """Connect.

        Raises:
            ConnectionLost: `cannot-connect`.
        """
        try:
            return cls(await connect(url, max_size=MAX_FRAME_BYTES, compression=None))
        except (OSError, WebSocketException, ValueError) as error:
            raise ConnectionLost("cannot-connect", f"{url}: {_line(error)}") from None

    async def close(self) -> None:
        """End the connection; whatever waits for it fails."""
        await self._websocket.close()
        await asyncio.wait([self._listening])

    def serve_mcp(self, relay: Callable[[McpRequest], Awaitable[McpResponse]]) -> None:
        """Let `relay` answer the server's requests to MCP servers."""
        self._relay = relay

    async def send(self, message: ClientMessage) -> None:
        """Send a message that is not answered.

        Raises:
            ClientError: `bad-argument`.
            ConnectionLost: `connection-lost`.
        """
        frame = frame_of(message)
        try:
            await self._websocket.send(frame)
        except ConnectionClosed as error:
            raise self._end or _lost(error) from None

    async def request(self, make: Request, *more: Request) -> str:
        """Send a request, in one message or several with the same number, and return what it is answered.

        Raises:
            ClientError: `bad-argument`.
            Refused: the server answers with an error.
            ConnectionLost: `connection-lost`.
        """
        if self._end is not None:
            raise self._end
        number = next(self._numbers)
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            for part in (make, *more):
                if not answer.done():  # an upload that is refused goes no further
                    await self.send(part(number))
            response = await answer
        finally:
            self._waiting.pop(number, None)
        if not response.ok:
            raise Refused(response.result)
        return response.result

    async def _listen(self) -> None:
        try:
            async for frame in self._websocket:
                if isinstance(frame, bytes):
                    self._take(frame)
            self._fail(_lost(None))
        except ConnectionClosed as error:
            self._fail(_lost(error))
        finally:
            for task in self._relaying:
                task.cancel()

    def _take(self, frame: bytes) -> None:
        try:
            message: ServerMessage = decode_server_message(frame)
        except BadMessage as error:
            log.warning("the server sent what is no message: %s", error)
            return
        match message:
            case Response(corr_id=number):
                answer = self._waiting.get(number)
                if answer is not None and not answer.done():
                    answer.set_result(message)
            case ProcessEvent() | File():
                self.inboxes.put(message)
            case McpRequest():
                task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(self._answer(message))
                self._relaying.add(task)
                task.add_done_callback(self._relaying.discard)

    async def _answer(self, request: McpRequest) -> None:
        if self._relay is None:
            return  # the server asks only those that registered one
        try:
            await self.send(_that_fits(await self._relay(request)))
        except ConnectionLost:
            return  # whoever asked has left

    def _fail(self, error: ConnectionLost) -> None:
        self._end = error
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)
        self.inboxes.end(error)


def _that_fits(answer: McpResponse) -> McpResponse:
    """An answer, or that it is too long for a message: whoever asked must learn it."""
    try:
        frame_of(answer)
    except ClientError as error:
        fields = json.dumps({"code": SERVER_ERROR, "message": str(error)})
        return McpResponse(corr_id=answer.corr_id, ok=False, result=fields)
    return answer


def _lost(error: ConnectionClosed | None) -> ConnectionLost:
    close = None if error is None else error.rcvd
    why = f" ({close.code} {close.reason})".replace(" )", ")") if close is not None else ""
    return ConnectionLost("connection-lost", f"the connection with the server has ended{why}")


def _line(error: BaseException) -> str:
    """What an error says, in one line without a full stop."""
    return " ".join(str(error).split()).rstrip(". ") or type(error).__name__
