"""Downloads from a server that the operator names: whole, or an error that tells why not."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.egress.local_server import LocalServer, serve

from pie.egress.download import download
from pie.errors import PieError


@pytest_asyncio.fixture
async def server() -> AsyncIterator[LocalServer]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with serve(listening) as local:
            yield local


async def test_a_file_comes_whole(server: LocalServer) -> None:
    assert await download(server.url("/echo"), max_bytes=10, timeout_s=20) == b""
    [(head, _)] = server.requests
    assert head.startswith("GET /echo HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("path", "code", "cause"),
    [
        ("/redirect", "http-failed", "the answer for /redirect is 302, which leads to http://169.254.169.254/"),
        ("/large", "http-too-large", "sends more than 100000 bytes"),
        ("/drip", "http-timeout", "does not answer in time"),
        ("/silent", "http-timeout", "does not answer in time"),
        ("/cut", "http-failed", ""),
        ("/garbage", "http-failed", ""),
        ("/headers", "http-failed", ""),
    ],
)
async def test_what_is_no_file_is_told(path: str, code: str, cause: str, server: LocalServer) -> None:
    with pytest.raises(PieError) as caught:
        await download(server.url(path), max_bytes=100_000, timeout_s=0.5 if code == "http-timeout" else 20)
    assert caught.value.code == code
    assert cause in caught.value.cause
    assert len(server.requests) == 1, "it is asked once, and nobody else is"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "https://127.0.0.1:1/", "http://no-such-host.invalid/"])
async def test_a_server_that_is_not_there_is_told(url: str) -> None:
    with pytest.raises(PieError) as caught:
        await download(url, max_bytes=10, timeout_s=20)
    assert caught.value.code == "http-failed"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://", "http://user@host/", "http://a\r\nb/", "gopher://a/"])
async def test_what_is_no_address_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(PieError) as caught:
        await download(url, max_bytes=10, timeout_s=20)
    assert caught.value.code == "bad-http-request"
