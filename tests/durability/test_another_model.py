"""A context that was saved with one model is refused by a server of another, which names both."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.server.running import pack
from tests.server.server_process import started

from pie.config import embedded_model
from pie_client import Client, Refused

SAVE = """
from inferlet import Context, Model


async def main(input):
    with Context(Model.default()) as context:
        context.append_text("something to keep")
        await context.flush()
        context.save("kept")
        return context.seq_len
"""
OPEN = """
from inferlet import Context, Model


async def main(input):
    with Context.open(Model.default(), "kept") as context:
        return context.seq_len
"""


def manifest(name: str) -> str:
    return f'[package]\nname = "{name}"\nversion = "0.1.0"\n'


async def test_a_restart_with_another_model_refuses_what_was_saved_with_the_first(
    tmp_path: Path, cache_dir: Path, runner_wasm: Path
) -> None:
    other = changed_model(tmp_path / "other-model")
    with started(tmp_path / "home", cache_dir) as server:
        async with Client(server.url) as client:
            await client.authenticate("me")
            await client.install_program(pack(tmp_path / "save", SAVE), manifest("save"))
            await client.install_program(pack(tmp_path / "open", OPEN), manifest("open"))
            (length,) = await client.run_processes("save", [{}])
    refused = "snapshot-unusable: the saved context 'kept' cannot be opened with model 'other-model': "
    with started(tmp_path / "home", cache_dir, PIE_MODEL_PATH=str(other)) as server:
        async with Client(server.url) as client:
            await client.authenticate("me")
            with pytest.raises(Refused, match=f"{refused}it was made by model 'embedded_model'"):
                await client.run_processes("open", [{}])
    with started(tmp_path / "home", cache_dir) as server:
        async with Client(server.url) as client:
            await client.authenticate("me")
            assert await client.run_processes("open", [{}]) == [length]


def changed_model(folder: Path) -> Path:
    """The embedded model with one weight changed: all sizes fit, so nothing but its fingerprint tells."""
    folder.mkdir()
    for file in embedded_model().iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (weights,) = folder.glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    return folder
