"""The one definition of what client and server say to each other.

Each message is one binary WebSocket frame that holds one MessagePack map, whose key `type` names the message. Keys that
are not known are ignored, keys without a default must be there. Knows neither sockets nor what the messages do.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = [
    "AddProgram",
    "AttachProcess",
    "AttachWorkflow",
    "AuthByToken",
    "AuthIdentify",
    "AuthProve",
    "BadMessage",
    "CancelWorkflow",
    "CheckProgram",
    "ClientMessage",
    "DetachWorkflow",
    "EventKind",
    "File",
    "LaunchDaemon",
    "LaunchProcess",
    "LaunchProcesses",
    "ListProcesses",
    "McpRequest",
    "McpResponse",
    "Ping",
    "ProcessEvent",
    "Query",
    "RegisterMcpServer",
    "Response",
    "RunProcesses",
    "ServerMessage",
    "SignalProcess",
    "SubmitWorkflow",
    "TerminateProcess",
    "TransferFile",
    "decode_client_message",
    "decode_server_message",
    "encode",
]

U32 = Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]
U64 = Annotated[int, msgspec.Meta(title="u64")]  # of what does not fit, the server says so in its answer
EventKind = Literal["stdout", "stderr", "message", "return", "error"]


class _Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Frozen, and written without the keys that have their default."""


class _Request(_Message, frozen=True, kw_only=True):
    """What is answered once, by a `Response` with the same `corr_id`."""

    corr_id: U32


class AuthIdentify(_Request, frozen=True, tag="auth_identify"):
    """Who the client is; answered with a challenge, or at once by a server that asks for no proof."""

    username: str


class AuthProve(_Request, frozen=True, tag="auth_prove"):
    """The challenge, signed; `signature` is base64."""

    signature: str


class AuthByToken(_Request, frozen=True, tag="auth_by_token"):
    """A token instead of a name and a key."""

    token: str


class Ping(_Request, frozen=True, tag="ping"):
    """Asks whether the server is there."""


class CheckProgram(_Request, frozen=True, tag="check_program"):
    """Asks whether a program is installed; the hashes are of its bytes and of the text of its manifest."""

    name: str
    version: str
    wasm_hash: str | None = None
    manifest_hash: str | None = None


class Query(_Request, frozen=True, tag="query"):
    """Asks for figures of the server."""

    subject: str
    record: str


class AddProgram(_Request, frozen=True, tag="add_program"):
    """One chunk of a program; the last one is answered, or the first that is wrong."""

    program_hash: str
    manifest: str
    force_overwrite: bool
    chunk_index: U32
    total_chunks: U32
    chunk_data: bytes


class LaunchProcess(_Request, frozen=True, tag="launch_process"):
    """Starts a program; `input` is JSON text. If `detached`, what it says is kept until somebody attaches to it."""

    inferlet: str
    input: str
    capture_outputs: bool
    token_budget: U64 | None = None
    detached: bool | None = None


class LaunchProcesses(_Request, frozen=True, tag="launch_processes"):
    """Starts a program once per input."""

    inferlet: str
    inputs: list[str]
    capture_outputs: bool
    token_budgets: list[U64 | None] | None = None


class RunProcesses(_Request, frozen=True, tag="run_processes"):
    """Starts a program once per input; answered with what they return."""

    inferlet: str
    inputs: list[str]
    token_budgets: list[U64 | None] | None = None


class LaunchDaemon(_Request, frozen=True, tag="launch_daemon"):
    """Starts a program that answers HTTP requests at a port."""

    port: U32
    inferlet: str
    input: str


class AttachProcess(_Request, frozen=True, tag="attach_process"):
    """Asks for the events of a process that nobody is attached to."""

    process_id: str


class TerminateProcess(_Request, frozen=True, tag="terminate_process"):
    """Ends a process."""

    process_id: str


class SignalProcess(_Message, frozen=True, tag="signal_process"):
    """A text for a process; with a `corr_id` it is answered, and need not be from the client that listens."""

    process_id: str
    message: str
    corr_id: U32 | None = None


class TransferFile(_Message, frozen=True, tag="transfer_file"):
    """One chunk of a file for a process; with a `corr_id` the file is answered, as a text is."""

    process_id: str
    file_hash: str
    chunk_index: U32
    total_chunks: U32
    chunk_data: bytes
    corr_id: U32 | None = None


class ListProcesses(_Request, frozen=True, tag="list_processes"):
    """Asks for the user's processes; if `ended`, also for those that have ended and are remembered."""

    ended: bool | None = None


class RegisterMcpServer(_Request, frozen=True, tag="register_mcp_server"):
    """Tells of an MCP server on the client's side."""

    name: str
    transport: str
    command: str | None = None
    args: list[str] | None = None
    url: str | None = None


class McpResponse(_Message, frozen=True, tag="mcp_response"):
    """What an MCP server answered; `corr_id` is that of the `McpRequest`."""

    corr_id: U32
    ok: bool
    result: str


class SubmitWorkflow(_Request, frozen=True, tag="submit_workflow"):
    """Starts a workflow."""

    json: str


class CancelWorkflow(_Request, frozen=True, tag="cancel_workflow"):
    """Ends a workflow."""

    workflow_id: str


class AttachWorkflow(_Request, frozen=True, tag="attach_workflow"):
    """Asks for the events of a workflow."""

    workflow_id: str


class DetachWorkflow(_Request, frozen=True, tag="detach_workflow"):
    """Asks for no more events of a workflow."""

    workflow_id: str


ClientMessage = (
    AuthIdentify
    | AuthProve
    | AuthByToken
    | Ping
    | CheckProgram
    | Query
    | AddProgram
    | LaunchProcess
    | LaunchProcesses
    | RunProcesses
    | LaunchDaemon
    | AttachProcess
    | TerminateProcess
    | SignalProcess
    | TransferFile
    | ListProcesses
    | RegisterMcpServer
    | McpResponse
    | SubmitWorkflow
    | CancelWorkflow
    | AttachWorkflow
    | DetachWorkflow
)


class Response(_Message, frozen=True, tag="response"):
    """The answer to a request; `result` is JSON text where it has a structure."""

    corr_id: U32
    ok: bool
    result: str


class ProcessEvent(_Message, frozen=True, tag="process_event"):
    """Something a process said, or how it ended: `return` and `error` come once and are its last."""

    process_id: str
    event: EventKind
    value: str


class File(_Message, frozen=True, tag="file"):
    """One chunk of a file from a process."""

    process_id: str
    file_hash: str
    chunk_index: U32
    total_chunks: U32
    chunk_data: bytes


class McpRequest(_Message, frozen=True, tag="mcp_request"):
    """Asks an MCP server on the client's side; `params` is JSON text."""

    corr_id: U32
    process_id: str
    server_name: str
    method: str
    params: str


ServerMessage = Response | ProcessEvent | File | McpRequest

_ENCODER = msgspec.msgpack.Encoder()
_CLIENT = msgspec.msgpack.Decoder(ClientMessage)
_SERVER = msgspec.msgpack.Decoder(ServerMessage)


class BadMessage(ValueError):
    """A frame that is no message."""


def encode(message: ClientMessage | ServerMessage) -> bytes:
    """The frame of a message."""
    return _ENCODER.encode(message)


def decode_client_message(frame: bytes) -> ClientMessage:
    """The message in a frame that a client sent.

    Raises:
        BadMessage: it is not MessagePack, of no known type, lacks a key, or has a value of another type.
    """
    try:
        message: ClientMessage = _CLIENT.decode(frame)
    except (ValueError, RecursionError) as error:  # ValueError: msgspec's errors, and text that is not UTF-8
        raise BadMessage(str(error)) from None
    return message


def decode_server_message(frame: bytes) -> ServerMessage:
    """The message in a frame that a server sent.

    Raises:
        BadMessage: as above.
    """
    try:
        message: ServerMessage = _SERVER.decode(frame)
    except (ValueError, RecursionError) as error:
        raise BadMessage(str(error)) from None
    return message
