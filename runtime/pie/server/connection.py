"""One client's WebSocket: feeds frames to its session, does what the session asks for, and sends what is ready."""

from __future__ import annotations

import asyncio
import logging

from starlette.websockets import WebSocket, WebSocketDisconnect

from pie.errors import PieError, RequestError
from pie.server.commands import Commands
from pie.server.peer import Peer
from pie.server.service import Service
from pie.server.session import Close, Command, DeliverFile, Effect, Ignored, InstallProgram, LostFile, Send
from pie_client.messages import McpResponse, SignalProcess

__all__ = ["Connection", "close_reason"]

AUTHENTICATE_S = 60.0
MAX_PENDING = 256
"""Commands of one client that are carried out at a time; the next ones wait in its socket."""

POLICY_VIOLATION = 1008
MAX_REASON_BYTES = 123
log = logging.getLogger(__name__)


class Connection:
    """A session with its socket, from the handshake to the end."""

    def __init__(self, service: Service, websocket: WebSocket) -> None:
        """Prepare for an accepted WebSocket."""
        self._service = service
        self._websocket = websocket
        self._session = service.new_session()
        self._peer = Peer()
        self._pending = asyncio.Semaphore(MAX_PENDING)
        self._commands: Commands | None = None

    async def run(self) -> None:
        """Serve the client until it leaves or is sent away; then its processes are detached."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send())
                await self._receive(tasks)
                raise _Left
        except* (_Left, WebSocketDisconnect):
            pass
        finally:
            self._session.close()
            self._service.processes.detach(self._peer)
            self._peer.close()

    async def _receive(self, tasks: asyncio.TaskGroup) -> None:
        late = asyncio.get_running_loop().time() + AUTHENTICATE_S
        while True:
            await self._peer.outbox.room()
            try:
                async with asyncio.timeout_at(None if self._session.user is not None else late):
                    message = await self._websocket.receive()
            except TimeoutError:
                error = RequestError(
                    "not-authenticated", f"no user within {AUTHENTICATE_S:g} s", remedy="Authenticate at once."
                )
                await self._websocket.close(POLICY_VIOLATION, close_reason(error))
                return
            if message["type"] == "websocket.disconnect":
                return
            frame = message.get("bytes")
            for effect in self._session.receive(frame) if frame is not None else ():
                if not await self._perform(effect, tasks):
                    return

    async def _perform(self, effect: Effect, tasks: asyncio.TaskGroup) -> bool:
        """Do it; whether the connection goes on."""
        match effect:
            case Ignored(reason):
                log.info("a frame of %s was ignored: %s", self._session.user or "somebody", reason)
            case Close(code, error):
                await self._websocket.close(code, close_reason(error))
                return False
            case Send(message, after_s):
                await asyncio.sleep(after_s)
                self._peer.outbox.send(message)
            case McpResponse():
                self._peer.relay.answer(effect)
            case SignalProcess() | DeliverFile() | LostFile():
                response = self._commands_of_user().tell(effect)
                if response is not None:
                    self._peer.outbox.send(response)
            case _:
                await self._pending.acquire()
                tasks.create_task(self._answer(effect))
        return True

    async def _answer(self, command: Command | InstallProgram) -> None:
        try:
            response = await self._commands_of_user().answer(command)
            if response is not None:
                self._peer.outbox.send(response)
        finally:
            self._pending.release()

    def _commands_of_user(self) -> Commands:
        if self._commands is None:
            if self._session.user is None:
                raise RuntimeError("a command came out of a session without a user")
            self._commands = Commands(self._service, self._session.user, self._peer)
        return self._commands

    async def _send(self) -> None:
        while True:
            frame, was_sent = await self._peer.outbox.next()
            await self._websocket.send_bytes(frame)
            if was_sent is not None:
                was_sent()


class _Left(Exception):
    """The client has left: what is still done for it is given up."""


def close_reason(error: PieError) -> str:
    """Code and cause, cut to what a WebSocket may close with."""
    return f"{error.code}: {error.cause}".encode()[:MAX_REASON_BYTES].decode(errors="ignore")
