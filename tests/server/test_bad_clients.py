"""Clients that break rules, over real sockets: the server answers clearly and stays up for the others."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from tests.server.running import TALKER, Install
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pie.runtime import Runtime
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings
from pie_client import Client, Event
from pie_client.chunks import CHUNK_BYTES, content_hash
from pie_client.messages import (
    AddProgram,
    AuthIdentify,
    ClientMessage,
    LaunchProcess,
    Ping,
    ProcessEvent,
    Response,
    ServerMessage,
    decode_server_message,
    encode,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def session(server: Server) -> AsyncIterator[ClientConnection]:
    """A bare WebSocket whose client has come in."""
    async with connect(server.url) as websocket:
        await say(websocket, AuthIdentify(corr_id=0, username="me"))
        await hear(websocket)
        yield websocket


async def say(websocket: ClientConnection, message: ClientMessage) -> None:
    await websocket.send(encode(message))


async def hear(websocket: ClientConnection) -> ServerMessage:
    frame = await websocket.recv()
    assert isinstance(frame, bytes)
    return decode_server_message(frame)


async def closing(websocket: ClientConnection) -> tuple[int | None, str | None]:
    await websocket.wait_closed()
    return websocket.close_code, websocket.close_reason


async def raw(server: Server, request: str) -> str:
    """What the server answers to the text of an HTTP request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(request.replace("\n", "\r\n").encode())
    answer = await asyncio.wait_for(reader.read(10_000), 10)
    writer.close()
    return answer.decode()


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


async def test_frames_that_are_no_messages_are_ignored_and_ten_of_them_end_the_session(server: Server) -> None:
    async with session(server) as websocket:
        await websocket.send("a text frame")
        for _ in range(9):
            await websocket.send(b"\xc1 nonsense")
        await say(websocket, Ping(corr_id=5))
        assert await hear(websocket) == Response(corr_id=5, ok=True, result="Pong")
        await websocket.send(msgspec.msgpack.encode({"type": "unknown", "corr_id": 6}))
        code, reason = await closing(websocket)
    assert code == 1007
    assert reason is not None
    assert reason.startswith("bad-message: ")


async def test_a_frame_that_is_too_long_ends_the_session(server: Server) -> None:
    async with session(server) as websocket:
        with suppress(ConnectionClosed):  # the server may hang up before it has taken all of it
            await websocket.send(bytes(5 << 20))
        assert (await closing(websocket))[0] == 1009


async def test_an_honest_client_next_door_notices_nothing(server: Server, install: Install) -> None:
    program = install("talker", TALKER)
    async with Client(server.url) as honest:
        await honest.authenticate("honest")
        process = await honest.launch_process(program, {"hear": 1})
        for number in range(20):
            async with session(server) as websocket:
                await websocket.send(bytes([number]) * 100)
        await process.signal("still there")
        assert await process.recv() == Event("message", "heard still there")


async def test_uploads_that_are_never_finished_are_given_up_with_their_session(server: Server) -> None:
    chunk = bytes(CHUNK_BYTES)
    for number in range(50):
        async with session(server) as websocket:
            message = AddProgram(
                corr_id=number,
                program_hash=content_hash(b""),
                manifest="",
                force_overwrite=False,
                chunk_index=0,
                total_chunks=4_000_000_000,
                chunk_data=chunk,
            )
            await say(websocket, message)
            await say(websocket, Ping(corr_id=1))
            await hear(websocket)
            assert server.service.upload_room.num_taken == CHUNK_BYTES


async def test_a_client_that_vanishes_leaves_its_process_running(
    server: Server, runtime: Runtime, install: Install
) -> None:
    program = install("talker", TALKER)
    async with connect(server.url) as websocket:
        await say(websocket, AuthIdentify(corr_id=0, username="me"))
        await hear(websocket)
        await say(websocket, LaunchProcess(corr_id=1, inferlet=program, input='{"hear": 1}', capture_outputs=True))
        launched = await hear(websocket)
        assert isinstance(launched, Response)
        websocket.transport.abort()
    async with Client(server.url) as client:
        await client.authenticate("me")
        async with asyncio.timeout(10):
            while server.service.num_sessions > 1:
                await asyncio.sleep(0.01)
        process = await client.attach_process(launched.result)
        await process.signal("back")
        assert await process.recv() == Event("message", "heard back")


@pytest.mark.parametrize("text", ["[", "{", "nonsense", "[" * 100_000])
async def test_an_input_that_is_no_json_is_refused(server: Server, install: Install, text: str) -> None:
    program = install("talker", TALKER)
    async with session(server) as websocket:
        await say(websocket, LaunchProcess(corr_id=1, inferlet=program, input=text, capture_outputs=True))
        answer = await hear(websocket)
    assert isinstance(answer, Response)
    assert not answer.ok
    assert answer.result.startswith("bad-input: ")


async def test_the_answer_to_a_launch_comes_before_the_events(server: Server, install: Install) -> None:
    program = install("talker", TALKER)
    async with session(server) as websocket:
        for number in range(1, 20):
            await say(
                websocket, LaunchProcess(corr_id=number, inferlet=program, input='{"value": 1}', capture_outputs=True)
            )
            first, second = await hear(websocket), await hear(websocket)
            assert isinstance(first, Response)
            assert second == ProcessEvent(process_id=first.result, event="return", value="1")


FLOOD = """
from inferlet import session


async def main(input):
    for number in range(input["count"]):
        session.send("x" * input["size"])
    return "done"
"""


async def test_a_client_that_does_not_read_holds_up_its_own_process_and_nothing_else(
    server: Server, install: Install
) -> None:
    flood, talker = install("flood", FLOOD), install("talker", TALKER)
    async with connect(server.url, max_queue=1) as silent:
        await say(silent, AuthIdentify(corr_id=0, username="me"))
        await hear(silent)
        given = json.dumps({"count": 100_000, "size": 10_000})
        await say(silent, LaunchProcess(corr_id=1, inferlet=flood, input=given, capture_outputs=True))
        launched = await hear(silent)
        assert isinstance(launched, Response)
        silent.transport.pause_reading()
        async with Client(server.url) as other:
            await other.authenticate("you")
            results = [await other.run_processes(talker, [{"value": number}]) for number in range(20)]
            assert results == [[number] for number in range(20)]
            entry = server.service.processes.find(launched.result, user="me")
            assert not entry.transcript.is_over
            assert entry.transcript.num_bytes < 1 << 20
            entry.process.terminate()
        silent.transport.abort()


async def test_a_slow_client_gets_everything(server: Server, install: Install) -> None:
    async with Client(server.url) as client:
        await client.authenticate("me")
        process = await client.launch_process(install("flood", FLOOD), {"count": 500, "size": 10_000})
        events = [event async for event in process]
    assert len(events) == 501
    assert events[-1] == Event("return", '"done"')


async def test_probes_answer(server: Server) -> None:
    for path, body in (("healthz", "ok"), ("readyz", "ready")):
        answer = await raw(server, f"GET /{path} HTTP/1.1\nHost: localhost\nConnection: close\n\n")
        assert answer.startswith("HTTP/1.1 200 ")
        assert answer.endswith(f"{body}\n")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "[", "127.0.0.1.evil.example:80"])
async def test_a_host_that_is_not_this_server_is_refused(server: Server, host: str) -> None:
    answer = await raw(server, f"GET /healthz HTTP/1.1\nHost: {host}\nConnection: close\n\n")
    assert answer.startswith("HTTP/1.1 403 ")
    assert "host-not-allowed" in answer


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:80", "192.168.0.7"])
async def test_localhost_and_addresses_are_this_server(server: Server, host: str) -> None:
    answer = await raw(server, f"GET /healthz HTTP/1.1\nHost: {host}\nConnection: close\n\n")
    assert answer.startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://["])
async def test_a_page_of_another_site_cannot_open_a_session(server: Server, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(server.url, additional_headers={"Origin": origin}):
            pass
    assert refused.value.response.status_code == 403
    assert b"origin-not-allowed" in (refused.value.response.body or b"")


async def test_a_page_of_this_server_can_open_a_session(server: Server) -> None:
    origin = server.url.replace("ws://", "http://")
    async with connect(server.url, additional_headers={"Origin": origin}) as websocket:
        await say(websocket, AuthIdentify(corr_id=0, username="me"))
        await hear(websocket)


async def test_half_a_request_holds_nothing_up(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", port_of(server))) as half:
        half.send(b"GET / HTTP/1.1\r\nHost: loc")
        async with session(server) as websocket:
            await say(websocket, Ping(corr_id=1))
            assert await hear(websocket) == Response(corr_id=1, ok=True, result="Pong")


async def test_a_client_that_takes_nothing_for_long_is_cut_off_and_its_process_goes_on(
    runtime: Runtime, server_home: Path, install: Install
) -> None:
    flood = install("flood", FLOOD)
    settings = ServerSettings(port=0, authentication=False, silent_s=1)
    with listen(settings) as listening:
        async with serve(runtime, settings, listening, home=server_home) as server:
            async with connect(server.url, max_queue=1) as silent:
                await say(silent, AuthIdentify(corr_id=0, username="me"))
                await hear(silent)
                given = json.dumps({"count": 2000, "size": 10_000})
                await say(silent, LaunchProcess(corr_id=1, inferlet=flood, input=given, capture_outputs=True))
                launched = await hear(silent)
                assert isinstance(launched, Response)
                silent.transport.pause_reading()
                async with asyncio.timeout(60):
                    while server.service.num_sessions:
                        await asyncio.sleep(0.05)
                silent.transport.abort()
            async with Client(server.url) as again:
                await again.authenticate("me")
                process = await again.attach_process(launched.result)
                assert await process.result() == "done"
