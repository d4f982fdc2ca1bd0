"""`pie serve` as a process: what it prints, how it is stopped, what it refuses."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.shell import LONG_S, Pie, Shell, is_mapped, read_until, wait_for
from tests.server.running import TALKER, pack

from pie_client import Client, ConnectionLost, Event, Refused

READY = re.compile(rb"Serving embedded_model at (?P<url>ws://\S+)(?: \(token in (?P<token>\S+)\))?\n")
MANIFEST = '[package]\nname = "talker"\nversion = "0.1.0"\n'


def ready(process: subprocess.Popen[bytes]) -> tuple[str, Path | None]:
    """Address and token file of a server, once it has printed them."""
    match = READY.fullmatch(read_until(process, b"\n"))
    assert match is not None
    return match["url"].decode(), Path(match["token"].decode()) if match["token"] else None


def answer(url: str, path: str) -> int:
    """The status of a GET request."""
    host, _, port = url.removeprefix("ws://").partition(":")
    with socket.create_connection((host, int(port)), timeout=LONG_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return int(connection.recv(100).split()[1])


async def test_a_server_tells_its_address_and_lets_processes_finish_at_sigterm(shell: Shell, tmp_path: Path) -> None:
    with shell.start("serve", "--port", "0") as process:
        url, token = await asyncio.to_thread(ready, process)
        assert token is not None
        assert token.stat().st_mode & 0o777 == 0o600
        async with Client(url) as client:
            await client.authenticate(token=token.read_text().strip())
            await client.install_program(pack(tmp_path / "talker", TALKER), MANIFEST)
            running = await client.launch_process("talker", {"hear": 1, "value": "finished"})
            assert answer(url, "/readyz") == 200
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(LONG_S):
                while await asyncio.to_thread(answer, url, "/readyz") != 503:
                    await asyncio.sleep(0.01)
            assert answer(url, "/healthz") == 200
            with pytest.raises(Refused) as refused:
                await client.launch_process("talker")
            assert refused.value.code == "shutting-down"
            await running.signal("now")
            assert [event async for event in running] == [Event("message", "heard now"), Event("return", '"finished"')]
            assert await asyncio.to_thread(process.wait, LONG_S) == 0
            with pytest.raises(ConnectionLost):
                await client.ping()
        assert not token.exists()
        shell.everything_is_gone(process)


async def test_processes_that_do_not_finish_in_time_are_ended(shell: Shell, tmp_path: Path) -> None:
    shell = replace(shell, environment={**shell.environment, "PIE_SERVER_GRACE_S": "0.2"})
    with shell.start("serve", "--port", "0", "--no-auth") as process:
        url, token = await asyncio.to_thread(ready, process)
        assert token is None
        async with Client(url) as client:
            await client.authenticate("me")
            await client.install_program(pack(tmp_path / "talker", TALKER), MANIFEST)
            running = await client.launch_process("talker", {"hear": 1})
            process.send_signal(signal.SIGTERM)
            last = await running.recv()
        assert last.kind == "error"
        assert str(last.value).startswith("shutting-down: ")
        assert await asyncio.to_thread(process.wait, LONG_S) == 0
        shell.everything_is_gone(process)


async def test_the_log_tells_what_quantizing_the_weights_changed(shell: Shell) -> None:
    with shell.start("serve", "--port", "0", "--no-auth", "--weights", "int8") as process:
        url, _ = await asyncio.to_thread(ready, process)
        assert await asyncio.to_thread(answer, url, "/readyz") == 200
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, LONG_S) == 0
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert "embedded_model: int8 weights differ by 0." in said
    assert "MB in the place of 5.2 MB" in said


async def test_a_second_signal_ends_a_server_at_once(shell: Shell, tmp_path: Path) -> None:
    with shell.start("serve", "--port", "0", "--no-auth") as process:
        url, _ = await asyncio.to_thread(ready, process)
        async with Client(url) as client:
            await client.authenticate("me")
            await client.install_program(pack(tmp_path / "talker", TALKER), MANIFEST)
            await client.launch_process("talker", {"hear": 1})
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(LONG_S):
                while await asyncio.to_thread(answer, url, "/readyz") != 503:
                    await asyncio.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, LONG_S) == 143


def test_a_busy_port_is_told_before_anything_is_loaded(pie: Pie) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        left = pie("serve", "--port", str(busy.getsockname()[1]))
    assert left.code == 1
    assert "error[port-in-use]: " in left.err


@pytest.mark.parametrize("host", ["not a host", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_told(pie: Pie, host: str) -> None:
    left = pie("serve", "--port", "0", "--host", host)
    assert left.code == 1
    assert "error[cannot-listen]: " in left.err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.com"])
def test_without_authentication_only_loopback_is_served(pie: Pie, host: str) -> None:
    left = pie("serve", "--no-auth", "--host", host)
    assert left.code == 1
    assert "error[authentication-needed]: " in left.err


def test_a_file_of_users_that_others_may_read_is_told(pie: Pie, tmp_path: Path) -> None:
    users = tmp_path / "home" / "authorized_users.toml"
    users.parent.mkdir()
    users.write_text("")
    users.chmod(0o644)
    left = pie("serve", "--port", "0")
    assert left.code == 1
    assert "error[users-unsafe]: " in left.err


@pytest.mark.parametrize("library", ["libtorch_cpu", "kernels-"])
def test_ctrl_c_while_loading_ends_the_server(shell: Shell, library: str) -> None:
    with shell.start("serve", "--port", "0", "--no-auth") as process:
        wait_for(lambda: is_mapped(process, library))
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG_S) in (130, 0)  # 0 if it was ready just then
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
        shell.everything_is_gone(process)


@pytest.mark.timeout(400)
@pytest.mark.slow
def test_ctrl_c_while_the_runner_is_built_ends_the_server(shell: Shell, tmp_path: Path) -> None:
    cache = tmp_path / "cold"
    cold = replace(shell, environment={**shell.environment, "PIE_CACHE": str(cache)})
    with cold.start("serve", "--port", "0", "--no-auth") as process:
        wait_for(lambda: any(cache.glob("runner/pie-runner-*")))
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG_S) == 130
        cold.everything_is_gone(process)


def test_a_wrong_configuration_is_told_before_the_port_is_taken(pie: Pie, tmp_path: Path) -> None:
    file = tmp_path / "home" / "config.toml"
    file.parent.mkdir()
    file.write_text("[server]\nprot = 1\n")
    left = pie("serve")
    assert left.code == 1
    assert "server.prot. Did you mean server.port?" in left.err
