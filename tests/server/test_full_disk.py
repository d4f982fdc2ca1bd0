"""A server whose disk is full answers so, stays up, and goes on when there is room again."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.server.running import TALKER, pack
from tests.server.server_process import started

from pie_client import Client, Refused

SAVER = """
from inferlet import Context, Model


async def main(input):
    with Context(Model.default()) as context:
        context.append_text("something to keep")
        await context.flush()
        context.save("kept")
        return context.seq_len
"""


def manifest(name: str) -> str:
    return f'[package]\nname = "{name}"\nversion = "0.1.0"\n'


@pytest.mark.parametrize(("room", "told"), [(0, "io-error"), (20_000, "snapshot-not-saved")])
async def test_a_full_disk_is_told_and_nothing_else_suffers(
    room: int, told: str, tmp_path: Path, cache_dir: Path, runner_wasm: Path
) -> None:
    talker, saver = pack(tmp_path / "talker", TALKER), pack(tmp_path / "saver", SAVER)
    large = pack(tmp_path / "large", "# " + "long " * 10_000 + TALKER)
    with started(tmp_path / "home", cache_dir) as server:
        async with Client(server.url) as client:
            await client.authenticate("me")
            await client.install_program(talker, manifest("talker"))
            await client.install_program(saver, manifest("saver"))
            assert await client.run_processes("talker", [{"value": 1}]) == [1]
            num_files = server.num_files()
            server.limit_files_to(room)
            for _ in range(3):
                with pytest.raises(Refused, match=r"^(program-not-stored|store-unusable): "):
                    await client.install_program(large, manifest("large"))
                with pytest.raises(Refused, match=rf"^{told}: "):
                    await client.run_processes("saver", [{}])
                assert await client.run_processes("talker", [{"value": 2}]) == [2]
            assert not await client.check_program("large@0.1.0")
            server.limit_files_to(1 << 40)
            await client.install_program(large, manifest("large"))
            assert await client.run_processes("large", [{"value": 3}]) == [3]
            (length,) = await client.run_processes("saver", [{}])
            assert length > 1
            assert server.num_files() <= num_files + 2
