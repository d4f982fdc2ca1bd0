"""A hub on loopback with one small model, and a cache of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.shell import Pie
from tests.hub.hub_server import HubServer, serve_hub

from pie.config import Hub
from pie.testing import write_random_model

NAME = "acme/tiny"


@pytest.fixture
def hub_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    folder = write_random_model(tmp_path / "on the hub")
    (folder / "README.md").write_text("not fetched")
    (folder / "pytorch_model.bin").write_bytes(b"never fetched")
    (folder / "original").mkdir()
    (folder / "original" / "model.safetensors").write_bytes(b"not fetched")
    monkeypatch.setenv("PIE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    with serve_hub() as server:
        server.models[NAME] = folder
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def hub(hub_server: HubServer, tmp_path: Path) -> Hub:
    return Hub(tmp_path / "huggingface" / "hub", hub_server.url)


@pytest.fixture
def pie(capfd: pytest.CaptureFixture[str]) -> Pie:
    return Pie(capfd)
