"""A server that asks who its clients are: keys of every kind and tokens, from both clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.server.keys import KEYS, public_text
from tests.server.running import TALKER, Upstream, pack

from pie.process.store import ProgramStore
from pie.runtime import Runtime
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings
from pie.server.users import token_hash
from pie_client import Client, ClientError, PrivateKey, Refused

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def server(runtime: Runtime, tmp_path: Path) -> AsyncIterator[Server]:
    keys = "\n".join(f'{name} = "{public_text(name)}"' for name in KEYS if name != "rsa")
    users = tmp_path / "authorized_users.toml"
    users.touch(0o600)
    users.write_text(
        f'[users.me.keys]\n{keys}\n[users.me.tokens]\nci = "{token_hash("secret")}"\n'
        f'[users.you.keys]\na = "{public_text("rsa")}"\n'
    )
    manifest = '[package]\nname = "talker"\nversion = "0.1.0"\n'
    ProgramStore(tmp_path / "programs").install(pack(tmp_path / "talker", TALKER), manifest, replace=True)
    settings = ServerSettings(port=0)
    with listen(settings) as listening:
        async with serve(runtime, settings, listening, home=tmp_path) as server:
            yield server


def owner(key: str) -> str:
    return "you" if key == "rsa" else "me"


@pytest.mark.parametrize("key", KEYS)
async def test_every_kind_of_key_comes_in(server: Server, key: str) -> None:
    async with Client(server.url) as client:
        await client.authenticate(owner(key), key=PrivateKey.parse(KEYS[key]))
        process = await client.launch_process("talker", {"value": 1})
        assert await process.result() == 1


@pytest.mark.parametrize("key", KEYS)
async def test_every_kind_of_key_comes_in_with_the_client_of_pie_0_4(
    server: Server, upstream: Upstream, key: str
) -> None:
    body = """
        await client.authenticate(given["user"], ParsedPrivateKey.parse(given["key"]))
        await client.ping()
        return "pong"
    """
    assert await upstream.run(server.url, body, user=owner(key), key=KEYS[key]) == "pong"


async def test_a_token_comes_in_with_both_clients(server: Server, upstream: Upstream) -> None:
    async with Client(server.url) as client:
        await client.authenticate(token="secret")
        await client.ping()
    body = "await client.auth_by_token(given['token']); await client.ping(); return 'pong'"
    assert await upstream.run(server.url, body, token="secret") == "pong"


async def test_the_token_in_the_servers_file_comes_in_and_the_file_is_the_owners_alone(server: Server) -> None:
    assert server.token_file is not None
    assert server.token_file.stat().st_mode & 0o777 == 0o600
    token = server.token_file.read_text().strip()
    assert len(token) == 64
    async with Client(server.url) as client:
        await client.authenticate(token=token)
        await client.ping()


async def test_who_is_not_known_or_has_no_key_or_the_wrong_one_stays_outside(server: Server) -> None:
    async with Client(server.url) as client:
        with pytest.raises(Refused, match="User 'nobody' is not authorized"):
            await client.authenticate("nobody")
        with pytest.raises(ClientError) as refused:
            await client.authenticate("me")
        assert refused.value.code == "key-needed"
        before = asyncio.get_running_loop().time()
        with pytest.raises(Refused, match="Signature verification failed"):
            await client.authenticate("me", key=PrivateKey.parse(KEYS["rsa"]))
        with pytest.raises(Refused, match="Invalid token"):
            await client.authenticate(token="wrong")
        assert asyncio.get_running_loop().time() - before >= 2  # a second at least for each guess


async def test_nothing_else_is_done_for_a_client_that_has_not_authenticated(server: Server) -> None:
    async with Client(server.url) as client:
        waiting = asyncio.ensure_future(client.launch_process("talker"))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await client.authenticate(token="secret")  # in the same session: the launch was not kept for it
        assert await client.list_processes() == []
        assert not waiting.done()
        waiting.cancel()


async def test_a_broken_file_of_users_lets_nobody_in_but_the_owner(server: Server, tmp_path: Path) -> None:
    (tmp_path / "authorized_users.toml").chmod(0o644)
    (tmp_path / "authorized_users.toml").write_text("broken")
    async with Client(server.url) as client:
        with pytest.raises(Refused, match="not authorized"):
            await client.authenticate("me", key=PrivateKey.parse(KEYS["ed25519"]))
        assert server.token_file is not None
        await client.authenticate(token=server.token_file.read_text().strip())
