"""MCP from a program: what comes back, what is raised, and that sessions end with the program."""

from __future__ import annotations

import asyncio
import textwrap
from functools import partial
from pathlib import Path

import pytest
from tests.running import RunProgram

from pie.errors import ProcessError
from pie.host.mailbox import Event
from pie.runtime import Runtime

pytestmark = pytest.mark.asyncio(loop_scope="session")


def server_processes() -> int:
    """Processes of the weather server that are children of this one."""
    count = 0
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            count += b"mcp-tools/server.py" in command.read_bytes()
        except OSError:
            continue
    return count


def hear(heard: asyncio.Event, _event: Event) -> None:
    heard.set()


async def no_more_than(count: int) -> None:
    async with asyncio.timeout(20):
        while server_processes() > count:
            await asyncio.sleep(0.02)


async def test_all_calls_answer_with_the_json_of_the_protocol(run_program: RunProgram) -> None:
    source = """
        import json
        from inferlet import mcp

        def main():
            with mcp.connect("weather") as server:
                tools = json.loads(server.list_tools())["tools"]
                called = json.loads(server.call_tool("get_weather", {"city": "Lima"}))
                as_text = json.loads(server.call_tool("get_weather", '{"city": "Lima"}'))
                lists = [server.list_resources(), server.list_prompts()]
            return [mcp.available_servers(), tools[0]["name"], json.loads(called["content"][0]["text"]),
                    called == as_text, [json.loads(text) for text in lists]]
    """
    servers, name, weather, same, lists = (await run_program(source)).value
    assert servers[0] == "weather"
    assert name == "get_weather"
    assert weather == {"temperature": 21, "sky": "sunny"}
    assert same
    assert [lists[0]["resources"], lists[1]["prompts"]] == [[], []]


async def test_errors_have_the_number_message_and_data_of_the_server_or_a_code_of_ours(run_program: RunProgram) -> None:
    source = """
        from inferlet import Error, mcp

        def told(function, *words):
            try:
                function(*words)
            except mcp.McpError as error:
                return [error.code, error.number, error.cause]
            except Error as error:
                return [error.code]

        def main():
            server = mcp.connect("weather")
            found = [
                told(mcp.connect, "nobody"),
                told(server.read_resource, "no://such"),
                told(server.get_prompt, "none", {}),
                told(server.call_tool, "get_weather", "[1]"),
            ]
            server.close()
            server.close()
            return [*found, told(server.list_tools)]
    """
    unknown, resource, prompt, arguments, closed = (await run_program(source)).value
    assert unknown[:2] == ["mcp", -32000]
    assert "mcp-unknown-server" in unknown[2]
    assert resource[0] == "mcp"
    assert resource[1] < 0
    assert prompt[0] == "mcp"
    assert arguments[1] == -32602
    assert closed == ["released"]


async def test_sessions_end_with_their_program_however_it_ends(runtime: Runtime, tmp_path: Path) -> None:
    before = server_processes()
    source = """
        import asyncio
        from inferlet import mcp, session

        async def main(end):
            held = [mcp.connect("weather") for _ in range(2)]
            session.send("connected")
            if end == "raise":
                raise ValueError("over")
            await asyncio.sleep(1000)
    """
    (tmp_path / "main.py").write_text(textwrap.dedent(source))
    program = await runtime.load(tmp_path)
    for end in ("raise", "terminate"):
        connected = asyncio.Event()
        process = runtime.launch(program, {"end": end}, listener=partial(hear, connected))
        await asyncio.wait_for(connected.wait(), 60)
        if end == "terminate":
            process.terminate()
        with pytest.raises(ProcessError):
            await process.outcome()
        await no_more_than(before)
