"""Thousands of frames that are almost messages, sent to a server that others use meanwhile."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest
from tests.server.mutations import mutated
from tests.server.running import TALKER, Install
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from pie.server.server import Server
from pie_client import Client, Refused
from pie_client.chunks import content_hash
from pie_client.messages import (
    AddProgram,
    AttachProcess,
    AuthIdentify,
    CheckProgram,
    ClientMessage,
    LaunchProcess,
    LaunchProcesses,
    ListProcesses,
    Ping,
    Query,
    RegisterMcpServer,
    RunProcesses,
    SignalProcess,
    TerminateProcess,
    TransferFile,
    encode,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")
PER_SESSION = 11
"""The tenth that is no message ends a session, so that some stay and some do not."""
INVALID_DATA = 1007


def messages_about(program: str, process_id: str) -> list[ClientMessage]:
    """One of each kind that can do something."""
    data = b"0123456789"
    return [
        Ping(corr_id=1),
        Query(corr_id=2, subject="model_status", record=""),
        ListProcesses(corr_id=3),
        CheckProgram(corr_id=4, name="talker", version="0.1.0", wasm_hash=None, manifest_hash=None),
        LaunchProcess(corr_id=5, inferlet=program, input='{"value": 1}', capture_outputs=True),
        LaunchProcesses(corr_id=6, inferlet=program, inputs=['{"say": ["a"]}', "{}"], capture_outputs=False),
        RunProcesses(corr_id=7, inferlet=program, inputs=['{"value": 1}']),
        AttachProcess(corr_id=8, process_id=process_id),
        TerminateProcess(corr_id=9, process_id=process_id),
        SignalProcess(process_id=process_id, message="text"),
        TransferFile(
            process_id=process_id, file_hash=content_hash(data), chunk_index=0, total_chunks=1, chunk_data=data
        ),
        RegisterMcpServer(corr_id=10, name="x", transport="stdio", command="y", args=["a"]),
        AddProgram(
            corr_id=11,
            program_hash=content_hash(data),
            manifest="[package]",
            force_overwrite=True,
            chunk_index=0,
            total_chunks=1,
            chunk_data=data,
        ),
    ]


@pytest.mark.parametrize("sessions", [40, pytest.param(400, marks=pytest.mark.slow)])
async def test_frames_that_are_almost_messages_disturb_nobody(server: Server, install: Install, sessions: int) -> None:
    draw, program, num_cut_off = random.Random(sessions), install("talker", TALKER), 0
    async with asyncio.timeout(240), Client(server.url) as honest:
        await honest.authenticate("honest")
        process = await honest.launch_process(program, {"hear": sessions})
        messages = messages_about(program, process.process_id)
        for number in range(sessions):
            async with connect(server.url) as websocket:
                await websocket.send(encode(AuthIdentify(corr_id=0, username="other")))
                with suppress(ConnectionClosed):  # by the tenth that is no message
                    for _ in range(PER_SESSION):
                        await websocket.send(mutated(messages, draw))
                    await websocket.send(encode(Ping(corr_id=99)))
                    while b"Pong" not in await websocket.recv(decode=False):
                        pass
            assert websocket.close_code in (1000, INVALID_DATA)
            num_cut_off += websocket.close_code == INVALID_DATA
            await process.signal(str(number))
            assert (await process.recv()).value == f"heard {number}"
        assert 0 < num_cut_off < sessions
        async with Client(server.url) as other:  # what its launches have left
            await other.authenticate("other")
            for left in await other.list_processes():
                with suppress(Refused):  # it has ended meanwhile
                    await other.terminate_process(left.id)
