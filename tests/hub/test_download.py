"""Downloads from a hub on loopback: what arrives, what is refused, and what is left when they go wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.cli.shell import Pie, wait_for
from tests.hub.hub_server import COMMIT, HubServer

from pie.config import Hub
from pie.errors import ModelError
from pie.hub.cache import cached_models, is_complete
from pie.hub.download import Watcher, download_model
from pie.hub.names import find_model, parse_id
from pie.testing import ModelSizes, write_random_model

NAME = "acme/tiny"


def download(hub: Hub, name: str = NAME, watcher: Watcher | None = None) -> Path:
    wanted = parse_id(name)
    assert wanted is not None
    return download_model(wanted, hub, watcher or Watcher(lambda _path: None, lambda _arrived, _total: None))


def test_what_pie_reads_arrives_and_nothing_else(hub: Hub, hub_server: HubServer) -> None:
    path = download(hub)
    assert {file.name for file in path.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert (path / "model.safetensors").read_bytes() == (hub_server.models[NAME] / "model.safetensors").read_bytes()
    assert find_model(NAME, hub) == find_model(f"{NAME}@{COMMIT}", hub) == path


def test_progress_adds_up_to_all_bytes(hub: Hub) -> None:
    heard: list[tuple[int, int]] = []
    path = download(hub, watcher=Watcher(lambda _path: None, lambda arrived, total: heard.append((arrived, total))))
    assert max(heard)[0] == max(heard)[1]
    assert heard[-1][1] == sum(file.stat().st_size for file in path.iterdir() if file.name != "config.json")


def test_a_model_that_is_there_is_not_fetched_again(hub: Hub, hub_server: HubServer) -> None:
    first = download(hub)
    hub_server.requests.clear()
    assert download(hub) == first
    assert hub_server.fetched() == []


def test_a_broken_connection_goes_on_where_it_broke(hub: Hub, hub_server: HubServer) -> None:
    large = ModelSizes(hidden_size=512, intermediate_size=2560)  # the hub's library keeps what arrives by 10 MB
    write_random_model(hub_server.models[NAME], sizes=large)
    hub_server.drops = 1
    path = download(hub)
    assert (path / "model.safetensors").read_bytes() == (hub_server.models[NAME] / "model.safetensors").read_bytes()
    assert hub_server.ranges == ["bytes=10485760-"]


def test_what_had_arrived_is_not_fetched_again_after_a_download_that_was_stopped(
    hub: Hub, hub_server: HubServer
) -> None:
    class Stop(Exception):
        pass

    def stop(arrived: int, total: int) -> None:
        if arrived > total // 2:
            raise Stop

    with pytest.raises(Stop):
        download(hub, watcher=Watcher(lambda _path: None, stop))
    assert list(hub.cache.rglob("*.incomplete")) == []
    with pytest.raises(ModelError, match="model-not-found"):
        find_model(NAME, hub)
    assert not any(is_complete(model, hub.cache) for model in cached_models(hub.cache))
    before = set(hub_server.fetched())
    hub_server.requests.clear()
    path = download(hub)
    assert find_model(NAME, hub) == path
    assert "config.json" in before - set(hub_server.fetched())


def test_a_revision_has_a_name_of_its_own(hub: Hub, hub_server: HubServer) -> None:
    download(hub, f"{NAME}@{COMMIT}")
    assert [model.name for model in cached_models(hub.cache)] == [f"{NAME}@{COMMIT}"]
    with pytest.raises(ModelError) as caught:
        find_model(NAME, hub)
    assert (caught.value.code, "pie model download acme/tiny" in caught.value.remedy) == ("model-not-found", True)


def test_a_model_that_cannot_be_run_is_refused_before_its_weights_are_fetched(pie: Pie, hub_server: HubServer) -> None:
    config = hub_server.models[NAME] / "config.json"
    config.write_text(config.read_text().replace("Qwen3ForCausalLM", "GPT2LMHeadModel"))
    assert "error[unknown-architecture]: GPT2LMHeadModel" in pie("model", "download", NAME).err
    assert hub_server.fetched() == ["config.json"]


@pytest.mark.parametrize(
    ("status", "error_code", "told"),
    [
        (401, "GatedRepo", "error[model-gated]: acme/closed is gated, and it asks for a token. Ask for access at http"),
        (403, "GatedRepo", "error[model-gated]: acme/closed is gated, and the token has no access to it."),
        (401, "RepoNotFound", "error[model-not-found]: http"),
        (500, "", "error[hub-failed]: http"),
        (429, "", "error[hub-failed]: http"),
    ],
)
def test_what_the_hub_refuses_is_told_by_its_reason(
    status: int, error_code: str, told: str, pie: Pie, hub_server: HubServer
) -> None:
    hub_server.gated["acme/closed"] = (status, error_code)
    left = pie("model", "download", "acme/closed")
    assert (left.code, left.err.splitlines()[-1].startswith(told)) == (1, True), left.err


def test_a_name_or_a_revision_that_the_hub_does_not_know_is_not_found(pie: Pie, hub_server: HubServer) -> None:
    assert "error[model-not-found]" in pie("model", "download", "acme/nothing").err
    left = pie("model", "download", NAME, "--revision", "v9")
    assert "error[model-not-found]: acme/tiny has no revision v9." in left.err


@pytest.mark.parametrize("name", ["tiny", "../tiny", "a/b/c", "a--b/c", "acme/ti ny", "/acme/tiny"])
def test_a_word_that_names_no_model_is_not_asked_for(name: str, pie: Pie, hub_server: HubServer) -> None:
    assert "error[bad-model-name]" in pie("model", "download", name).err
    assert hub_server.requests == []


def test_pickled_weights_are_never_fetched(pie: Pie, hub_server: HubServer) -> None:
    (hub_server.models[NAME] / "model.safetensors").unlink()
    left = pie("model", "download", NAME)
    assert "error[pickle-weights]: acme/tiny has only pickled weights (pytorch_model.bin)" in left.err
    assert hub_server.fetched() == []
    (hub_server.models[NAME] / "pytorch_model.bin").unlink()
    assert "error[no-weights]" in pie("model", "download", NAME).err


def test_without_a_network_the_error_says_so(pie: Pie, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{nobody.getsockname()[1]}")
    left = pie("model", "download", NAME)
    assert (left.code, left.err.count("\n")) == (1, 1)
    assert left.err.startswith("error[network-unavailable]: http://127.0.0.1:")


def test_a_full_disk_is_told_before_anything_is_fetched(
    hub: Hub, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(hub.cache.parent.parent)
    monkeypatch.setattr("pie.hub.download.shutil.disk_usage", lambda _path: usage._replace(free=1000))
    with pytest.raises(ModelError, match="not-enough-disk: acme/tiny needs"):
        download(hub)
    assert hub_server.fetched() == ["config.json"]


def test_ctrl_c_leaves_nothing_that_could_be_taken_for_a_model(hub: Hub, hub_server: HubServer) -> None:
    hub_server.holds = threading.Event()
    command = [sys.executable, "-m", "pie", "model", "download", NAME]
    process = subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        wait_for(lambda: "model.safetensors" in hub_server.fetched())
        process.send_signal(signal.SIGINT)
        hub_server.holds.set()
        assert process.wait(100) == 130
        assert process.communicate() == (b"", b"")
    assert list(hub.cache.rglob("*.incomplete")) == []
    with pytest.raises(ModelError):
        find_model(NAME, hub)
    assert not any(is_complete(model, hub.cache) for model in cached_models(hub.cache))


def test_a_downloaded_model_is_used_by_its_name(pie: Pie, hub_server: HubServer, tmp_path: Path) -> None:
    assert "Downloaded acme/tiny to" in pie("model", "download", NAME).out
    (tmp_path / "main.py").write_text("from inferlet import runtime\nasync def main(input): return runtime.models()\n")
    hub_server.requests.clear()
    left = pie("run", str(tmp_path / "main.py"), "--model", NAME)
    assert json.loads(left.out) == [NAME], left.err
    assert hub_server.requests == []
