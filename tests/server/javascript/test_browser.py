"""The JavaScript client in a real browser, and a real server that asks who its clients are."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.server.javascript.chromium import Chromium, left_of, pages
from tests.server.keys import KEYS, public_text
from tests.server.running import TALKER, pack

from pie.process.store import ProgramStore
from pie.runtime import Runtime
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings
from pie.server.users import token_hash

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def browser(bundle: Path) -> AsyncIterator[Chromium]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs a browser: the program chromium, of the Debian package of that name")
    with tempfile.TemporaryDirectory() as name:  # pytest's own are too deep for the socket that it puts there
        async with pages(bundle) as served:
            yield Chromium(program, served, Path(name))
        assert left_of(Path(name)) == []
        assert list(Path(name).iterdir()) == []


@pytest_asyncio.fixture(loop_scope="session")
async def strict_server(runtime: Runtime, browser: Chromium, tmp_path: Path) -> AsyncIterator[Server]:
    """Lets in pages of `localhost`; those of 127.0.0.1 are others, though they are the same."""
    keys = "\n".join(f'{name} = "{public_text(name)}"' for name in KEYS)
    users = tmp_path / "authorized_users.toml"
    users.touch(0o600)
    users.write_text(f'[users.me.keys]\n{keys}\n[users.me.tokens]\nci = "{token_hash("secret")}"\n')
    manifest = '[package]\nname = "talker"\nversion = "0.1.0"\n'
    ProgramStore(tmp_path / "programs").install(pack(tmp_path / "talker", TALKER), manifest, replace=True)
    settings = ServerSettings(port=0, allowed_origins=(f"http://localhost:{browser.pages.port}",), grace_s=0)
    with listen(settings) as listening:
        async with serve(runtime, settings, listening, home=tmp_path) as server:
            yield server


async def test_a_page_launches_a_program_talks_to_it_and_hears_its_end(
    browser: Chromium, strict_server: Server
) -> None:
    body = """
        const client = await Client.connect(url);
        await client.authenticate({ token: 'secret' });
        const process = await client.launchProcess('talker', { hear: 1, files: 1, value: { a: [1] } });
        await process.signal('é');
        const heard = (await process.recv()).value;
        const data = Uint8Array.from({ length: 1 << 20 }, (_, index) => index % 251);
        await process.sendFile(data);
        const { kind, value } = await process.recv();
        const whole = data.every((byte, index) => value[index] === byte) && value.at(-1) === 33;
        const returned = await process.result();
        await client.close();
        return [heard, kind, value.length, whole, returned, typeof client.registerMcpServer];
    """
    answer = await browser.run(strict_server.url, body)
    assert answer == ["heard é", "file", (1 << 20) + 1, True, {"a": [1]}, "undefined"]


async def test_a_page_leaves_a_process_and_attaches_to_it_again(browser: Chromium, strict_server: Server) -> None:
    body = """
        const first = await Client.connect(url);
        await first.authenticate({ token: 'secret' });
        const { processId } = await first.launchProcess('talker', { say: ['early'], hear: 1 });
        await first.close();
        const client = await Client.connect(url);
        await client.authenticate({ token: 'secret' });
        const process = await client.attachProcess(processId);
        await process.signal('again');
        const events = [];
        for await (const event of process) events.push(event.value);
        await client.close();
        return events;
    """
    # the first session may have heard what came early
    assert (await browser.run(strict_server.url, body))[-2:] == ["heard again", "null"]


async def test_a_page_proves_with_every_kind_of_key_who_it_is(browser: Chromium, strict_server: Server) -> None:
    body = """
        const knows = await crypto.subtle.generateKey('Ed25519', false, ['sign']).then(() => true, () => false);
        const answers = {};
        for (const [name, text] of Object.entries(given.keys)) {
          if (name === 'ed25519' && !knows) continue;
          const client = await Client.connect(url);
          await client.authenticate('me', await PrivateKey.parse(text));
          answers[name] = await client.runProcesses('talker', [{ value: name }]);
          await client.close();
        }
        return [knows, answers];
    """
    knows, answers = await browser.run(strict_server.url, body, keys=KEYS)
    assert answers == {name: [name] for name in KEYS if knows or name != "ed25519"}


async def test_what_goes_wrong_has_its_code_in_a_page_too(browser: Chromium, strict_server: Server) -> None:
    body = """
        const stranger = await Client.connect(url);
        const unknown = await told(stranger.authenticate({ token: 'wrong' }));
        await stranger.close();
        const client = await Client.connect(url);
        await client.authenticate({ token: 'secret' });
        const process = await client.launchProcess('talker', { fail: 'no luck' });
        const answers = [await told(client.launchProcess('talkre')), await told(process.result())];
        await client.close();
        return [unknown, ...answers, await told(client.ping())].map((one) => one[1]);
    """
    codes = await browser.run(strict_server.url, body)
    assert codes == ["refused", "program-not-found", "program-failed", "connection-lost"]


async def test_a_page_of_another_origin_is_refused(browser: Chromium, strict_server: Server) -> None:
    body = """
        const http = url.replace('ws', 'http') + '/healthz';
        const answered = await fetch(http).then((response) => response.status, (error) => error.name);
        const client = await told(Client.connect(url));
        if (client[0] === 'value') await client[1].close();
        return [location.hostname, answered, client[1]?.constructor === Client || client[1]];
    """
    assert await browser.run(strict_server.url, body) == ["localhost", 200, True]
    refused = await browser.run(strict_server.url, body, host="127.0.0.1")
    assert refused == ["127.0.0.1", "TypeError", "cannot-connect"]
    assert strict_server.service.num_sessions == 0
