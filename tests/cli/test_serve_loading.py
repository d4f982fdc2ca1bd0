"""`pie serve` as a process while its model is loaded: it listens at once, and clients that ask again are answered."""

from __future__ import annotations

import asyncio
import signal
import socket
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import openai
import pytest
from tests.cli.shell import LONG_S, Pie, Shell, read_until, wait_for
from tests.server.held_file import HeldModel

from pie.testing import write_random_model


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def ask(port: int, path: str) -> tuple[int, str]:
    """Status and body of a GET request; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=LONG_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return 0, ""


async def test_a_client_that_asks_again_is_answered_when_the_model_is_loaded(shell: Shell, tmp_path: Path) -> None:
    held, port = HeldModel(write_random_model(tmp_path / "small", seed=3)), free_port()
    words = ("serve", "--port", str(port), "--no-auth", "--model", str(held.folder))
    with (tmp_path / "log").open("wb") as log, shell.start(*words, stderr=log.fileno()) as process:
        await asyncio.to_thread(wait_for, lambda: ask(port, "/healthz") == (200, "ok\n"))
        assert await asyncio.to_thread(ask, port, "/readyz") == (503, "not ready: model small is loading\n")
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=10) as client:
            with pytest.raises(openai.InternalServerError) as refused:
                await client.with_options(max_retries=0).completions.create(model="small", prompt="a", max_tokens=3)
            assert (refused.value.status_code, refused.value.code) == (503, "MODEL_LOADING")
            asking = asyncio.create_task(client.completions.create(model="small", prompt="a", max_tokens=3))
            await asyncio.to_thread(wait_for, lambda: (tmp_path / "log").read_text().count("model-loading") == 2)
            assert not asking.done()
            await asyncio.to_thread(held.release)
            assert (await asking).usage is not None
        line = await asyncio.to_thread(read_until, process, b"\n")
        assert line == f"Serving small at ws://127.0.0.1:{port}\n".encode()
        assert await asyncio.to_thread(ask, port, "/readyz") == (200, "ready\n")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, LONG_S) == 0
        shell.everything_is_gone(process)


def test_a_signal_while_a_model_is_loaded_ends_the_server(shell: Shell, tmp_path: Path) -> None:
    held, port = HeldModel(write_random_model(tmp_path / "small", seed=3)), free_port()
    with shell.start("serve", "--port", str(port), "--no-auth", "--model", str(held.folder)) as process:
        wait_for(lambda: ask(port, "/readyz")[0] == 503)
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: ask(port, "/readyz")[0] == 0)
        held.release()
        assert process.wait(LONG_S) == 143
        assert process.stdout is not None
        assert process.stdout.read() == b""
        shell.everything_is_gone(process)


def test_a_model_that_hangs_is_ended_by_a_second_signal(shell: Shell, tmp_path: Path) -> None:
    held, port = HeldModel(write_random_model(tmp_path / "small", seed=3)), free_port()
    with shell.start("serve", "--port", str(port), "--no-auth", "--model", str(held.folder)) as process:
        wait_for(lambda: ask(port, "/readyz")[0] == 503)
        process.send_signal(signal.SIGINT)
        wait_for(lambda: ask(port, "/readyz")[0] == 0)
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG_S) == 130


@pytest.mark.timeout(400)
@pytest.mark.slow
def test_a_signal_while_kernels_are_compiled_ends_the_server_and_the_compiler(shell: Shell, tmp_path: Path) -> None:
    cache = tmp_path / "cold"
    cold = replace(shell, environment={**shell.environment, "PIE_CACHE": str(cache)})
    with cold.start("serve", "--port", "0", "--no-auth") as process:
        wait_for(lambda: any(cache.glob("kernels/.building-*")))
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG_S) == 130
        cold.everything_is_gone(process)
    assert not list((cache / "kernels").iterdir())


def test_a_server_whose_only_model_cannot_be_loaded_ends_with_its_error(pie: Pie, tmp_path: Path) -> None:
    weights = write_random_model(tmp_path / "small") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    left = pie("serve", "--port", "0", "--no-auth", "--model", str(weights.parent))
    assert (left.code, left.out) == (1, "")
    assert left.err.splitlines()[-1].startswith(f"error[bad-weights]: {weights} cannot be read: ")
