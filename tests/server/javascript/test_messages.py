"""The messages of the JavaScript client are those of the one definition, in pie_client.messages."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import msgspec
import pytest
from tests.server.javascript.conftest import SDK, Node

from pie_client.messages import (
    AddProgram,
    File,
    LaunchProcesses,
    McpRequest,
    ProcessEvent,
    RegisterMcpServer,
    Response,
    decode_client_message,
    encode,
)

MESSAGES = (
    AddProgram(
        corr_id=2**32 - 1, program_hash="é", manifest="", force_overwrite=True, chunk_index=0, total_chunks=1,
        chunk_data=bytes(range(256)),
    ),
    LaunchProcesses(corr_id=1, inferlet="a", inputs=["{}"], capture_outputs=False, token_budgets=[2**53 - 1, None]),
    RegisterMcpServer(corr_id=1, name="a", transport="stdio", command="b", args=["c", ""]),
)  # fmt: skip
ANSWERS = (
    Response(corr_id=2**32 - 1, ok=False, result="é" * 40),
    ProcessEvent(process_id="p", event="stderr", value=""),
    File(process_id="p", file_hash="h", chunk_index=0, total_chunks=1, chunk_data=b""),
    McpRequest(corr_id=1, process_id="p", server_name="s", method="m", params="{}"),
)
FRAMES = "./node_modules/pie-client/dist/frames.js"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_messages", SDK / "generate_messages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_types_are_made_of_the_definition(generator: ModuleType) -> None:
    assert (SDK / "src" / "messages.ts").read_text() == generator.generate(), (
        "run: python sdk/client-javascript/generate_messages.py"
    )


async def test_frames_hold_what_the_definition_reads(javascript: Node) -> None:
    body = """
        const frame = (message) => {
          for (const [name, value] of Object.entries(message)) {
            if (name === 'chunk_data') message[name] = Uint8Array.from(value);
          }
          return Buffer.from(pie.encodeClientMessage(message)).toString('hex');
        };
        return given.messages.map(frame);
    """
    plain = [
        {key: list(value) if isinstance(value, bytes) else value for key, value in msgspec.to_builtins(one).items()}
        if not isinstance(one, AddProgram)
        else {**msgspec.structs.asdict(one), "type": "add_program", "chunk_data": list(one.chunk_data)}
        for one in MESSAGES
    ]
    frames = await javascript.run("", body, package=FRAMES, messages=plain)
    assert [decode_client_message(bytes.fromhex(frame)) for frame in frames] == list(MESSAGES)


async def test_frames_of_the_definition_are_read_and_broken_ones_are_not(javascript: Node) -> None:
    body = """
        return given.frames.map((hex) => {
          try {
            const { type, chunk_data: data, ...rest } = pie.decodeServerMessage(Buffer.from(hex, 'hex'));
            return { type, ...rest, ...(data ? { chunk_data: [...data] } : {}) };
          } catch (error) {
            return error instanceof pie.BadMessage ? 'bad' : String(error);
          }
        });
    """
    broken = [
        b"",
        b"\xc1",
        b"\x01",
        encode(ANSWERS[0])[:-1],
        msgspec.msgpack.encode({"type": "nothing"}),
        msgspec.msgpack.encode({"type": "toString"}),
        msgspec.msgpack.encode({"corr_id": 1, "ok": True, "result": ""}),
        msgspec.msgpack.encode({"type": "response", "corr_id": 1, "ok": True}),
        msgspec.msgpack.encode({"type": "response", "corr_id": 2**32, "ok": True, "result": ""}),
        msgspec.msgpack.encode({"type": "response", "corr_id": 1, "ok": 1, "result": ""}),
        msgspec.msgpack.encode({"type": "process_event", "process_id": "p", "event": "end", "value": ""}),
    ]
    frames = [frame.hex() for frame in [*[encode(answer) for answer in ANSWERS], *broken]]
    expected = [
        {"type": "response", "corr_id": 2**32 - 1, "ok": False, "result": "é" * 40},
        {"type": "process_event", "process_id": "p", "event": "stderr", "value": ""},
        {"type": "file", "process_id": "p", "file_hash": "h", "chunk_index": 0, "total_chunks": 1, "chunk_data": []},
        {"type": "mcp_request", "corr_id": 1, "process_id": "p", "server_name": "s", "method": "m", "params": "{}"},
    ]
    assert await javascript.run("", body, package=FRAMES, frames=frames) == [*expected, *["bad"] * len(broken)]
