"""`pie config`, `pie doctor`, `pie check`, `pie version` and `pie completion`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.shell import Pie, write_program
from wasmtime import wat2wasm

from pie import __version__
from pie.inspection import inspect_gpu


def test_init_writes_a_file_once(pie: Pie, tmp_path: Path) -> None:
    assert pie("config", "init").code == 0
    assert "[server]" in (tmp_path / "home" / "config.toml").read_text()
    left = pie("config", "init")
    assert (left.code, "error[already-there]" in left.err) == (1, True)
    assert pie("config", "init", "--force").code == 0


def test_a_key_that_was_set_is_shown_with_where_it_is_from(pie: Pie) -> None:
    assert pie("config", "set", "server.port", "9000").code == 0
    assert pie("config", "show", "server.port").out == "9000\n"
    assert json.loads(pie("config", "show", "server.port", "--json").out) == {
        "key": "server.port",
        "value": 9000,
        "from": "file",
    }
    rows = json.loads(pie("config", "show", "--json").out)
    assert {row["from"] for row in rows} == {"file", "default"}
    assert any(line.split() == ["server.port", "9000", "file"] for line in pie("config", "show").out.splitlines())


def test_a_key_that_the_environment_sets_is_said_so(pie: Pie, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIE_SERVER_PORT", "9001")
    assert "PIE_SERVER_PORT" in pie("config", "set", "server.port", "9000").err
    assert pie("config", "show", "server.port").out == "9001\n"


def test_a_key_with_a_typo_is_told_the_nearest(pie: Pie) -> None:
    for words in (("set", "server.prot", "1"), ("show", "server.prot")):
        left = pie("config", *words)
        assert (left.code, left.out) == (1, "")
        assert left.err == "error[unknown-setting]: there is no setting server.prot. Did you mean server.port?\n"


def test_every_key_is_listed(pie: Pie) -> None:
    listed = json.loads(pie("config", "keys", "--json").out)
    assert [entry["variable"] for entry in listed if entry["key"] == "model.kv_pages"] == ["PIE_MODEL_KV_PAGES"]
    assert len(pie("config", "keys").out.splitlines()) == len(listed)


def test_a_program_runs_as_the_file_says(pie: Pie, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text(f"[model]\npath = '{tmp_path}/nowhere'\n")
    left = pie("run", write_program(tmp_path, "async def main(input): return 1\n"))
    assert left.code == 1
    assert "nowhere" in left.err


def test_a_wrong_file_ends_a_run_before_anything_is_loaded(pie: Pie, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text("[limits]\nmemory = 1\n")
    left = pie("run", write_program(tmp_path, "async def main(input): return 1\n"))
    assert left.err.count("\n") == 1
    assert "there is no setting limits.memory. Did you mean limits.memory_mb?" in left.err


def test_a_healthy_machine_has_nothing_missing(pie: Pie) -> None:
    left = pie("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(left.out)}
    assert left.code == 0
    assert {
        "python",
        "torch",
        "compiler",
        "javascript",
        "mcp",
        "transformers",
        "model",
        "home",
        "cache",
        "port",
    } <= findings.keys()
    assert not [finding for finding in findings.values() if finding["state"] == "missing"]
    assert all(finding["remedy"] for finding in findings.values() if finding["state"] == "missing")


@pytest.mark.skipif(inspect_gpu().problem is None, reason="there is a GPU here")
def test_a_gpu_that_is_asked_for_and_missing_is_told(pie: Pie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = {finding["name"]: finding for finding in json.loads(pie("doctor", "--json").out)}
    assert findings["gpu"]["state"] == "note"
    code = inspect_gpu().problem.code  # type: ignore[union-attr]
    monkeypatch.setenv("PIE_MODEL_BACKEND", "flashinfer")
    left = pie("run", write_program(tmp_path, "async def main(input): return 1\n"))
    assert left.code == 1
    assert f"error[{code}]: " in left.err


def test_what_is_missing_is_told_with_a_remedy(pie: Pie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("PIE_MODEL_PATH", str(tmp_path / "empty"))
    snapshots = tmp_path / "home" / "snapshots" / "someone"
    snapshots.mkdir(parents=True)
    (snapshots / "x.safetensors").write_bytes(b"rubbish!")
    left = pie("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(left.out)}
    assert left.code == 1
    assert findings["model"]["state"] == "missing"
    assert "config.json" in findings["model"]["found"]
    assert "g++" in findings["compiler"]["remedy"]
    assert "1 of 1" in findings["saved contexts"]["found"]


def test_a_library_that_only_some_need_is_noted(pie: Pie, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    findings = {finding["name"]: finding for finding in json.loads(pie("doctor", "--json").out)}
    assert findings["transformers"]["state"] == "note"
    assert "pie[transformers]" in findings["transformers"]["remedy"]


def test_a_model_that_is_nowhere_is_a_finding(pie: Pie, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIE_MODEL_PATH", "acme/nothing")
    findings = {finding["name"]: finding for finding in json.loads(pie("doctor", "--json").out)}
    assert findings["model"]["state"] == "missing"
    assert findings["model"]["remedy"] == "Fetch it by `pie model download acme/nothing`."
    assert findings["home"]["state"] != "missing"


def test_a_wrong_configuration_is_a_finding(pie: Pie, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIE_SERVER_PORT", "high")
    left = pie("doctor")
    assert left.code == 1
    assert "PIE_SERVER_PORT" in left.out


def test_a_port_in_use_is_noted(pie: Pie, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("PIE_SERVER_PORT", str(server.getsockname()[1]))
        findings = {finding["name"]: finding for finding in json.loads(pie("doctor", "--json").out)}
    assert findings["port"]["state"] == "note"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("async def main(input): return 1\n", None),
        ("from other import main\n", None),
        ("def helper(): pass\n", "error[no-main]"),
        ("async def main(input:\n", "error[bad-source]: main.py, line 1"),
    ],
)
def test_a_program_is_checked_without_being_run(text: str, told: str | None, pie: Pie, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("async def main(input): raise SystemExit\n")
    left = pie("check", write_program(tmp_path, text))
    assert left.code == (0 if told is None else 1)
    assert (told or "all can be read") in left.out + left.err


def test_a_component_is_checked_without_being_run(pie: Pie, tmp_path: Path) -> None:
    (tmp_path / "x.wasm").write_bytes(bytes(wat2wasm("(component)")))
    assert "error[missing-export]" in pie("check", str(tmp_path / "x.wasm")).err
    (tmp_path / "x.wasm").write_bytes(b"rubbish")
    assert pie("check", str(tmp_path / "x.wasm")).code == 1


def test_versions_are_told(pie: Pie) -> None:
    assert pie("version").out.startswith(f"pie {__version__}\npython 3.")
    assert json.loads(pie("version", "--json").out)["wasmtime"] == "50.0.1"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_given_its_lines(shell: str, pie: Pie) -> None:
    assert "_PIE_COMPLETE" in pie("completion", shell).out


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_a_command() -> None:
    environment = {**os.environ, "_PIE_COMPLETE": "bash_complete", "COMP_WORDS": "pie conf", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from pie.cli import main; main()"], capture_output=True, text=True, env=environment
    )
    assert done.stdout == "plain,config\n"
