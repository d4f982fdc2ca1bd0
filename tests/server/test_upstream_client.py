"""The unmodified client of Pie 0.4, from PyPI: every method of it works with this server."""

from __future__ import annotations

import socket
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpcore2
import pytest
from tests.server.running import TALKER, Install, Upstream, pack

from pie.process.publishing import publish
from pie.process.release import Release
from pie.server.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")
MANIFEST = '[package]\nname = "{name}"\nversion = "1.2.3"\n'


def write(upstream: Upstream, name: str) -> dict[str, str]:
    """Files of a program that says hello, for an upload."""
    wasm, manifest = upstream.folder / f"{name}.wasm", upstream.folder / f"{name}.toml"
    wasm.write_bytes(pack(upstream.folder / name, TALKER))
    manifest.write_text(MANIFEST.format(name=name))
    return {"wasm": str(wasm), "manifest": str(manifest), "id": f"{name}@1.2.3"}


async def test_it_authenticates_without_a_key_where_nobody_asks_for_one(server: Server, upstream: Upstream) -> None:
    assert (
        await upstream.run(server.url, "await client.authenticate('somebody'); await client.ping(); return 'pong'")
        == "pong"
    )


async def test_it_comes_in_by_a_token_where_nobody_asks_for_one(server: Server, upstream: Upstream) -> None:
    assert (
        await upstream.run(server.url, "await client.auth_by_token('any'); return await client.list_processes()") == []
    )


async def test_it_uploads_a_program_and_finds_it(server: Server, upstream: Upstream) -> None:
    body = """
        await client.authenticate("me")
        before = await client.check_program(given["id"])
        await client.install_program(given["wasm"], given["manifest"])
        return [before, await client.check_program(given["id"]),
                await client.check_program(given["id"], given["wasm"], given["manifest"]),
                await client.check_program(given["id"], given["manifest"], given["manifest"])]
    """
    assert await upstream.run(server.url, body, **write(upstream, "uploaded")) == [False, True, True, False]


async def test_it_launches_a_process_and_hears_it_to_the_end(
    server: Server, upstream: Upstream, install: Install
) -> None:
    body = """
        await client.authenticate("me")
        process = await client.launch_process(given["id"], {"say": ["one", "two"], "print": "three", "value": [4]})
        events = []
        while not events or events[-1][0] != "return":
            event, value = await process.recv()
            events.append([event.value, value])
        return events
    """
    events = await upstream.run(server.url, body, id=install("talker", TALKER))
    assert [event for event in events if event[0] != "stdout"] == [
        ["message", "one"],
        ["message", "two"],
        ["return", "[4]"],
    ]
    assert "".join(value for kind, value in events if kind == "stdout") == "three\n"


async def test_it_signals_and_exchanges_files(server: Server, upstream: Upstream, install: Install) -> None:
    body = """
        await client.authenticate("me")
        process = await client.launch_process(given["id"], {"hear": 1, "files": 3})
        await process.signal("you")
        heard = await process.recv()
        sizes = []
        for size in (0, 5, 600_000):
            await process.transfer_file(b"x" * size)
            event, data = await process.recv()
            sizes.append([event.value, len(data), data[-1:].decode()])
        return [heard[1], sizes, (await process.recv())[0].value]
    """
    assert await upstream.run(server.url, body, id=install("talker", TALKER)) == [
        "heard you",
        [["file", 1, "!"], ["file", 6, "!"], ["file", 600_001, "!"]],
        "return",
    ]


async def test_it_terminates_a_process(server: Server, upstream: Upstream, install: Install) -> None:
    body = """
        await client.authenticate("me")
        process = await client.launch_process(given["id"], {"hear": 1})
        await process.terminate()
        event, value = await process.recv()
        return [event.value, value, await client.list_processes()]
    """
    assert await upstream.run(server.url, body, id=install("talker", TALKER)) == ["error", "Signal", []]


async def test_it_leaves_a_process_and_comes_back(server: Server, upstream: Upstream, install: Install) -> None:
    body = """
        await client.authenticate("me")
        process = await client.launch_process(given["id"], {"hear": 2})
        await process.signal("first")
        await client.close()
        async with PieClient(sys.argv[1]) as again:
            await again.authenticate("me")
            listed = [row["id"] for row in await again.list_processes()]
            back = await again.attach_process(process.process_id)
            await back.signal("second")
            said = [(await back.recv())[1] for _ in range(3)]
        return [listed == [process.process_id], said]
    """
    assert await upstream.run(server.url, body, id=install("talker", TALKER)) == [
        True,
        ["heard first", "heard second", "null"],
    ]


async def test_it_launches_many_processes_at_once(server: Server, upstream: Upstream, install: Install) -> None:
    body = """
        await client.authenticate("me")
        processes = await client.launch_processes(given["id"], [{"value": number} for number in range(5)])
        return [(await process.recv())[1] for process in processes]
    """
    assert await upstream.run(server.url, body, id=install("talker", TALKER)) == ["0", "1", "2", "3", "4"]


async def test_it_runs_processes_and_gets_what_they_return(
    server: Server, upstream: Upstream, install: Install
) -> None:
    body = """
        await client.authenticate("me")
        results = await client.run_processes(given["id"], [{"value": number} for number in range(5)])
        try:
            await client.run_processes(given["id"], [{"value": 1}, {"fail": "no luck"}])
        except Exception as error:
            return [results, str(error)]
    """
    results, error = await upstream.run(server.url, body, id=install("talker", TALKER))
    assert results == ["0", "1", "2", "3", "4"]
    assert "ValueError: no luck" in error


async def test_it_launches_without_listening(server: Server, upstream: Upstream, install: Install) -> None:
    body = """
        await client.authenticate("me")
        process = await client.launch_process(given["id"], {}, capture_outputs=False)
        return process.process_id
    """
    assert await upstream.run(server.url, body, id=install("talker", TALKER)) == ""


async def test_it_asks_for_figures(server: Server, upstream: Upstream) -> None:
    body = """
        await client.authenticate("me")
        return [await client.query("model_status", ""), await client.query("the weather", "")]
    """
    (ok, figures), (nothing_ok, nothing) = await upstream.run(server.url, body)
    assert ok
    assert '"embedded_model.kv_pages_total"' in figures
    assert not nothing_ok
    assert nothing.startswith("unknown-subject: ")


async def test_it_launches_daemons(
    server: Server, upstream: Upstream, install: Install, answering_program: str
) -> None:
    body = """
        await client.authenticate("me")
        await client.launch_daemon(given["id"], given["port"])
        try:
            await client.launch_daemon(given["other"], given["port"])
        except Exception as error:
            return str(error)
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    refused = await upstream.run(server.url, body, id=answering_program, other=install("talker", TALKER), port=port)
    assert "no-handler" in refused
    async with httpcore2.AsyncConnectionPool() as pool:
        assert (await pool.request("GET", f"http://127.0.0.1:{port}/count")).content == b"0\n1\n2\n"
    await server.service.daemons.close()


async def test_it_gets_files_that_waited_for_it(server: Server, upstream: Upstream, install: Install) -> None:
    text = """
        from inferlet import session

        async def main(input):
            for number in range(3):
                session.send_file(bytes(number))
            await session.receive()
    """
    body = """
        await client.authenticate("me")
        kinds = []
        for _ in range(5):
            async with PieClient(sys.argv[1]) as first:
                await first.authenticate("me")
                process = await first.launch_process(given["id"], {})
            await asyncio.sleep(0.1)
            back = await client.attach_process(process.process_id)
            await back.signal("end")
            kinds.append([(await back.recv())[0].value for _ in range(4)])
        return kinds
    """
    kinds = await upstream.run(server.url, body, id=install("files", text))
    assert kinds == [["file", "file", "file", "return"]] * 5


class Quiet(SimpleHTTPRequestHandler):
    """Any static web server."""

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


async def test_it_finds_the_newest_version_in_a_registry_of_ours(
    server: Server, upstream: Upstream, tmp_path: Path
) -> None:
    for version in ("0.9.0", "0.10.0"):
        manifest = f'[package]\nname = "listed"\nversion = "{version}"\n'
        publish(Release.of(pack(tmp_path / "listed", TALKER), manifest), tmp_path / "registry")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "registry"))) as registry:
        thread = Thread(target=registry.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{registry.server_address[1]}"
        body = "return [await client.resolve_version(name, given['address']) for name in ('listed', 'x@1.0.0')]"
        resolved = await upstream.run(server.url, body, address=address)
        registry.shutdown()
        thread.join()
    assert resolved == ["listed@0.10.0", "x@1.0.0"]
