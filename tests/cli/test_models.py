"""`pie model list`, `inspect` and `remove`, with a Hugging Face cache made by hand as the tools lay it out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import get_args

import pytest
from click.shell_completion import CompletionItem
from safetensors.torch import load_file, save_file
from tests.cli.shell import Pie

from pie.cli.completing import models
from pie.cli.model import inspect
from pie.testing import Family, write_random_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    return tmp_path / "huggingface" / "hub"


def put(cache: Path, name: str, *, ref: str = "main", family: Family = "qwen3") -> Path:
    """A random model in the cache, each file a link into its blobs."""
    folder = cache / f"models--{name.replace('/', '--')}"
    snapshot, blobs = folder / "snapshots" / COMMIT, folder / "blobs"
    snapshot.mkdir(parents=True)
    write_random_model(blobs, family)
    for blob in blobs.iterdir():
        (snapshot / blob.name).symlink_to(os.path.relpath(blob, snapshot))
    (folder / "refs").mkdir()
    (folder / "refs" / ref).write_text(COMMIT)
    return snapshot


def edit_config(snapshot: Path, **changes: object) -> None:
    path = snapshot / "config.json"
    path.resolve().write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_models_at_hand_are_listed(cache: Path, pie: Pie, tmp_path: Path) -> None:
    snapshot = put(cache, "acme/tiny")
    put(cache, "acme/other", ref="v1")
    edit_config(put(cache, "acme/strange"), architectures=["GPT2LMHeadModel"])
    (cache / "models--acme--strange" / "refs" / "main").rename(cache / "models--acme--strange" / "refs" / "dev")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text("[models.large]\npath = 'nobody/nothing'\n")
    rows = json.loads(pie("model", "list", "--json").out)
    assert [row["name"] for row in rows] == ["embedded", "models.large", "acme/other@v1", "acme/tiny"]
    size = (snapshot / "model.safetensors").stat().st_size
    assert rows[3] == {
        "name": "acme/tiny",
        "source": "cache",
        "architecture": "Qwen3ForCausalLM",
        "family": "qwen3",
        "size_bytes": size,
        "path": str(snapshot),
        "why_not": "",
    }
    assert rows[1]["why_not"].startswith("nobody/nothing is neither a directory nor a model in the Hugging Face cache")
    everything = {row["name"]: row["why_not"] for row in json.loads(pie("model", "list", "--all", "--json").out)}
    assert everything["acme/strange@dev"].startswith("GPT2LMHeadModel is not among the supported architectures")
    assert "GPT2LMHeadModel" in pie("model", "list", "--all").out


def test_a_file_that_the_cache_lacks_is_told(cache: Path, pie: Pie) -> None:
    (put(cache, "acme/tiny") / "model.safetensors").unlink()
    (listed,) = [row for row in json.loads(pie("model", "list", "--all", "--json").out) if row["source"] == "cache"]
    assert listed["why_not"].endswith("model.safetensors does not exist")


def test_a_model_is_inspected_without_its_weights_being_loaded(cache: Path, pie: Pie) -> None:
    weights = load_file(put(cache, "acme/tiny") / "model.safetensors")
    found = json.loads(pie("model", "inspect", "acme/tiny", "--json").out)
    numbers = {key: found[key] for key in ("context_length", "vocab_size", "layers")}
    assert numbers == {"context_length": 1024, "vocab_size": 320, "layers": 2}
    assert found["parameters"] == sum(tensor.numel() for tensor in weights.values())
    assert (found["kv_bytes_per_token"], found["kv_bytes_per_page"]) == (2 * 2 * 2 * 32 * 4, 2 * 2 * 16 * 2 * 32 * 4)
    assert found["weight_bytes"]["original"] == 4 * found["parameters"]
    assert found["weight_bytes"]["int4"] < found["weight_bytes"]["int8"] < found["weight_bytes"]["original"]
    assert (found["name"], found["dtypes"], found["computes_in"]) == ("acme/tiny", ["float32"], "float32")
    assert (found["chat_template"], found["reasoning"], found["tools"]) == ("ChatML", "think", "hermes")
    assert (found["can_run"], found["why_not"]) == (True, None)
    told = pie("model", "inspect", "embedded").out
    assert "weights in memory   original 5.2 MB, int8 3.4 MB, int4 2.4 MB\n" in told
    assert "KV cache            2,560 B per token, 40,960 B per page" in told
    assert told.endswith("can be run          yes\n")


def test_models_of_all_families_are_told_to_run(cache: Path, pie: Pie) -> None:
    families: tuple[Family, ...] = get_args(Family)
    told = {family: put(cache, f"acme/{family}", family=family) / "model.safetensors" for family in families}
    listed = {row["name"]: row for row in json.loads(pie("model", "list", "--json").out)}
    for family, weights in told.items():
        assert listed[f"acme/{family}"]["why_not"] == ""
        found = json.loads(pie("model", "inspect", f"acme/{family}", "--json").out)
        assert (found["can_run"], found["why_not"]) == (True, None)
        assert found["architecture"] == listed[f"acme/{family}"]["architecture"]
        assert found["family"] == family.replace("_text", "").replace("_", "")
        assert found["parameters"] == sum(tensor.numel() for tensor in load_file(weights).values())


@pytest.mark.parametrize(
    ("family", "name"),
    [("phi3", "model.layers.0.mlp.gate_up_proj.weight"), ("qwen3_moe", "model.layers.1.mlp.experts.7.up_proj.weight")],
)
def test_a_tensor_that_is_not_there_is_told_for_all_families(family: Family, name: str, cache: Path, pie: Pie) -> None:
    path = put(cache, "acme/tiny", family=family) / "model.safetensors"
    tensors = load_file(path)
    del tensors[name]
    save_file(tensors, path.resolve())
    found = json.loads(pie("model", "inspect", "acme/tiny", "--json").out)
    assert (found["can_run"], found["why_not"]["code"]) == (False, "missing-tensor")
    assert found["why_not"]["cause"] == f"{path} holds no tensor {name}"


def test_a_model_of_the_configuration_is_inspected_by_its_name(pie: Pie, tmp_path: Path) -> None:
    write_random_model(tmp_path / "home" / "here", "llama", dtype="bfloat16")
    (tmp_path / "home" / "config.toml").write_text("[models.large]\npath = 'here'\n")
    found = json.loads(pie("model", "inspect", "large", "--json").out)
    assert (found["name"], found["architecture"]) == ("here", "LlamaForCausalLM")


@pytest.mark.parametrize(
    ("missing", "code"),
    [("config.json", "model-not-found"), ("tokenizer.json", "no-tokenizer"), ("model.safetensors", "no-weights")],
)
def test_why_a_model_cannot_be_run_is_told(missing: str, code: str, pie: Pie, tmp_path: Path) -> None:
    (write_random_model(tmp_path / "model") / missing).unlink()
    left = pie("model", "inspect", str(tmp_path / "model"), "--json")
    found = json.loads(left.out)
    assert (left.code, found["can_run"], found["why_not"]["code"]) == (0, False, code)
    assert f"no, {code}: " in pie("model", "inspect", str(tmp_path / "model")).out


def test_a_model_that_is_removed_frees_its_bytes(cache: Path, pie: Pie) -> None:
    put(cache, "acme/tiny")
    put(cache, "acme/other")
    left = pie("model", "remove", "acme/tiny")
    assert left.out == "Removed acme/tiny, 0.4 MB freed.\n"
    assert sorted(path.name for path in cache.iterdir()) == ["models--acme--other"]
    assert pie("model", "remove", f"acme/other@{COMMIT}").code == 0
    assert [row["name"] for row in json.loads(pie("model", "list", "--json").out)] == ["embedded"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("acme/tyni", "Did you mean acme/tiny?"),
        ("tiny", "Did you mean acme/tiny?"),
        ("acme/tiny@v7", "Did you mean acme/tiny?"),
        ("../huggingface", "`pie model list --all` shows what there is."),
    ],
)
def test_what_is_not_there_is_not_removed(name: str, hint: str, cache: Path, pie: Pie) -> None:
    put(cache, "acme/tiny")
    left = pie("model", "remove", name)
    assert left.err == f"error[model-not-found]: no model {name} is in the Hugging Face cache. {hint}\n"
    assert (cache / "models--acme--tiny").is_dir()


@pytest.mark.parametrize("words", [["run", "x.py"], ["serve", "--no-auth", "--port", "0"]])
def test_a_model_that_is_nowhere_is_told_how_to_get_it(words: list[str], cache: Path, pie: Pie, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("async def main(input): pass\n")
    left = pie(*words, "--model", "acme/tiny")
    assert left.code == 1
    assert left.err.splitlines()[-1] == (
        "error[model-not-found]: acme/tiny is neither a directory nor a model in the Hugging Face cache."
        " Fetch it by `pie model download acme/tiny`."
    )
    assert "error[model-not-found]: x.py is a file" in pie(*words, "--model", "x.py").err


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("https://huggingface.co/Qwen/Qwen3-0.6B", "Give the name alone: Qwen/Qwen3-0.6B."),
        ("huggingface.co/Qwen/Qwen3-0.6B/tree/main", "Give the name alone: Qwen/Qwen3-0.6B."),
        ("embeded", "Did you mean embedded?"),
        ("./models/large", "Give a directory in Hugging Face format, or a name of `pie model list`."),
    ],
)
def test_what_was_meant_by_no_name_of_a_model_is_guessed(given: str, hint: str, pie: Pie) -> None:
    for left in (pie("model", "inspect", given), pie("serve", "--no-auth", "--port", "0", "--model", given)):
        assert left.code == 1
        assert left.err.splitlines()[-1].startswith("error[model-not-found]: ")
        assert left.err.endswith(f"{hint}\n")


def test_shells_complete_names_of_models(cache: Path) -> None:
    put(cache, "acme/tiny")
    context = inspect.make_context("inspect", ["x"])
    found: list[CompletionItem] = models(context, inspect.params[0], "")
    assert [item.value for item in found if item.type == "plain"] == ["embedded", "acme/tiny"]
