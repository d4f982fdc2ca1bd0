"""Adapters that take long to load: clients of SIE are told to ask again, and find it then; all others wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.adapters.folders import write_peft
from tests.running import RunProgram
from tests.server.held_file import HeldFile
from tests.server.surfaces.client import CHAT, Reply, chat_body, post
from tests.server.surfaces.test_openapi import check_reply
from tests.server.test_loading import SDK, ask

from pie.errors import AdapterError
from pie.host.adapter_store import saved_adapters
from pie.runtime import Runtime
from pie.server.adapter_loads import MAX_LOADS, AdapterLoads
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROGRAM = "from inferlet import Adapter, Model\nasync def main(input):\n    Adapter.{}(Model.default(), 'dialect').{}"
BODY: dict[str, Any] = chat_body("embedded_model", temperature=0, max_tokens=8, lora_adapter="dialect")


@pytest_asyncio.fixture(loop_scope="session")
async def file(runtime: Runtime, run_program: RunProgram, peft_folder: Path) -> AsyncIterator[Path]:
    """The file of the adapter `dialect`."""
    write_peft(peft_folder, "dialect", 1)
    await run_program(PROGRAM.format("create", "load('dialect')"))
    (saved,) = saved_adapters(runtime.model.adapter_dir.parent / "named-adapters")
    yield saved.path
    await run_program(PROGRAM.format("open", "destroy()"))


@pytest.fixture
def held(file: Path) -> Iterator[HeldFile]:
    held = HeldFile(file)
    yield held
    held.restore()


@pytest_asyncio.fixture(loop_scope="session")
async def server(runtime: Runtime, tmp_path: Path) -> AsyncIterator[Server]:
    """A server of its own, which lets adapters go when it ends."""
    settings = ServerSettings(port=0, authentication=False, grace_s=0)
    with listen(settings) as listening:
        async with serve(runtime, settings, listening, home=tmp_path) as server:
            yield server


def text(reply: Reply) -> str:
    assert reply.status == 200
    content: str = reply.body["choices"][0]["message"]["content"]
    return content


async def test_a_client_of_sie_asks_again_until_the_adapter_is_there(server: Server, file: Path) -> None:
    expected = text(await post(server, CHAT, BODY))
    held = HeldFile(file)
    for _ in range(2):
        reply = await ask(server, CHAT, BODY, SDK)
        check_reply(CHAT, reply)
        assert reply.error == (503, "LORA_LOADING", None)
        assert (reply.headers["retry-after"], reply.headers["x-sie-error-code"]) == ("1", "LORA_LOADING")
    waiting = asyncio.create_task(post(server, CHAT, BODY))
    await asyncio.sleep(0)
    await asyncio.to_thread(held.release)
    assert text(await waiting) == expected
    again = HeldFile(file)  # which is not read again: the adapter was kept
    assert text(await ask(server, CHAT, BODY, SDK)) == expected
    again.restore()


async def test_an_adapter_that_is_there_soon_is_waited_for(server: Server, file: Path) -> None:
    assert file.is_file()
    assert text(await ask(server, CHAT, BODY, SDK)) == text(await post(server, CHAT, BODY))


async def test_an_adapter_that_is_not_there_is_told_as_to_others(server: Server) -> None:
    assert (await ask(server, CHAT, BODY, SDK)).error == (400, "unknown_lora", None)
    assert server.service.adapter_loads.num_loads == 0


async def test_what_is_kept_is_let_go(runtime: Runtime, file: Path) -> None:
    assert file.is_file()
    adapters = runtime.model.adapters
    loads = AdapterLoads(kept_s=0.01)
    await loads.wait(runtime.model, "local", "dialect")
    assert adapters.weights.num_held == 1
    async with asyncio.timeout(10):
        while adapters.weights.num_held:
            await asyncio.sleep(0.001)
    assert loads.num_loads == 0


async def test_closing_lets_go_of_what_is_kept_and_of_what_is_loaded(runtime: Runtime, file: Path) -> None:
    loads = AdapterLoads(patience_s=60, kept_s=1000)
    await loads.wait(runtime.model, "local", "dialect")
    loads.close()
    assert (loads.num_loads, runtime.model.adapters.weights.num_held) == (0, 0)
    loads = AdapterLoads(patience_s=0.01, kept_s=1000)
    held = HeldFile(file)
    with pytest.raises(AdapterError, match="adapter-loading"):
        await loads.wait(runtime.model, "local", "dialect")
    loads.close()
    await asyncio.to_thread(held.release)
    adapters = runtime.model.adapters
    opened = await adapters.open("local", "dialect")  # after what was given up
    assert opened is not None
    adapters.close(opened)
    assert (loads.num_loads, adapters.weights.num_held) == (0, 0)


async def test_a_damaged_file_is_told_by_whoever_uses_it(server: Server, file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(b"damaged")
    assert (await ask(server, CHAT, BODY, SDK)).body["error"]["code"] == "adapter_unusable"
    assert server.service.adapter_loads.num_loads == 0
    file.write_bytes(content)


async def test_whoever_wants_one_more_than_may_be_loaded_waits_for_it(runtime: Runtime, held: HeldFile) -> None:
    loads = AdapterLoads(patience_s=0.01)
    others = [loads.wait(runtime.model, f"user {number}", "none") for number in range(MAX_LOADS)]
    told = await asyncio.gather(*others, loads.wait(runtime.model, "local", "dialect"), return_exceptions=True)
    assert told[-1] is None  # or it would be told that the file is being read, which is held up
    held.restore()
    async with asyncio.timeout(10):
        while loads.num_loads:
            await asyncio.sleep(0.001)
