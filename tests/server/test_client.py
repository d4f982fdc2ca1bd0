"""Our own client and a real server: what a session can do."""

from __future__ import annotations

import asyncio
import shutil
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.server.running import TALKER, Install, Upstream, pack

from pie.build.packed import pack_program
from pie.server.server import Server
from pie_client import Client, ClientError, ConnectionLost, Event, ProcessFailed, Refused

pytestmark = pytest.mark.asyncio(loop_scope="session")
SHOP = [sys.executable, str(Path(__file__).parents[1] / "mcp" / "real_server.py")]
MANIFEST = '[package]\nname = "{name}"\nversion = "{version}"\n'
SHOPPER = """
import json

from inferlet import mcp, session


async def main(input):
    if input.get("wait"):
        await session.receive()
    with mcp.connect("shop") as shop:
        tools = {tool["name"] for tool in json.loads(shop.list_tools())["tools"]}
        total = json.loads(shop.call_tool("add", {"a": 2, "b": input["b"]}))["content"][0]["text"]
        try:
            shop.get_prompt("nothing", {})
        except mcp.McpError as error:
            refused = error.cause
    return ["shop" in mcp.available_servers(), "add" in tools, total, bool(refused)]
"""

ALL_MCP_CALLS = {
    "main.py": """
        import json

        from inferlet import mcp

        async def main(input):
            with mcp.connect("shop") as shop:
                return [
                    "shop" in mcp.available_servers(),
                    "add" in [tool["name"] for tool in json.loads(shop.list_tools())["tools"]],
                    json.loads(shop.call_tool("add", {"a": 2, "b": 3}))["content"][0]["text"],
                    json.loads(shop.list_resources())["resources"][0]["uri"],
                    json.loads(shop.read_resource("shop://prices"))["contents"][0]["text"],
                    json.loads(shop.list_prompts())["prompts"][0]["name"],
                    json.loads(shop.get_prompt("greet", {"name": "Ana"}))["messages"][0]["content"]["text"],
                ]
    """,
    "main.ts": """
        import { mcp } from 'inferlet';

        export function main() {
          using shop = mcp.connect('shop');
          return [
            mcp.availableServers().includes('shop'),
            JSON.parse(shop.listTools()).tools.some((tool) => tool.name === 'add'),
            JSON.parse(shop.callTool('add', { a: 2, b: 3 })).content[0].text,
            JSON.parse(shop.listResources()).resources[0].uri,
            JSON.parse(shop.readResource('shop://prices')).contents[0].text,
            JSON.parse(shop.listPrompts()).prompts[0].name,
            JSON.parse(shop.getPrompt('greet', { name: 'Ana' })).messages[0].content.text,
          ];
        }
    """,
}


@pytest_asyncio.fixture(loop_scope="session")
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(server.url) as client:
        await client.authenticate("me")
        yield client


async def test_a_program_is_uploaded_checked_and_launched(client: Client, tmp_path: Path) -> None:
    data, manifest = pack(tmp_path / "x", TALKER), MANIFEST.format(name="whole", version="1.0.0")
    assert not await client.check_program("whole@1.0.0")
    await client.install_program(data, manifest)
    assert await client.check_program("whole@1.0.0", wasm=data, manifest=manifest)
    assert not await client.check_program("whole@1.0.0", wasm=data + b" ")
    process = await client.launch_process("whole@1.0.0", {"say": ["a"], "value": 1})
    assert [event async for event in process] == [Event("message", "a"), Event("return", "1")]


async def test_a_bare_name_is_the_newest_version(client: Client, install: Install) -> None:
    for version in ("0.9.0", "0.10.0"):
        install("newest", f"async def main(input):\n    return '{version}'\n", version=version)
    assert await client.run_processes("newest", [{}]) == ["0.10.0"]


async def test_an_installed_program_is_kept_unless_it_is_to_be_replaced(client: Client, tmp_path: Path) -> None:
    manifest = MANIFEST.format(name="kept", version="1.0.0")
    one, two = (pack(tmp_path / "x", f"async def main(input):\n    return {number}\n") for number in (1, 2))
    await client.install_program(one, manifest)
    await client.install_program(two, manifest)
    assert await client.run_processes("kept", [{}]) == [1]
    await client.install_program(two, manifest, replace=True)
    assert await client.run_processes("kept", [{}]) == [2]


async def test_what_is_no_program_is_refused(client: Client) -> None:
    with pytest.raises(Refused) as refused:
        await client.install_program(b"\0asm nonsense", MANIFEST.format(name="x", version="1.0.0"))
    assert refused.value.code == "not-a-component"
    with pytest.raises(Refused) as refused:
        await client.install_program(b"{}", "no manifest")
    assert refused.value.code in ("bad-manifest", "bad-packed-program")


async def test_a_program_that_is_too_large_is_refused_once(client: Client) -> None:
    with pytest.raises(Refused, match="upload exceeds max_upload_mb cap of 2 MiB"):
        await client.install_program(bytes(5 << 20), MANIFEST.format(name="x", version="1.0.0"))
    await client.ping()


async def test_a_program_that_is_not_there_is_told_with_names_that_are_near(client: Client, install: Install) -> None:
    install("talker", TALKER)
    with pytest.raises(Refused, match="talker") as refused:
        await client.launch_process("talkre")
    assert refused.value.code == "program-not-found"


async def test_an_input_that_the_manifest_does_not_have_is_refused_before_the_launch(
    client: Client, install: Install
) -> None:
    program = install("strict", TALKER, parameters='[parameters.count]\ntype = "int"\n')
    with pytest.raises(Refused, match="count") as refused:
        await client.launch_process(program, {"cuont": 1})
    assert refused.value.code == "bad-input"


async def test_a_process_that_fails_tells_its_error(client: Client, install: Install) -> None:
    process = await client.launch_process(install("talker", TALKER), {"fail": "no luck"})
    with pytest.raises(ProcessFailed, match="no luck") as failed:
        await process.result()
    assert failed.value.code == "program-failed"
    with pytest.raises(ConnectionLost) as over:
        await process.recv()
    assert over.value.code == "process-ended"


async def test_a_message_that_fits_no_frame_ends_its_process(client: Client, install: Install) -> None:
    program = install(
        "loud", "from inferlet import session\nasync def main(input):\n    session.send('x' * (1 << 20))\n"
    )
    with pytest.raises(ProcessFailed) as failed:
        await (await client.launch_process(program)).result()
    assert failed.value.code == "message-too-large"


async def test_a_value_that_fits_no_frame_is_an_error(client: Client, install: Install) -> None:
    program = install("rich", "async def main(input):\n    return 'x' * (1 << 20)\n")
    with pytest.raises(ProcessFailed) as failed:
        await (await client.launch_process(program)).result()
    assert failed.value.code == "message-too-large"


async def test_an_answer_that_fits_no_frame_is_an_error(client: Client, install: Install) -> None:
    program = install("half", "async def main(input):\n    return 'x' * (600 << 10)\n")
    with pytest.raises(Refused) as refused:
        await client.run_processes(program, [{}, {}])
    assert refused.value.code == "answer-too-large"


async def test_a_process_is_left_and_found_again_after_it_has_ended(
    server: Server, client: Client, install: Install
) -> None:
    program = install("talker", TALKER)
    async with Client(server.url) as first:
        await first.authenticate("me")
        process = await first.launch_process(program, {"hear": 1, "files": 1, "say": ["hello"], "value": 3})
        assert await process.recv() == Event("message", "hello")
        await process.signal("you")
        await process.send_file(bytes(300_000))
    async with asyncio.timeout(10):
        while await client.list_processes():
            await asyncio.sleep(0.01)
    again = await client.attach_process(process.process_id)
    assert [event async for event in again] == [
        Event("message", "heard you"),
        Event("file", bytes(300_000) + b"!"),
        Event("return", "3"),
    ]


async def test_a_process_of_another_user_is_out_of_reach(server: Server, client: Client, install: Install) -> None:
    process = await client.launch_process(install("talker", TALKER), {"hear": 1})
    async with Client(server.url) as other:
        await other.authenticate("you")
        assert await other.list_processes() == []
        with pytest.raises(Refused, match="Permission denied"):
            await other.attach_process(process.process_id)
        theirs = await other.launch_process("talker", {"hear": 1})
        theirs.process_id, own_id = process.process_id, theirs.process_id
        with pytest.raises(Refused, match="Permission denied"):
            await theirs.terminate()
        await theirs.signal("from a stranger")
        theirs.process_id = own_id
        await theirs.signal("end")
        await theirs.result()
    await process.signal("from a friend")
    assert await process.recv() == Event("message", "heard from a friend")
    await process.result()


async def test_only_one_client_listens_to_a_process(server: Server, client: Client, install: Install) -> None:
    process = await client.launch_process(install("talker", TALKER), {"hear": 1})
    async with Client(server.url) as other:
        await other.authenticate("me")
        with pytest.raises(Refused, match="Process not found"):
            await other.attach_process(process.process_id)
    await process.signal("x")
    await process.result()


@pytest.mark.parametrize("process_id", ["", "1", "../x", "x" * 1000])
async def test_what_is_no_process_id_is_told_so(client: Client, process_id: str) -> None:
    with pytest.raises(Refused, match="Invalid process_id"):
        await client.attach_process(process_id)


async def test_a_process_that_is_not_there_is_not_found(client: Client) -> None:
    with pytest.raises(Refused, match="Process not found"):
        await client.attach_process("00000000-0000-4000-8000-000000000000")


async def test_a_process_may_be_launched_unheard_and_heard_later(client: Client, install: Install) -> None:
    (process,) = await client.launch_processes(
        install("talker", TALKER), [{"say": ["early"], "hear": 1}], capture=False
    )
    await process.attach()
    await process.signal("me")
    events = [event async for event in process]
    assert events[-2:] == [Event("message", "heard me"), Event("return", "null")]


async def test_processes_of_which_one_fails_are_all_ended(client: Client, install: Install) -> None:
    with pytest.raises(Refused, match="no luck"):
        await client.run_processes(install("talker", TALKER), [{"hear": 1}, {"fail": "no luck"}, {"hear": 1}])
    async with asyncio.timeout(10):
        while await client.list_processes():
            await asyncio.sleep(0.01)


async def test_a_session_goes_on_while_processes_run_for_an_answer(client: Client, install: Install) -> None:
    running = asyncio.ensure_future(client.run_processes(install("talker", TALKER), [{"hear": 1}]))
    async with asyncio.timeout(10):
        while not (rows := await client.list_processes()):
            await asyncio.sleep(0.01)
        waiting = await client.attach_process(rows[0].id)
        await waiting.signal("x")
    assert await running == [None]


async def test_too_many_launches_at_once_are_refused(client: Client, install: Install) -> None:
    with pytest.raises(Refused) as refused:
        await client.launch_processes(install("talker", TALKER), [{}] * 1025)
    assert refused.value.code == "too-many-launches"


async def test_a_file_that_arrives_broken_is_told_on_stderr(client: Client, install: Install) -> None:
    from pie_client.messages import TransferFile

    process = await client.launch_process(install("talker", TALKER), {"hear": 1})
    await client._connection.send(
        TransferFile(process_id=process.process_id, file_hash="0" * 64, chunk_index=0, total_chunks=1, chunk_data=b"x")
    )
    event = await process.recv()
    assert event.kind == "stderr"
    assert "upload-hash-mismatch" in str(event.value)
    await process.terminate()


async def test_programs_use_an_mcp_server_of_their_client(client: Client, install: Install) -> None:
    await client.register_mcp_server("shop", SHOP)
    process = await client.launch_process(install("shopper", SHOPPER), {"b": 40})
    assert await process.result() == [True, True, "42", True]
    assert await client.run_processes("shopper", [{"b": 1}, {"b": 2}]) == [
        [True, True, "3", True],
        [True, True, "4", True],
    ]


async def test_programs_that_a_program_launches_use_the_mcp_servers_of_the_client_too(
    client: Client, tmp_path: Path, programs_dir: Path
) -> None:
    (programs_dir / "child-shopper").mkdir()
    (programs_dir / "child-shopper" / "main.py").write_text(SHOPPER)
    parent = """
    from inferlet import runtime

    async def main(input):
        return await runtime.launch("child-shopper", input).wait()
    """
    try:
        await client.register_mcp_server("shop", SHOP)
        await client.install_program(
            pack(tmp_path / "x", parent), MANIFEST.format(name="sends-shopper", version="1.0.0")
        )
        assert await client.run_processes("sends-shopper", [{"b": 5}]) == [[True, True, "7", True]]
    finally:
        shutil.rmtree(programs_dir / "child-shopper")


@pytest.mark.parametrize("file", ALL_MCP_CALLS)
async def test_every_mcp_call_reaches_the_server_of_the_client_in_both_languages(
    client: Client, tmp_path: Path, file: str
) -> None:
    if file == "main.ts" and shutil.which("node") is None:
        pytest.skip("needs Node.js")
    (tmp_path / file).write_text(textwrap.dedent(ALL_MCP_CALLS[file]))
    await client.register_mcp_server("shop", SHOP)
    name = f"all-calls-{file.removeprefix('main.')}"
    await client.install_program(pack_program(tmp_path), MANIFEST.format(name=name, version="1.0.0"))
    assert await client.run_processes(f"{name}@1.0.0", [{}]) == [
        [True, True, "5", "shop://prices", "apples 3, pears 4", "greet", "Greet Ana politely."]
    ]


async def test_the_client_of_pie_0_4_has_mcp_servers_too(server: Server, upstream: Upstream, install: Install) -> None:
    body = """
        await client.authenticate("me")
        await client.register_mcp_server("shop", "stdio", given["command"][0], given["command"][1:])
        process = await client.launch_process(given["id"], {"b": 5})
        event, value = await process.recv()
        return [event.value, value]
    """
    kind, value = await upstream.run(server.url, body, id=install("shopper", SHOPPER), command=SHOP)
    assert (kind, value) == ("return", '[true, true, "7", true]')


async def test_other_sessions_do_not_see_a_clients_mcp_servers(
    server: Server, client: Client, install: Install
) -> None:
    await client.register_mcp_server("shop", SHOP)
    async with Client(server.url) as other:
        await other.authenticate("me")
        with pytest.raises(ProcessFailed, match="mcp-unknown-server"):
            await (await other.launch_process(install("shopper", SHOPPER), {"b": 1})).result()


async def test_a_program_learns_that_the_client_with_the_mcp_server_has_left(
    server: Server, client: Client, install: Install
) -> None:
    async with Client(server.url) as other:
        await other.authenticate("me")
        await other.register_mcp_server("shop", SHOP)
        process = await other.launch_process(install("shopper", SHOPPER), {"b": 1, "wait": True})
    back = await client.attach_process(process.process_id)
    await back.signal("go")
    with pytest.raises(ProcessFailed, match="mcp-unknown-server"):
        await back.result()


async def test_an_mcp_server_that_does_not_start_is_told(client: Client) -> None:
    with pytest.raises(ClientError) as failed:
        await client.register_mcp_server("none", ["/nowhere/at/all"])
    assert failed.value.code == "mcp-failed"
    with pytest.raises(ClientError) as failed:
        await client.register_mcp_server("none", [sys.executable, "-c", "pass"])
    assert failed.value.code == "mcp-failed"


async def test_what_waits_fails_when_the_connection_ends(server: Server, install: Install) -> None:
    async with Client(server.url) as client:
        await client.authenticate("me")
        process = await client.launch_process(install("talker", TALKER), {"hear": 1})
        running = asyncio.ensure_future(client.run_processes("talker", [{"hear": 1}]))
        hearing = asyncio.ensure_future(process.recv())
        async with asyncio.timeout(10):
            while len(rows := await client.list_processes()) < 2:
                await asyncio.sleep(0.01)
    for waiting in (running, hearing):
        with pytest.raises(ConnectionLost) as lost:
            await waiting
        assert lost.value.code == "connection-lost"
    async with Client(server.url) as again:
        await again.authenticate("me")
        for row in rows:
            await (await again.attach_process(row.id)).terminate()


async def test_nobody_at_the_address_is_told() -> None:
    with pytest.raises(ConnectionLost) as failed:
        async with Client("ws://127.0.0.1:1"):
            pass
    assert failed.value.code == "cannot-connect"
    with pytest.raises(ConnectionLost) as failed:
        async with Client("http://127.0.0.1:1"):
            pass
    assert failed.value.code == "cannot-connect"


async def test_a_client_that_is_not_entered_says_so() -> None:
    with pytest.raises(ConnectionLost) as failed:
        await Client().ping()
    assert failed.value.code == "not-connected"
