"""A model that transformers runs, as users meet it: listed, inspected, downloaded and run by the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tests.cli.shell import LONG_S, Pie, write_program
from tests.engine.foreign_models import write_foreign
from tests.hub.hub_server import HubServer, serve_hub

from pie.text.tokenizer import Tokenizer

PROGRAM = """from inferlet import Context, Model, Sampler
async def main(input):
    with Context(Model.default()) as context:
        context.append_text(input["prompt"])
        wishes = {"max_tokens": 12, "auto_flush": False}
        return [await context.generate(Sampler.argmax(), **wishes).collect_tokens() for _ in "ab"]
"""


@pytest.fixture
def hub_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with serve_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def test_such_a_model_is_told_to_run_and_what_it_takes(pie: Pie, tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "model", "gpt2")
    found = json.loads(pie("model", "inspect", str(path), "--json").out)
    parameters = sum(tensor.numel() for tensor in load_file(path / "model.safetensors").values())
    assert (found["can_run"], found["why_not"]) == (True, None)
    assert (found["architecture"], found["family"], found["layers"]) == ("GPT2LMHeadModel", "gpt2", 2)
    assert (found["context_length"], found["vocab_size"], found["parameters"]) == (512, 320, parameters)
    assert (found["kv_bytes_per_token"], found["weight_bytes"]) == (2 * 2 * 4 * 16 * 4, {"original": 4 * parameters})


def test_such_a_model_generates_what_transformers_does(pie: Pie, tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "model", "gpt_neox")
    module = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
    tokens = Tokenizer.load(path).encode("The cat sat.")
    expected = module.generate(torch.tensor([tokens]), max_new_tokens=24, do_sample=False, eos_token_id=None)
    left = pie(
        "run", write_program(tmp_path, PROGRAM), "--model", str(path), "--input", json.dumps({"prompt": "The cat sat."})
    )
    assert left.code == 0, left.err
    first, second = json.loads(left.out)
    assert first + second == expected[0, len(tokens) :].tolist()


def test_such_a_model_is_downloaded_and_one_that_pages_cannot_hold_is_not(pie: Pie, hub_server: HubServer) -> None:
    folder = Path("served")
    hub_server.models["acme/neox"] = write_foreign(folder / "neox", "gpt_neox")
    hub_server.models["acme/bloom"] = write_foreign(folder / "bloom", "bloom", {"n_head": 4, "n_layer": 2})
    assert "Downloaded acme/neox" in pie("model", "download", "acme/neox").out
    assert json.loads(pie("model", "inspect", "acme/neox", "--json").out)["can_run"]
    hub_server.requests.clear()
    assert "error[unsupported-architecture]: BloomForCausalLM" in pie("model", "download", "acme/bloom").err
    assert hub_server.fetched() == ["config.json"]


def test_without_transformers_a_listing_says_what_to_install(
    pie: Pie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_foreign(tmp_path / "model", "opt")
    monkeypatch.setitem(sys.modules, "transformers", None)
    found = json.loads(pie("model", "inspect", str(path), "--json").out)
    assert (found["can_run"], found["why_not"]["code"]) == (False, "transformers-not-installed")
    left = pie("run", write_program(tmp_path, PROGRAM), "--model", str(path))
    assert left.err.startswith("error[transformers-not-installed]: OPTForCausalLM is not among")
    assert 'pip install "pie[transformers]"' in left.err


def test_a_model_whose_weights_were_lost_on_the_way_is_refused(pie: Pie, tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "model", "opt")
    shutil.copy(path / "model.safetensors", path / "whole")
    (path / "model.safetensors").write_bytes((path / "whole").read_bytes()[:-1000])
    left = pie("run", write_program(tmp_path, PROGRAM), "--model", str(path))
    assert left.err.startswith(f"error[bad-weights]: {path}/model.safetensors cannot be read"), left.err


def test_nothing_that_a_directory_names_is_asked_of_the_hub(tmp_path: Path, hub_server: HubServer) -> None:
    path = write_foreign(tmp_path / "model", "gpt2")
    config = json.loads((path / "config.json").read_text())
    elsewhere = {"_name_or_path": "acme/base", "auto_map": {"AutoModelForCausalLM": "acme/base--code.Model"}}
    ours = {"_attn_implementation": "acme/kernel", "attn_implementation": "acme/kernel", "use_kernels": True}
    (path / "config.json").write_text(json.dumps(config | elsewhere | ours))
    (path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "acme/base", "peft_type": "LORA"}))
    (path / "generation_config.json").write_text(json.dumps({"custom_generate": "acme/base", "eos_token_id": 2}))
    program = write_program(tmp_path, PROGRAM)
    command = [sys.executable, "-m", "pie", "run", program, "--model", str(path), "--input", '{"prompt": "a"}']
    left = subprocess.run(command, env=dict(os.environ), capture_output=True, timeout=LONG_S, check=False)
    assert left.returncode == 0, left.stderr
    assert [len(tokens) for tokens in json.loads(left.stdout)] == [12, 12]
    assert hub_server.requests == []
