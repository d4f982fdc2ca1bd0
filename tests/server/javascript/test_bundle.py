"""The browser's half of the JavaScript client, as far as it can be proven without a browser.

It is bundled as for a page, and run in a context that has what a page has and nothing of Node.js. A real browser runs
it in `test_browser.py`, where there is one.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.server.javascript.conftest import SDK, Node
from tests.server.keys import KEYS
from tests.server.running import TALKER, Install

from pie.server.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")
PAGE = """
    import { readFileSync } from 'node:fs';
    import vm from 'node:vm';
    import { WebSocket } from 'ws';
    const has = { WebSocket, crypto, TextEncoder, TextDecoder, atob, btoa, setTimeout, clearTimeout, console };
    const page = vm.createContext({ ...has, url: process.argv[2], given: JSON.parse(process.argv[3]) });
    vm.runInContext(readFileSync(process.argv[4], 'utf8'), page);
    const answer = await vm.runInContext(`(async () => {
      const client = await pie.Client.connect(url);
      await client.authenticate('me');
      const process = await client.launchProcess(given.id, { hear: 1, files: 1 });
      await process.signal('page');
      const heard = (await process.recv()).value;
      await process.sendFile(new Uint8Array(1 << 20));
      const { kind, value } = await process.recv();
      const signed = [];
      for (const key of given.keys) signed.push((await (await pie.PrivateKey.parse(key)).sign(value)).length > 60);
      await process.result();
      await client.close();
      return JSON.stringify([heard, kind, value.length, signed, typeof client.registerMcpServer]);
    })()`, page);
    console.log(answer);
"""


async def test_the_types_of_the_browsers_half_know_nothing_of_node(javascript: Node) -> None:
    done = subprocess.run(
        [SDK / "node_modules" / ".bin" / "tsc", "-p", SDK / "tsconfig.browser.json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""


async def test_a_bundle_for_pages_works_with_what_a_page_has(
    server: Server, javascript: Node, bundle: Path, install: Install
) -> None:
    given = json.dumps({"id": install("talker", TALKER), "keys": [*KEYS.values()]})
    answer = await javascript.script(PAGE, server.url, given, str(bundle))
    assert answer == ["heard page", "file", (1 << 20) + 1, [True] * len(KEYS), "undefined"]


async def test_the_websocket_of_node_itself_works_too(server: Server, javascript: Node, install: Install) -> None:
    body = """
        if (globalThis.WebSocket === undefined) return 'there is none';
        const client = await connected();
        const process = await client.launchProcess(given.id, { hear: 1, files: 1 });
        await process.signal('you');
        const heard = (await process.recv()).value;
        await process.sendFile(new Uint8Array(1 << 20));
        const size = (await process.recv()).value.length;
        await process.result();
        await client.close();
        return [heard, size];
    """
    with_its_own = Node(javascript.node, javascript.folder, flags=("--experimental-websocket",))
    answer = await with_its_own.run(server.url, body, id=install("talker", TALKER))
    assert answer == ["heard you", (1 << 20) + 1]


async def test_node_without_a_websocket_is_told_what_it_needs(javascript: Node) -> None:
    body = """
        delete globalThis.WebSocket;
        return await told(Client.connect('ws://127.0.0.1:1'));
    """
    ws, away = javascript.folder / "node_modules" / "ws", javascript.folder / "ws-away"
    ws.rename(away)
    try:
        told = await javascript.run("", body)
    finally:
        away.rename(ws)
    assert told[:2] == ["ConnectionLost", "cannot-connect"]
    assert "npm package ws" in told[2]
