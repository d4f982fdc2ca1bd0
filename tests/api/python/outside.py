"""Session, messaging, files, MCP servers, child programs."""

import asyncio
import json
from pathlib import Path

from inferlet import Error, mcp, messaging, runtime, session
from registry import proves


@proves("session.send", "session.send object", "session.sendFile")
def send():
    session.send("text")
    session.send({"a": 1})
    session.send_file(b"\x00\x01file")


@proves("session.receive", "session.receiveFile")
async def receive():
    assert await session.receive() == "typed"
    assert await session.receive_file() == b"\x00uploaded"


@proves("messaging.push", "messaging.pull")
async def queue():
    waiting = asyncio.ensure_future(messaging.pull("api-queue"))
    await asyncio.sleep(0)
    messaging.push("api-queue", "one")
    messaging.push("api-queue", "two")
    assert [await waiting, await messaging.pull("api-queue")] == ["one", "two"]


@proves("messaging.broadcast", "messaging.subscribe", "subscription.next", "subscription.unsubscribe")
async def broadcast():
    first, second = messaging.subscribe("api-news"), messaging.subscribe("api-news")
    messaging.broadcast("api-news", "hello")
    assert [await first.next(), await second.next()] == ["hello", "hello"]
    first.unsubscribe()
    messaging.broadcast("api-news", "again")
    assert await second.next() == "again"
    assert await first.next() is None
    second.unsubscribe()


@proves("for await message")
async def iterate():
    with messaging.subscribe("api-loop") as subscription:
        for number in range(3):
            messaging.broadcast("api-loop", str(number))
        found = []
        async for message in subscription:
            found.append(message)
            if len(found) == 3:
                break
    assert found == ["0", "1", "2"]


@proves("subscription disposal")
async def subscription_disposal():
    with messaging.subscribe("api-disposal") as subscription:
        messaging.broadcast("api-disposal", "lost")
    assert await subscription.next() is None


@proves("files under /scratch")
def files():
    folder = Path("/scratch/rows")
    folder.mkdir()
    (folder / "a.txt").write_text("kept")
    (folder / "a.txt").rename(folder / "b.txt")
    assert [path.name for path in folder.iterdir()] == ["b.txt"]
    assert (folder / "b.txt").read_text() == "kept"
    try:
        Path("/etc/passwd").read_text()
    except OSError:
        return
    raise AssertionError("a file outside of /scratch was read")


@proves("mcp.availableServers", "mcp.connect", "mcp.listTools", "mcp.callTool")
def mcp_tools():
    assert "rows" in mcp.available_servers()
    with mcp.connect("rows") as server:
        assert [tool["name"] for tool in json.loads(server.list_tools())["tools"]] == ["add"]
        assert json.loads(server.call_tool("add", {"a": 2, "b": 3}))["content"][0]["text"] == "5"


@proves("mcp.listResources", "mcp.readResource")
def mcp_resources():
    with mcp.connect("rows") as server:
        assert json.loads(server.list_resources())["resources"][0]["uri"] == "note://hello"
        assert json.loads(server.read_resource("note://hello"))["contents"][0]["text"] == "Hello from a note"


@proves("mcp.listPrompts", "mcp.getPrompt")
def mcp_prompts():
    with mcp.connect("rows") as server:
        assert json.loads(server.list_prompts())["prompts"][0]["name"] == "greet"
        prompt = json.loads(server.get_prompt("greet", {"name": "Wilma"}))
        assert prompt["messages"][0]["content"]["text"] == "Greet Wilma."


@proves("runtime.launch", "child result")
async def child():
    one = runtime.launch("text-completion", {"prompt": "Hello", "max_tokens": 4, "temperature": 0.0})
    assert one.pid != runtime.instance_id()
    assert await one.wait() == {"tokens": 4}


@proves("child.cancel")
async def cancel():
    one = runtime.launch("text-completion", {"prompt": "Tell me a short story.", "max_tokens": 2000})
    one.cancel()
    code = None
    try:
        await one.wait()
    except Error as error:
        code = error.code
    assert code == "cancelled"
