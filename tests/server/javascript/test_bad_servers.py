"""The JavaScript client and servers that leave, lie or say nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.server.javascript.conftest import Node
from websockets.asyncio.server import ServerConnection, serve

from pie_client.chunks import content_hash
from pie_client.messages import ClientMessage, File, ProcessEvent, Response, decode_client_message, encode

PROCESS = "00000000-0000-4000-8000-000000000000"
Answer = Callable[[ServerConnection, ClientMessage], Awaitable[None]]


@asynccontextmanager
async def bad_server(answer: Answer) -> AsyncIterator[str]:
    """The address of a server that lets everybody in and answers launches with `answer`."""

    async def session(connection: ServerConnection) -> None:
        async for frame in connection:
            assert isinstance(frame, bytes)
            message = decode_client_message(frame)
            if message.__struct_config__.tag == "auth_identify":
                text = "Authenticated (Engine disabled authentication)"
                await connection.send(encode(Response(corr_id=1, ok=True, result=text)))
            else:
                await answer(connection, message)

    async with serve(session, "127.0.0.1", 0, compression=None) as server:
        host, port = next(iter(server.sockets)).getsockname()
        yield f"ws://{host}:{port}"


def launched(number: int = 2) -> bytes:
    return encode(Response(corr_id=number, ok=True, result=PROCESS))


def chunk(index: int, total: int, data: bytes, name: str) -> bytes:
    return encode(File(process_id=PROCESS, file_hash=name, chunk_index=index, total_chunks=total, chunk_data=data))


LAUNCH = """
    const client = await connected();
    const process = await client.launchProcess('x');
    const answers = [];
    for (;;) {
      const answer = await told(process.recv());
      answers.push(answer[0] === 'value' ? [answer[1].kind, answer[1].value.length] : answer.slice(0, 3));
      if (answer[0] !== 'value') break;
    }
    answers.push((await told(client.ping())).slice(0, 2));
    await client.close();
    return answers;
"""


async def test_a_server_that_goes_away_wakes_everybody(javascript: Node) -> None:
    async def answer(connection: ServerConnection, message: ClientMessage) -> None:
        await connection.send(launched())
        await asyncio.sleep(0.05)
        connection.transport.abort()

    async with bad_server(answer) as url:
        lost = ["ConnectionLost", "connection-lost"]
        assert await javascript.run(url, LAUNCH) == [[*lost, "the connection with the server has ended"], lost]


async def test_the_reason_that_a_server_gives_is_told(javascript: Node) -> None:
    async def answer(connection: ServerConnection, message: ClientMessage) -> None:
        await connection.send(launched())
        await connection.close(1012, "restarts")

    async with bad_server(answer) as url:
        (first, _) = await javascript.run(url, LAUNCH)
        assert first[2] == "the connection with the server has ended (1012 restarts)"


async def test_a_server_that_never_closes_its_side_does_not_hold_up_a_client(javascript: Node) -> None:
    stalled: list[ServerConnection] = []

    async def answer(connection: ServerConnection, message: ClientMessage) -> None:
        connection.transport.pause_reading()
        stalled.append(connection)

    body = """
        const client = await connected();
        const waiting = told(client.ping());
        await new Promise((resolve) => setTimeout(resolve, 50));
        await client.close();
        return await waiting;
    """
    async with bad_server(answer) as url:
        assert (await javascript.run(url, body))[:2] == ["ConnectionLost", "connection-lost"]
        (connection,) = stalled
        connection.transport.abort()


async def test_a_frame_that_is_too_large_ends_the_connection(javascript: Node) -> None:
    async def answer(connection: ServerConnection, message: ClientMessage) -> None:
        await connection.send(launched())
        await connection.send(bytes((4 << 20) + 1))

    async with bad_server(answer) as url:
        first, then = await javascript.run(url, LAUNCH)
        assert first == [*then, "the connection with the server has ended: the server sent a frame of 4194305 bytes"]


async def test_a_file_with_another_hash_ends_its_process_and_nothing_else(javascript: Node) -> None:
    async def answer(connection: ServerConnection, message: ClientMessage) -> None:
        if message.__struct_config__.tag == "ping":
            await connection.send(encode(Response(corr_id=3, ok=True, result="Pong")))
            return
        for frame in (
            launched(),
            chunk(0, 2, b"a", content_hash(b"ab")),
            chunk(0, 1, b"whole", content_hash(b"whole")),
            chunk(1, 2, b"b", content_hash(b"ab")),
            chunk(0, 1, b"other", content_hash(b"whole")),
        ):
            await connection.send(frame)

    async with bad_server(answer) as url:
        one, two, wrong, ping = await javascript.run(url, LAUNCH)
        assert [one, two] == [["file", 5], ["file", 2]]
        assert wrong[:2] == ["BadTransfer", "upload-hash-mismatch"]
        assert ping[0] == "value"


async def test_chunks_that_do_not_fit_together_end_their_process(javascript: Node) -> None:
    cases = {
        "upload-out-of-order": (chunk(1, 2, b"a", "h"),),
        "upload-count-mismatch": (chunk(0, 2, b"a", "h"), chunk(1, 3, b"a", "h")),
    }
    for code, frames in cases.items():

        async def answer(
            connection: ServerConnection, message: ClientMessage, frames: tuple[bytes, ...] = frames
        ) -> None:
            if message.__struct_config__.tag == "ping":
                await connection.close()
            else:
                for frame in (launched(), *frames):
                    await connection.send(frame)

        async with bad_server(answer) as url:
            assert (await javascript.run(url, LAUNCH))[0][:2] == ["BadTransfer", code]


async def test_nonsense_is_passed_over_and_early_events_are_kept(javascript: Node) -> None:
    event = encode(ProcessEvent(process_id=PROCESS, event="message", value="early"))
    last = encode(ProcessEvent(process_id=PROCESS, event="return", value="no json"))

    async def answer(connection: ServerConnection, message: ClientMessage) -> None:
        if message.__struct_config__.tag == "list_processes":
            await connection.send(encode(Response(corr_id=3, ok=True, result='"nothing"')))
            return
        for frame in (b"\xc1", "text", b"", launched(99), event, last, launched(), launched()):
            await connection.send(frame)

    body = """
        const client = await connected();
        const process = await client.launchProcess('x');
        const early = (await process.recv()).value;
        const answers = [early, await told(process.result()), await told(client.listProcesses())];
        await client.close();
        return answers;
    """
    async with bad_server(answer) as url:
        early, result, rows = await javascript.run(url, body)
    assert early == "early"
    assert [result[:2], rows[:2]] == [["ClientError", "bad-answer"]] * 2


async def test_a_challenge_that_is_no_base64_is_told(javascript: Node) -> None:
    async def session(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(encode(Response(corr_id=1, ok=True, result="%%%")))
        await connection.wait_closed()

    body = """
        const { generateKeyPairSync } = require('node:crypto');
        const pair = generateKeyPairSync('ed25519');
        const key = await PrivateKey.parse(pair.privateKey.export({ type: 'pkcs8', format: 'pem' }));
        const client = await Client.connect(url);
        const answer = await told(client.authenticate('me', key));
        await client.close();
        return answer;
    """
    async with serve(session, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        assert (await javascript.run(f"ws://127.0.0.1:{port}", body))[1] == "bad-challenge"


async def test_a_server_that_is_no_websocket_is_told(javascript: Node) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        told = await javascript.run(f"ws://127.0.0.1:{port}", "return await told(Client.connect(url));")
    assert told[:2] == ["ConnectionLost", "cannot-connect"]
