"""The JavaScript client and a real server: what a session can do."""

from __future__ import annotations

import sys
from base64 import b64encode
from pathlib import Path

import pytest
from tests.server.javascript.conftest import Node
from tests.server.running import TALKER, Install, pack

from pie.server.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")
MANIFEST = '[package]\nname = "{name}"\nversion = "1.0.0"\n'
SHOP = [sys.executable, str(Path(__file__).parents[2] / "mcp" / "real_server.py")]
SLOW = """
import asyncio

from inferlet import session


async def main(input):
    session.send("hello")
    text = await session.receive()
    await asyncio.sleep(0.5)  # whoever was there leaves
    session.send("heard " + text)
    session.send_file(bytes(300_000))
    return 3
"""
SHOPPER = """
import json

from inferlet import mcp


async def main(input):
    with mcp.connect("shop") as shop:
        total = json.loads(shop.call_tool("add", {"a": 2, "b": input["b"]}))["content"][0]["text"]
        try:
            shop.get_prompt("nothing", {})
        except mcp.McpError as error:
            refused = error.cause
    return [total, bool(refused)]
"""


async def test_a_program_is_uploaded_checked_and_launched(server: Server, javascript: Node, tmp_path: Path) -> None:
    data, manifest = pack(tmp_path / "x", TALKER), MANIFEST.format(name="jswhole")
    body = """
        const client = await connected();
        await client.ping();
        const wasm = Uint8Array.from(atob(given.wasm), (letter) => letter.charCodeAt(0));
        const before = await client.checkProgram('jswhole@1.0.0');
        await client.installProgram(wasm, given.manifest);
        const checks = [
          await client.checkProgram('jswhole@1.0.0'),
          await client.checkProgram('jswhole@1.0.0', { wasm, manifest: given.manifest }),
          await client.checkProgram('jswhole@1.0.0', { wasm: Uint8Array.of(1) }),
          await client.checkProgram('jswhole@1.0.0', { manifest: 'é' }),
        ];
        const process = await client.launchProcess('jswhole', { say: ['a', 'é'], value: [1] });
        const events = [];
        for await (const event of process) events.push(event);
        const over = await told(process.recv());
        await client.close();
        return { before, checks, events, over: over.slice(0, 2), last: events.map(pie.isLast) };
    """
    assert await javascript.run(server.url, body, wasm=b64encode(data).decode(), manifest=manifest) == {
        "before": False,
        "checks": [True, True, False, False],
        "events": [
            {"kind": "message", "value": "a"},
            {"kind": "message", "value": "é"},
            {"kind": "return", "value": "[1]"},
        ],
        "over": ["ConnectionLost", "process-ended"],
        "last": [False, False, True],
    }


async def test_an_installed_program_is_kept_unless_it_is_to_be_replaced(
    server: Server, javascript: Node, tmp_path: Path
) -> None:
    body = """
        const client = await connected();
        const values = [];
        for (const [index, options] of [[0], [1], [1, { replace: true }]]) {
          const wasm = Uint8Array.from(atob(given.programs[index]), (letter) => letter.charCodeAt(0));
          await client.installProgram(wasm, given.manifest, options);
          values.push(await client.runProcesses('jskept', [{}]));
        }
        await client.close();
        return values;
    """
    programs = [pack(tmp_path / "x", f"async def main(input):\n    return {number}\n") for number in (1, 2)]
    encoded = [b64encode(data).decode() for data in programs]
    manifest = MANIFEST.format(name="jskept")
    assert await javascript.run(server.url, body, programs=encoded, manifest=manifest) == [[1], [1], [2]]


async def test_what_the_server_refuses_has_its_code(server: Server, javascript: Node, install: Install) -> None:
    body = """
        const client = await connected();
        const process = await client.launchProcess(given.id, { fail: 'no luck' });
        const answers = [
          await told(client.launchProcess('talkre')),
          await told(client.installProgram(new Uint8Array(5 << 20), '[package]')),
          await told(client.installProgram(Uint8Array.of(0, 97, 115, 109, 7), given.manifest)),
          await told(client.runProcesses(given.id, [{ hear: 1 }, { fail: 'no luck' }])),
          await told(client.attachProcess('1')),
          await told(client.terminateProcess('00000000-0000-4000-8000-000000000000')),
          await told(process.result()),
          await told(client.query('nothing')),
        ];
        await client.ping();
        await client.close();
        return answers;
    """
    given = {"id": install("talker", TALKER), "manifest": MANIFEST.format(name="x")}
    answers = await javascript.run(server.url, body, **given)
    assert [answer[:2] for answer in answers] == [
        ["Refused", "program-not-found"],
        ["Refused", "refused"],
        ["Refused", "not-a-component"],
        ["Refused", "program-failed"],
        ["Refused", "refused"],
        ["Refused", "refused"],
        ["ProcessFailed", "program-failed"],
        ["Refused", "unknown-subject"],
    ]
    assert "talker" in answers[0][2]
    assert answers[1][2] == "upload exceeds max_upload_mb cap of 2 MiB"
    assert answers[5][2] == "Process not found"
    assert "no luck" in answers[6][2]


async def test_what_the_server_could_not_read_is_refused_here(
    server: Server, javascript: Node, install: Install
) -> None:
    body = """
        const client = await connected();
        const loop = {};
        loop.self = loop;
        const answers = [
          await told(client.launchProcess(given.id, {}, { tokenBudget: 1.5 })),
          await told(client.launchProcess(given.id, {}, { tokenBudget: -1 })),
          await told(client.launchProcess('x'.repeat(4 << 20))),
          await told(client.launchProcess(given.id, {}, { detached: 1 })),
          await told(client.launchDaemon(given.id, 2 ** 32)),
          await told(client.checkProgram('half \\ud800@1.0.0')),
          await told(client.launchProcess(given.id, loop)),
          await told(client.launchProcess(given.id, () => 1)),
          await told(client.installProgram(Uint8Array.of(1), 7)),
        ];
        await client.ping();
        await client.close();
        return answers;
    """
    answers = await javascript.run(server.url, body, id=install("talker", TALKER))
    assert [answer[:2] for answer in answers] == [["ClientError", "bad-argument"]] * len(answers)
    assert "token_budget of launch_process" in answers[0][2]


async def test_a_process_is_launched_detached_or_unheard_and_attached_to_when_it_has_ended(
    server: Server, javascript: Node, install: Install
) -> None:
    body = """
        const client = await connected();
        const detached = await client.launchProcess(given.id, { say: ['kept'], value: 1 }, { detached: true });
        const [unheard] = await client.launchProcesses(given.id, [{ value: 7 }], { capture: false });
        while ((await client.listProcesses()).length > 0) await new Promise((resolve) => setTimeout(resolve, 10));
        const events = [];
        for await (const event of await client.attachProcess(detached.processId)) events.push(event.value);
        const values = [];
        for (let turn = 0; turn < 3; turn += 1) {
          values.push(await (await client.attachProcess(unheard.processId)).result());
        }
        await client.close();
        return [events, values];
    """
    given = {"id": install("talker", TALKER)}
    assert await javascript.run(server.url, body, **given) == [["kept", "1"], [7, 7, 7]]


async def test_texts_and_files_of_a_mebibyte_go_both_ways(server: Server, javascript: Node, install: Install) -> None:
    body = """
        const client = await connected();
        const process = await client.launchProcess(given.id, { hear: 1, files: 3, print: 'printed' });
        await process.signal('you');
        const heard = (await process.recv()).value;
        const files = [];
        for (const size of [0, 5, 1 << 20]) {
          const data = Uint8Array.from({ length: size }, (_, index) => index % 251);
          await process.sendFile(data);
          const { kind, value } = await process.recv();
          files.push([kind, value.length, value.at(-1) === 33, data.every((byte, index) => value[index] === byte)]);
        }
        let printed = '';
        let event;
        while ((event = await process.recv()).kind === 'stdout') printed += event.value;
        await client.close();
        return [heard, files, printed, event];
    """
    assert await javascript.run(server.url, body, id=install("talker", TALKER)) == [
        "heard you",
        [["file", 1, True, True], ["file", 6, True, True], ["file", (1 << 20) + 1, True, True]],
        "printed\n",
        {"kind": "return", "value": "null"},
    ]


async def test_processes_are_listed_terminated_and_asked_about(
    server: Server, javascript: Node, install: Install
) -> None:
    body = """
        const client = await connected();
        const processes = await client.launchProcesses(given.id, [{ hear: 1 }, { hear: 1, value: 2 }]);
        const rows = await client.listProcesses();
        await processes[0].terminate();
        await client.terminateProcess(processes[1].processId);
        const ends = [await processes[0].recv(), await processes[1].recv()];
        const values = await client.runProcesses(given.id, [{ value: 3 }, { value: { a: null } }]);
        const figures = await client.query('model_status');
        const left = await client.listProcesses();
        await client.close();
        return { ids: processes.map((one) => one.processId), rows, ends, values, left, figures: Object.keys(figures) };
    """
    told = await javascript.run(server.url, body, id=install("talker", TALKER))
    assert sorted(row["id"] for row in told["rows"]) == sorted(told["ids"])
    assert {(row["username"], row["program"]) for row in told["rows"]} == {("me", "talker@0.1.0")}
    assert all(row["elapsedSeconds"] >= 0 for row in told["rows"])
    assert told["ends"] == [{"kind": "error", "value": "Signal"}] * 2
    assert told["values"] == [3, {"a": None}]
    assert told["left"] == []
    assert any(name.endswith("kv_pages_total") for name in told["figures"])


async def test_a_process_is_left_and_what_it_said_is_heard_later(
    server: Server, javascript: Node, install: Install
) -> None:
    body = """
        const first = await connected();
        const left = await first.launchProcess(given.id);
        const hello = await left.recv();
        await left.signal('you');
        await first.close();
        const client = await connected();
        while ((await client.listProcesses()).length > 0) await new Promise((resolve) => setTimeout(resolve, 10));
        const back = await client.attachProcess(left.processId);
        const events = [];
        for await (const { kind, value } of back) events.push([kind, kind === 'file' ? value.length : value]);
        const stranger = await connected('you');
        const refused = await told(stranger.attachProcess(left.processId));
        await stranger.close();
        await client.close();
        return [hello.value, events, refused[0]];
    """
    assert await javascript.run(server.url, body, id=install("slow", SLOW)) == [
        "hello",
        [["message", "heard you"], ["file", 300_000], ["return", "3"]],
        "Refused",
    ]


async def test_a_process_may_be_launched_unheard_and_heard_later(
    server: Server, javascript: Node, install: Install
) -> None:
    body = """
        const client = await connected();
        const [process] = await client.launchProcesses(given.id, [{ say: ['early'], hear: 1 }], { capture: false });
        await process.attach();
        await process.signal('me');
        const events = [];
        for await (const event of process) events.push(event.value);
        await client.close();
        return events.slice(-2);
    """
    assert await javascript.run(server.url, body, id=install("talker", TALKER)) == ["heard me", "null"]


async def test_what_waits_is_rejected_when_the_client_closes(
    server: Server, javascript: Node, install: Install
) -> None:
    body = """
        const client = await connected();
        const process = await client.launchProcess(given.id, { hear: 1 });
        const waiting = [process.recv(), process.recv(), client.runProcesses(given.id, [{ hear: 1 }])].map(told);
        while ((await client.listProcesses()).length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
        await Promise.all([client.close(), client.close()]);
        const after = [told(client.ping()), told(process.signal('x')), told(process.recv())];
        const again = await connected();
        for (const row of await again.listProcesses()) await again.terminateProcess(row.id);
        await again.close();
        return (await Promise.all([...waiting, ...after])).map((one) => one.slice(0, 2));
    """
    answers = await javascript.run(server.url, body, id=install("talker", TALKER))
    assert answers == [["ConnectionLost", "connection-lost"]] * 6


async def test_a_block_with_await_using_closes_the_session(server: Server, javascript: Node) -> None:
    text = """
        import { Client } from 'pie-client';
        let process;
        {
          await using client = await Client.connect(globalThis.process.argv[2]);
          await client.authenticate('me');
          process = client;
        }
        console.log(JSON.stringify(await process.ping().then(() => 'open', (error) => error.code)));
    """
    source, made = javascript.folder / "using.mjs", javascript.folder / "lowered.mjs"
    source.write_text(text)
    javascript.esbuild(str(source), "--target=node20", f"--outfile={made}")
    assert await javascript.script(made.read_text(), server.url) == "connection-lost"


async def test_a_program_uses_an_mcp_server_beside_the_client(
    server: Server, javascript: Node, install: Install
) -> None:
    body = """
        const client = await connected();
        await client.registerMcpServer('shop', given.shop);
        const taken = await told(client.registerMcpServer('shop', given.shop));
        const values = await client.runProcesses(given.id, [{ b: 1 }, { b: 40 }]);
        const none = await told(client.registerMcpServer('none', ['/nowhere/at/all']));
        const mute = await told(client.registerMcpServer('mute', [given.shop[0], '-c', 'pass']));
        const starting = told(client.registerMcpServer('late', given.shop));
        await client.close();
        return [values, ...[taken, none, mute, await starting].map((one) => one[1])];
    """
    values, *codes = await javascript.run(server.url, body, id=install("shopper", SHOPPER), shop=SHOP)
    assert values == [["3", True], ["42", True]]
    assert codes == ["mcp-name-taken", "mcp-failed", "mcp-failed", "connection-lost"]


async def test_a_workflow_is_submitted_and_heard(server: Server, javascript: Node) -> None:
    body = """
        const client = await connected();
        const id = await client.submitWorkflow({ record: { program: 'json-record' } });
        const workflow = await client.attachProcess(id);
        const value = await workflow.result();
        const refused = await told(client.submitWorkflow({}));
        await client.close();
        return [Object.keys(value.record), refused[1]];
    """
    assert await javascript.run(server.url, body) == [["name", "age", "city"], "bad-input"]


async def test_a_daemon_is_launched_and_ended(server: Server, javascript: Node, answering_program: str) -> None:
    body = """
        const client = await connected();
        await client.launchDaemon(given.id, 0);
        const [row] = await client.listProcesses();
        const response = await fetch(`http://127.0.0.1:${row.port}/`);
        await response.text();
        await client.terminateProcess(row.id);
        const left = await client.listProcesses();
        await client.close();
        return [typeof row.port, response.status < 500, left];
    """
    assert await javascript.run(server.url, body, id=answering_program) == ["number", True, []]


async def test_nobody_at_the_address_is_told(javascript: Node) -> None:
    body = """
        return [await told(Client.connect('ws://127.0.0.1:1')), await told(Client.connect('no address'))];
    """
    answers = await javascript.run("", body)
    assert [answer[:2] for answer in answers] == [["ConnectionLost", "cannot-connect"]] * 2
    assert "127.0.0.1:1" in answers[0][2]
