"""The client: one session with a server, from its opening to its end."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from pie_client.checking import bytes_of, json_of, text_of, texts_of
from pie_client.chunks import content_hash, split
from pie_client.connection import Connection, Request
from pie_client.errors import ClientError, ConnectionLost
from pie_client.keys import PrivateKey
from pie_client.logs import LogEvent, LogPage, LogQuery, read_logs
from pie_client.mcp import McpServers
from pie_client.messages import (
    AddProgram,
    AttachProcess,
    AuthByToken,
    AuthIdentify,
    AuthProve,
    CheckProgram,
    LaunchDaemon,
    LaunchProcess,
    LaunchProcesses,
    ListProcesses,
    Ping,
    Query,
    RegisterMcpServer,
    RunProcesses,
    SignalProcess,
    SubmitWorkflow,
    TerminateProcess,
    TransferFile,
)
from pie_client.process import Process, ProcessInfo

__all__ = ["DEFAULT_URL", "Client"]

DEFAULT_URL = "ws://127.0.0.1:8080"
NO_PROOF = "Authenticated (Engine disabled authentication)"


class Client:
    """A session with a server; leaving it ends the session, while processes run on.

    Any call raises `bad-argument` if it is given what the server could not read, and `Refused` if the server refuses.
    """

    def __init__(self, url: str = DEFAULT_URL) -> None:
        """Prepare a session; entering it connects.

        Raises on entering:
            ConnectionLost: `cannot-connect`.
        """
        self._url = url
        self._connected: Connection | None = None
        self._mcp = McpServers()

    async def __aenter__(self) -> Self:
        """Connect."""
        self._connected = await Connection.open(self._url)
        self._connected.serve_mcp(self._mcp.answer)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect, and end the MCP servers of this session."""
        try:
            await self._connection.close()
        finally:
            await self._mcp.close()

    async def authenticate(
        self, username: str = "local", *, key: PrivateKey | None = None, token: str | None = None
    ) -> None:
        """Tell who we are, before anything else.

        Args:
            username: not needed with a token.
            key: proves it; a server without authentication asks for none.
            token: instead of a key.

        Raises:
            Refused: the server does not know the user, the key or the token.
            ClientError: `key-needed`.
        """
        if token is not None:
            await self._ask(lambda number: AuthByToken(corr_id=number, token=token))
            return
        answer = await self._ask(lambda number: AuthIdentify(corr_id=number, username=username))
        if answer == NO_PROOF:
            return
        if key is None:
            raise ClientError("key-needed", f"the server asks for a proof that we are {username!r}")
        try:
            challenge = base64.b64decode(answer, validate=True)
        except binascii.Error:
            raise ClientError("bad-challenge", "the server's challenge is not base64") from None
        signature = base64.b64encode(key.sign(challenge)).decode()
        await self._ask(lambda number: AuthProve(corr_id=number, signature=signature))

    async def ping(self) -> None:
        """Return when the server has answered."""
        await self._ask(lambda number: Ping(corr_id=number))

    async def check_program(
        self, program: str, *, wasm: bytes | Path | None = None, manifest: str | Path | None = None
    ) -> bool:
        """Whether a program is installed.

        Args:
            program: `name@version`.
            wasm: its component; if given, the installed one must be the same.
            manifest: its `Pie.toml`; likewise.
        """
        name, _, version = text_of("program", program).partition("@")
        wasm_hash = None if wasm is None else content_hash(bytes_of("wasm", wasm))
        manifest_hash = None if manifest is None else content_hash(text_of("manifest", manifest).encode())
        answer = await self._ask(
            lambda number: CheckProgram(
                corr_id=number, name=name, version=version, wasm_hash=wasm_hash, manifest_hash=manifest_hash
            )
        )
        return answer == "true"

    async def install_program(self, wasm: bytes | Path, manifest: str | Path, *, replace: bool = False) -> None:
        """Upload a program; the server compiles it before it answers.

        Args:
            wasm: its component.
            manifest: its `Pie.toml`.
            replace: whether to put it in the place of one with the same name and version, which is kept otherwise.
        """
        await self._ask(*_parts(bytes_of("wasm", wasm), text_of("manifest", manifest), replace=replace))

    async def launch_process(
        self, program: str, input: Any = None, *, token_budget: int | None = None, detached: bool = False
    ) -> Process:
        """Start a program and listen to it.

        Args:
            program: `name@version`, or a name for its newest version.
            input: any JSON value; None is an empty object.
            token_budget: how many tokens it may have computed.
            detached: whether nobody listens at first; what it says is kept until somebody attaches.
        """
        process_id = await self._ask(
            lambda number: LaunchProcess(
                corr_id=number,
                inferlet=program,
                input=json_of(input),
                capture_outputs=True,
                token_budget=token_budget,
                detached=detached,
            )
        )
        return self._process(process_id)

    async def launch_processes(self, program: str, inputs: Sequence[Any], *, capture: bool = True) -> list[Process]:
        """Start a program once per input.

        Args:
            program: as above.
            inputs: one JSON value each.
            capture: whether to listen to them; nothing is kept of what others say before somebody attaches.
        """
        answer = await self._ask(
            lambda number: LaunchProcesses(
                corr_id=number, inferlet=program, inputs=[*map(json_of, inputs)], capture_outputs=capture
            )
        )
        return [self._process(process_id) for process_id in msgspec.json.decode(answer, type=list[str])]

    async def run_processes(self, program: str, inputs: Sequence[Any]) -> list[Any]:
        """Start a program once per input, and return what they return.

        Raises:
            Refused: with the error of the first that failed.
        """
        answer = await self._ask(
            lambda number: RunProcesses(corr_id=number, inferlet=program, inputs=[*map(json_of, inputs)])
        )
        return [json.loads(text) for text in msgspec.json.decode(answer, type=list[str])]

    async def launch_daemon(self, program: str, port: int, input: Any = None) -> None:
        """Start a program that answers HTTP requests at a port of the server."""
        await self._ask(lambda number: LaunchDaemon(corr_id=number, port=port, inferlet=program, input=json_of(input)))

    async def terminate_process(self, process_id: str) -> None:
        """End a process or a daemon of ours, whether or not we listen to it."""
        await self._ask(lambda number: TerminateProcess(corr_id=number, process_id=process_id))

    async def attach_process(self, process_id: str) -> Process:
        """Listen to a process of ours that nobody else listens to; what it has said meanwhile comes first.

        If this session has another `Process` of it that has not ended, each event comes to one of them.
        """
        text_of("process_id", process_id)
        with self._connection.inboxes.opening(process_id) as inbox:
            await self._ask(lambda number: AttachProcess(corr_id=number, process_id=process_id))
        return Process(self._connection, process_id, inbox)

    def logs(self, process_id: str, *, follow: bool = False) -> AsyncIterator[LogEvent]:
        """What a process of ours has said, from the oldest that is kept; whoever listens to it loses nothing.

        Args:
            process_id: whose; it may have ended.
            follow: whether to go on until it ends.
        """
        return read_logs(self._log_page, process_id, follow=follow)

    async def send_text(self, process_id: str, text: str) -> None:
        """Give a process of ours a text, whether or not we listen to it.

        Raises:
            Refused: it is not there, another user's or has ended, or too much waits for it.
        """
        await self._ask(lambda number: SignalProcess(corr_id=number, process_id=process_id, message=text))

    async def send_file(self, process_id: str, data: bytes) -> None:
        """Give a process of ours a file, whether or not we listen to it; raises as `send_text`."""
        await self._ask(*_file_parts(process_id, bytes_of("data", data)))

    async def submit_workflow(self, steps: Mapping[str, Any]) -> str:
        """Start a graph of programs, {name: {"program": ..., "input": ...}}; its id, under which it can be attached to.

        In an input, `${name.key}` is a result of another step. The workflow returns the results by name, sends a
        message when a step is done, and is terminated as a process is.
        """
        return await self._ask(lambda number: SubmitWorkflow(corr_id=number, json=json_of({"steps": dict(steps)})))

    async def list_processes(self, *, ended: bool = False) -> list[ProcessInfo]:
        """Our processes that have not ended; if `ended`, also those that have, the newest first, for ten minutes."""
        answer = await self._ask(lambda number: ListProcesses(corr_id=number, ended=ended or None))
        return msgspec.json.decode(answer, type=list[ProcessInfo])

    async def query(self, subject: str, record: str = "") -> Any:
        """Figures of the server; the subject `model_status` gives those of its model."""
        return json.loads(await self._ask(lambda number: Query(corr_id=number, subject=subject, record=record)))

    async def register_mcp_server(self, name: str, command: Sequence[str]) -> None:
        """Start an MCP server here, and let the processes of this session use it.

        Args:
            name: by which programs ask for it.
            command: starts it, speaking over its stdin and stdout; it ends with this session.

        Raises:
            ClientError: `mcp-failed` if it does not start or answer.
        """
        program, *arguments = texts_of("command", command)
        await self._mcp.start(text_of("name", name), [program, *arguments])
        await self._ask(
            lambda number: RegisterMcpServer(
                corr_id=number, name=name, transport="stdio", command=program, args=arguments
            )
        )

    @property
    def _connection(self) -> Connection:
        if self._connected is None:
            raise ConnectionLost("not-connected", "use the client as an async context manager")
        return self._connected

    async def _ask(self, *parts: Request) -> str:
        return await self._connection.request(*parts)

    async def _log_page(self, query: LogQuery) -> LogPage:
        record = msgspec.json.encode(query).decode()
        answer = await self._ask(lambda number: Query(corr_id=number, subject="transcript", record=record))
        return msgspec.json.decode(answer, type=LogPage)

    def _process(self, process_id: str) -> Process:
        return Process(self._connection, process_id, self._connection.inboxes.open(process_id))


def _parts(wasm: bytes, manifest: str, *, replace: bool) -> Iterator[Request]:
    program_hash = content_hash(wasm)
    for chunk in split(wasm):
        yield partial(
            _add_program,
            program_hash=program_hash,
            manifest=manifest,
            force_overwrite=replace,
            chunk_index=chunk.index,
            total_chunks=chunk.total,
            chunk_data=chunk.data,
        )


def _file_parts(process_id: str, data: bytes) -> Iterator[Request]:
    file_hash = content_hash(data)
    for chunk in split(data):
        yield partial(
            _transfer_file,
            process_id=process_id,
            file_hash=file_hash,
            chunk_index=chunk.index,
            total_chunks=chunk.total,
            chunk_data=chunk.data,
        )


def _transfer_file(number: int, **fields: Any) -> TransferFile:
    return TransferFile(corr_id=number, **fields)


def _add_program(number: int, **fields: Any) -> AddProgram:
    return AddProgram(corr_id=number, **fields)
