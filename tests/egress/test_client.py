"""Requests over real connections to a server on loopback that the test opens by name."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.egress.local_server import LocalServer, serve

from pie.egress.client import HttpClient
from pie.egress.connection import resolve
from pie.egress.hosts import AllowedHost, AllowedHosts
from pie.egress.request import Response, read_request
from pie.errors import PieError


@pytest_asyncio.fixture
async def server() -> AsyncIterator[LocalServer]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with serve(listening) as local:
            yield local


def client(server: LocalServer, *others: str) -> HttpClient:
    return HttpClient(AllowedHosts([AllowedHost(host, server.port) for host in ("127.0.0.1", *others)]))


async def get(client: HttpClient, url: str, *, timeout_s: float = 20) -> Response:
    return await client.send(read_request("GET", url, [], timeout_s=timeout_s))


async def test_a_request_arrives_as_it_was_asked_and_its_answer_comes_back(server: LocalServer) -> None:
    request = read_request("POST", server.url("/echo?q=1"), [("X-Key", "k")], body=b"\x00data")
    response = await client(server).send(request)
    assert (response.status, response.body) == (200, b"\x00data")
    assert [pair for pair in response.headers if pair[0] == "x-two"] == [("x-two", "a"), ("x-two", "b")]
    head, body = server.requests[0]
    assert head.startswith("POST /echo?q=1 HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{server.port}\r\n" in head
    assert "X-Key: k\r\n" in head
    assert body == b"\x00data"


async def test_a_redirect_is_an_answer_and_is_not_followed(server: LocalServer) -> None:
    response = await get(client(server), server.url("/redirect"))
    assert response.status == 302
    assert ("location", "http://169.254.169.254/") in response.headers


async def test_a_name_that_leads_to_loopback_needs_the_address_to_be_open_as_well(server: LocalServer) -> None:
    only_name = HttpClient(AllowedHosts([AllowedHost("localhost", server.port)]))
    with pytest.raises(PieError, match="not of the public internet") as refused:
        await get(only_name, server.url("/echo", host="localhost"))
    assert refused.value.code == "http-not-allowed"
    assert server.requests == []
    response = await get(client(server, "localhost"), server.url("/echo", host="localhost"))
    assert response.status == 200
    assert f"Host: localhost:{server.port}\r\n" in server.requests[0][0]


async def test_a_name_with_a_public_and_a_private_address_leads_to_the_public_one_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = ["127.0.0.1", "93.184.215.14", "::1", "10.0.0.1"]

    async def two_answers(*_words: object, **_options: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", (address, 80)) for address in answers]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two_answers)
    allowed = AllowedHosts([AllowedHost("rebinding.example")])
    assert [str(address) for address in await resolve(allowed, "rebinding.example", 80)] == ["93.184.215.14"]
    answers.remove("93.184.215.14")
    with pytest.raises(PieError, match="http-not-allowed"):
        await resolve(allowed, "rebinding.example", 80)


@pytest.mark.parametrize(
    ("path", "code", "timeout_s"),
    [
        ("/large", "http-too-large", 20),
        ("/drip", "http-timeout", 0.3),
        ("/silent", "http-timeout", 0.3),
        ("/cut", "http-failed", 20),
        ("/garbage", "http-failed", 20),
        ("/headers", "http-failed", 20),
        ("/nothing", "http-failed", 20),
    ],
)
async def test_a_server_that_misbehaves_is_an_error_with_a_code(
    server: LocalServer, path: str, code: str, timeout_s: float
) -> None:
    with pytest.raises(PieError) as failed:
        await get(client(server), server.url(path), timeout_s=timeout_s)
    assert failed.value.code == code


async def test_nobody_at_a_port_and_a_name_without_address_are_failures() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        nobody = HttpClient(AllowedHosts([AllowedHost("127.0.0.1", port), AllowedHost("no-such-host.invalid")]))
        for url in (f"http://127.0.0.1:{port}/", "http://no-such-host.invalid/"):
            with pytest.raises(PieError) as failed:
                await get(nobody, url)
            assert failed.value.code == "http-failed"


async def test_plain_http_is_no_answer_to_https(server: LocalServer) -> None:
    with pytest.raises(PieError) as failed:
        await get(client(server), server.url("/echo").replace("http:", "https:"))
    assert failed.value.code == "http-failed"


async def test_more_requests_than_connections_wait_their_turn(server: LocalServer) -> None:
    one = client(server)
    responses = await asyncio.gather(*[get(one, server.url("/echo")) for _ in range(50)])
    assert [response.status for response in responses] == [200] * 50


async def test_a_cancelled_request_closes_its_connection(server: LocalServer) -> None:
    sending = asyncio.create_task(get(client(server), server.url("/silent")))
    while not server.requests:
        await asyncio.sleep(0.005)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_a_tls_handshake_that_never_ends_is_given_up_and_its_connection_closed() -> None:
    open_connections = set[asyncio.StreamWriter]()
    closed = asyncio.Event()
    closed.set()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_connections.add(writer)
        closed.clear()
        while await reader.read(4096):
            pass
        writer.close()
        open_connections.discard(writer)
        closed.set()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        patient = HttpClient(AllowedHosts([AllowedHost("127.0.0.1", port)]))
        with pytest.raises(PieError) as failed:
            await get(patient, f"https://127.0.0.1:{port}/", timeout_s=1)
        assert failed.value.code == "http-timeout"
        await asyncio.sleep(0.1)  # a machine under load may have got no further than to the connection
        await asyncio.wait_for(closed.wait(), 20)
        assert not open_connections
