"""Programs at paths of the server's own port: who may ask, which version answers, what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpcore2
import pytest
import pytest_asyncio

from pie.config import Route
from pie.errors import ProcessError
from pie.process.process import Process
from pie.process.programs import LoadedProgram
from pie.process.store import ProgramStore
from pie.runtime import Client, Runtime
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings
from pie.server.users import token_hash
from pie.wasm.wasi.http import HttpExchange

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROUTES = (Route("/answers", "answering"), Route("/answers/none", "absent"), Route("/request", "answering@0.1.0"))
USERS = f'[users.wilma.tokens]\nci = "{token_hash("secret")}"\n'


@pytest_asyncio.fixture(loop_scope="session", params=[False, True], ids=["open", "closed"])
async def routed(
    request: pytest.FixtureRequest, runtime: Runtime, answering_wasm: Path, tmp_path: Path
) -> AsyncIterator[Server]:
    """A server with routes, without and with authentication."""
    users = tmp_path / "authorized_users.toml"
    users.write_text(USERS)
    users.chmod(0o600)
    store = ProgramStore(tmp_path / "programs")
    store.install(answering_wasm.read_bytes(), '[package]\nname = "answering"\nversion = "0.1.0"\n', replace=True)
    settings = ServerSettings(port=0, authentication=request.param, routes=ROUTES, grace_s=0)
    with listen(settings) as listening:
        async with serve(runtime, settings, listening, home=tmp_path) as server:
            yield server


async def ask(server: Server, path: str, token: str | None = "secret") -> httpcore2.Response:
    headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode("latin-1"))]
    async with httpcore2.AsyncConnectionPool() as pool:
        return await pool.request("POST", f"http{server.url.removeprefix('ws')}{path}", headers=headers, content=b"x")


async def test_a_program_answers_at_its_path_and_below(routed: Server) -> None:
    response = await ask(routed, "/answers/deep/er?a=%20")
    assert (response.status, response.content) == (200, b"\x00\x01")
    assert (await ask(routed, "/answers")).status == 200
    assert (await ask(routed, "/answersheet")).status == 404
    assert (await ask(routed, "/readyz", None)).status == 405  # the server itself, which wants GET


@pytest.mark.parametrize("token", [None, "wrong", "s\xe9cret"])
async def test_only_who_shows_a_token_is_answered_where_one_is_needed(routed: Server, token: str | None) -> None:
    response = await ask(routed, "/answers", token)
    if not routed.service.settings.authentication:
        assert response.status == 200
        return
    assert response.status == 401
    assert json.loads(response.content)["error"]["code"] == "token-needed"
    assert dict(response.headers)[b"www-authenticate"] == b"Bearer"


async def test_a_program_does_not_see_the_token_with_which_its_user_came(routed: Server) -> None:
    method, path, _, headers = json.loads((await ask(routed, "/request")).content)
    assert (method, path) == ("POST", "/request")
    assert ("authorization" in headers) == (not routed.service.settings.authentication)


async def test_a_process_belongs_to_the_user_of_the_token(routed: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    owners = []
    launch_for = routed.service.runtime.launch_for

    def watched(client: Client, program: LoadedProgram, given: HttpExchange, **options: Any) -> Process:
        owners.append(client.username)
        return launch_for(client, program, given, **options)

    monkeypatch.setattr(routed.service.runtime, "launch_for", watched)
    assert (await ask(routed, "/answers")).status == 200
    assert owners == ["wilma" if routed.service.settings.authentication else "local"]


async def test_a_program_that_is_not_installed_is_503(routed: Server) -> None:
    response = await ask(routed, "/answers/none/x")
    assert response.status == 503
    assert json.loads(response.content)["error"]["code"] == "program-not-found"


async def test_a_server_that_stops_begins_no_answers(routed: Server) -> None:
    routed.service.is_draining = True
    response = await ask(routed, "/answers")
    assert response.status == 503
    assert json.loads(response.content)["error"]["code"] == "shutting-down"


async def test_requests_count_as_processes_until_they_are_answered(
    runtime: Runtime, answering_wasm: Path, tmp_path: Path
) -> None:
    store = ProgramStore(tmp_path / "programs")
    store.install(answering_wasm.read_bytes(), '[package]\nname = "answering"\nversion = "0.1.0"\n', replace=True)
    settings = ServerSettings(
        port=0,
        authentication=False,
        routes=(Route("/endless", "answering"),),
        max_processes=2,
        max_processes_per_user=1,
    )
    with listen(settings) as listening:
        async with (
            serve(runtime, settings, listening, home=tmp_path) as server,
            httpcore2.AsyncConnectionPool() as pool,
            pool.stream("GET", f"http{server.url.removeprefix('ws')}/endless") as response,
        ):
            parts = aiter(response.aiter_stream())  # held, since the connection ends with it
            assert await anext(parts)
            processes = server.service.processes
            assert (processes.num_answering, processes.num_running) == (1, 1)
            refused = await ask(server, "/endless")
            assert (refused.status, dict(refused.headers)[b"retry-after"]) == (503, b"1")
            assert json.loads(refused.content)["error"]["code"] == "too-many-processes"
            with pytest.raises(ProcessError, match="1 processes run, and 2 more"):
                server.service.check_room("other", 2)
            await response.aclose()
            async with asyncio.timeout(10):
                while processes.num_answering:
                    await asyncio.sleep(0.01)
            assert runtime.num_processes == 0
