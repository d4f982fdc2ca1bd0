"""Pages of other origins that the operator has let in: their scripts may ask, and read what they are answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpcore2
import pytest
import pytest_asyncio

from pie.runtime import Runtime
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = "https://App.example/"
"""As an operator may write it; browsers send it in small letters and without the slash."""
ORIGIN = "https://app.example"


@pytest_asyncio.fixture(loop_scope="session")
async def server(runtime: Runtime, tmp_path: Path) -> AsyncIterator[Server]:
    settings = ServerSettings(port=0, authentication=False, allowed_origins=(PAGE,), grace_s=0)
    with listen(settings) as listening:
        async with serve(runtime, settings, listening, home=tmp_path) as server:
            yield server


async def ask(server: Server, method: str, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    """The status, and the headers by name."""
    async with httpcore2.AsyncConnectionPool() as pool:
        response = await pool.request(
            method, f"http{server.url.removeprefix('ws')}/healthz", headers=list(headers.items())
        )
        return response.status, {name.decode(): value.decode() for name, value in response.headers}


async def test_a_page_that_was_let_in_may_read_its_answer(server: Server) -> None:
    status, headers = await ask(server, "GET", {"origin": ORIGIN})
    assert status == 200
    assert headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in headers


async def test_a_browser_that_asks_first_is_told_that_it_may_send_a_token(server: Server) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    status, headers = await ask(server, "OPTIONS", {"origin": ORIGIN, **asked})
    assert status == 200
    assert headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in headers["access-control-allow-methods"]
    assert "authorization" in headers["access-control-allow-headers"]


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.evil", "http://app.example", "null"])
async def test_no_other_page_is_answered(server: Server, origin: str) -> None:
    status, headers = await ask(server, "GET", {"origin": origin})
    assert status == 403
    assert "access-control-allow-origin" not in headers


async def test_clients_that_are_no_browsers_are_told_nothing(server: Server) -> None:
    status, headers = await ask(server, "GET", {})
    assert status == 200
    assert "access-control-allow-origin" not in headers
