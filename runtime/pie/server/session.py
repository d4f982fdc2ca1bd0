"""The protocol of one connection: frames come in, what must be done comes out. Does no I/O and knows no socket.

A session begins with nobody, may hold a challenge, and ends up with a user. Before that it takes no other message.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pie.errors import PieError, RequestError
from pie.server.auth import CHALLENGE_BYTES, Doorkeeper
from pie.server.uploads import Uploads
from pie_client.chunks import BadTransfer, Chunk
from pie_client.messages import (
    AddProgram,
    AttachProcess,
    AttachWorkflow,
    AuthByToken,
    AuthIdentify,
    AuthProve,
    BadMessage,
    CancelWorkflow,
    CheckProgram,
    DetachWorkflow,
    LaunchDaemon,
    LaunchProcess,
    LaunchProcesses,
    ListProcesses,
    McpResponse,
    Ping,
    Query,
    RegisterMcpServer,
    Response,
    RunProcesses,
    SignalProcess,
    SubmitWorkflow,
    TerminateProcess,
    TransferFile,
    decode_client_message,
)

__all__ = [
    "MAX_BAD_FRAMES",
    "Close",
    "Command",
    "DeliverFile",
    "Effect",
    "Ignored",
    "InstallProgram",
    "LostFile",
    "Send",
    "Session",
]

MAX_BAD_FRAMES = 10
MAX_USERNAME = 128
MAX_REASON = 200
CHALLENGE_S = 30.0
INVALID_DATA = 1007
"""The code with which a WebSocket closes after data that is not what it should be."""

Command = (
    CheckProgram
    | Query
    | LaunchProcess
    | LaunchProcesses
    | RunProcesses
    | LaunchDaemon
    | SubmitWorkflow
    | CancelWorkflow
    | AttachWorkflow
    | DetachWorkflow
    | AttachProcess
    | TerminateProcess
    | SignalProcess
    | ListProcesses
    | RegisterMcpServer
    | McpResponse
)
"""Messages that are to be carried out as they are."""


_Message = Command | Ping | AddProgram | TransferFile


@dataclass(frozen=True, slots=True)
class Send:
    """Send an answer, after some seconds during which nothing else is taken from this client."""

    message: Response
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection, with a code of WebSockets and why."""

    code: int
    error: PieError


@dataclass(frozen=True, slots=True)
class Ignored:
    """A frame was dropped; somebody may want to know."""

    reason: str


@dataclass(frozen=True, slots=True)
class InstallProgram:
    """Install a program that has been uploaded."""

    corr_id: int
    wasm: bytes
    manifest: str
    replace: bool


@dataclass(frozen=True, slots=True)
class DeliverFile:
    """Give a process a file that has been uploaded; whoever sent it is answered under `corr_id`, if it is a number."""

    process_id: str
    data: bytes
    corr_id: int | None = None


@dataclass(frozen=True, slots=True)
class LostFile:
    """A file for a process was given up; nothing else would tell the client."""

    process_id: str
    error: BadTransfer | RequestError
    corr_id: int | None = None


Effect = Send | Close | Ignored | InstallProgram | DeliverFile | LostFile | Command


@dataclass(frozen=True, slots=True)
class _Challenge:
    username: str
    data: bytes
    expires_s: float


class Session:
    """One client's side of the protocol.

    Attributes:
        user: who the client is; None before it has authenticated.
    """

    def __init__(
        self,
        doorkeeper: Doorkeeper,
        uploads: Uploads,
        *,
        clock: Callable[[], float],
        draw_bytes: Callable[[int], bytes] = secrets.token_bytes,
        draw_delay_s: Callable[[], float] = lambda: 1 + secrets.randbelow(2000) / 1000,
    ) -> None:
        """Begin with nobody.

        Args:
            doorkeeper: decides who comes in.
            uploads: this session's.
            clock: seconds, which only go up.
            draw_bytes: random bytes for challenges.
            draw_delay_s: how long a wrong token waits for its answer.
        """
        self.user: str | None = None
        self._doorkeeper = doorkeeper
        self._uploads = uploads
        self._clock = clock
        self._draw_bytes = draw_bytes
        self._draw_delay_s = draw_delay_s
        self._challenge: _Challenge | None = None
        self._num_bad_frames = 0

    def receive(self, frame: bytes) -> Sequence[Effect]:
        """Take a frame; what is to be done because of it, in order."""
        try:
            message = decode_client_message(frame)
        except BadMessage as error:
            return self._bad_frame(" ".join(str(error).split())[:MAX_REASON])  # a part of it is the client's own
        if isinstance(message, AuthIdentify | AuthProve | AuthByToken):
            return [self._authenticate(message)]
        if self.user is None:
            return self._bad_frame(f"{type(message).__name__} before authentication")
        return self._command(message)

    def close(self) -> None:
        """The client has left: its uploads are forgotten."""
        self._uploads.close()

    def _bad_frame(self, reason: str) -> Sequence[Effect]:
        self._num_bad_frames += 1
        if self._num_bad_frames < MAX_BAD_FRAMES:
            return [Ignored(reason)]
        error = RequestError(
            "bad-message",
            f"{MAX_BAD_FRAMES} frames could not be taken, the last one because of: {reason}",
            remedy="Authenticate first, and send what the protocol has.",
        )
        return [Ignored(reason), Close(INVALID_DATA, error)]

    def _authenticate(self, message: AuthIdentify | AuthProve | AuthByToken) -> Send:
        if self.user is not None:
            return _answer(message.corr_id, "Already authenticated", ok=not isinstance(message, AuthProve))
        if isinstance(message, AuthIdentify):
            return self._identify(message.corr_id, message.username)
        if isinstance(message, AuthProve):
            return self._prove(message.corr_id, message.signature)
        holder = self._doorkeeper.holder_of(message.token)
        if holder is None:
            return self._refuse_late(message.corr_id, "Invalid token")
        self.user = holder.user
        return _answer(message.corr_id, "Authenticated")

    def _identify(self, number: int, username: str) -> Send:
        self._challenge = None
        if not (0 < len(username) <= MAX_USERNAME and username.isprintable() and self._doorkeeper.knows(username)):
            return _refuse(number, f"User '{username[:MAX_USERNAME]}' is not authorized")
        if not self._doorkeeper.needs_proof():
            self.user = username
            return _answer(number, "Authenticated (Engine disabled authentication)")
        data = self._draw_bytes(CHALLENGE_BYTES)
        self._challenge = _Challenge(username, data, self._clock() + CHALLENGE_S)
        return _answer(number, base64.b64encode(data).decode())

    def _prove(self, number: int, signature: str) -> Send:
        challenge, self._challenge = self._challenge, None
        if challenge is None or self._clock() > challenge.expires_s:
            return _refuse(number, "No pending authentication")
        try:
            decoded = base64.b64decode(signature, validate=True)
        except (binascii.Error, ValueError) as error:  # ValueError: it is not ASCII
            return _refuse(number, f"Invalid signature encoding: {error}")
        if not self._doorkeeper.accepts(challenge.username, challenge.data, decoded):
            return self._refuse_late(number, "Signature verification failed")
        self.user = challenge.username
        return _answer(number, "Authenticated")

    def _refuse_late(self, number: int, result: str) -> Send:
        """A refusal that makes guessing slow."""
        return Send(Response(corr_id=number, ok=False, result=result), self._draw_delay_s())

    def _command(self, message: _Message) -> Sequence[Effect]:
        match message:
            case Ping(corr_id=number):
                return [_answer(number, "Pong")]
            case AddProgram():
                return self._add_program(message)
            case TransferFile():
                return self._transfer_file(message)
        return [message]

    def _add_program(self, message: AddProgram) -> Sequence[Effect]:
        chunk = Chunk(message.chunk_index, message.total_chunks, message.chunk_data)
        try:
            wasm = self._uploads.add(message.program_hash, message.program_hash, chunk, now_s=self._clock())
        except (BadTransfer, RequestError) as error:
            return [_refuse(message.corr_id, error.cause)]
        if wasm is None:
            return []
        return [InstallProgram(message.corr_id, wasm, message.manifest, message.force_overwrite)]

    def _transfer_file(self, message: TransferFile) -> Sequence[Effect]:
        chunk = Chunk(message.chunk_index, message.total_chunks, message.chunk_data)
        key = (message.process_id, message.file_hash)
        try:
            data = self._uploads.add(key, message.file_hash, chunk, now_s=self._clock())
        except (BadTransfer, RequestError) as error:
            return [LostFile(message.process_id, error, message.corr_id)]
        return [] if data is None else [DeliverFile(message.process_id, data, message.corr_id)]


def _answer(number: int, result: str, *, ok: bool = True) -> Send:
    return Send(Response(corr_id=number, ok=ok, result=result))


def _refuse(number: int, result: str) -> Send:
    return _answer(number, result, ok=False)
