"""Every way in which a model directory can be unusable has its own error, with cause and remedy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file, save_file

from pie.engine.description import describe_model
from pie.engine.engine import Engine
from pie.engine.models.config_file import parse_config
from pie.engine.weight_files import check_tensors, find_weight_files, read_config, read_headers
from pie.engine.weights import load_model
from pie.errors import ModelError
from pie.testing import Family, write_random_model

Damage = Callable[[Path], object]
FIRST_SHARD = "model-00001-of-00002.safetensors"
MATRIX = "model.layers.1.mlp.up_proj.weight"


def edit_config(**changes: object) -> Damage:
    def damage(path: Path) -> None:
        config = json.loads((path / "config.json").read_text())
        config |= changes
        (path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))

    return damage


def edit_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(path: Path) -> None:
        tensors = load_file(path / "model.safetensors")
        change(tensors)
        save_file(tensors, path / "model.safetensors")

    return damage


def only_pickles(path: Path) -> None:
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


def index_outside(path: Path) -> None:
    (path / "model.safetensors.index.json").write_text('{"weight_map": {"x": "../elsewhere.safetensors"}}')


def cut_short(path: Path) -> None:
    content = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(content[:-100])


def damaged_header(path: Path) -> None:
    content = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(content[:40] + b"\xff" * 40 + content[80:])


def lost_shard(path: Path) -> None:
    placed = dict.fromkeys(load_file(path / "model.safetensors"), "model.safetensors")
    placed["model.norm.weight"] = "model-2.safetensors"
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))


def misplaced(path: Path) -> None:
    tensors = load_file(path / "model.safetensors")
    save_file({"model.norm.weight": tensors.pop("model.norm.weight")}, path / FIRST_SHARD)
    save_file(tensors, path / "model.safetensors")
    placed = dict.fromkeys([*tensors, "model.norm.weight"], "model.safetensors")
    placed["something.else"] = FIRST_SHARD
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))


def link_to_itself(name: str) -> Damage:
    def damage(path: Path) -> None:
        (path / name).unlink()
        (path / name).symlink_to(path / name)

    return damage


def directory_instead(name: str) -> Damage:
    def damage(path: Path) -> None:
        (path / name).unlink()
        (path / name).mkdir()

    return damage


BROKEN: dict[str, tuple[str, Damage]] = {
    "no config": ("model-not-found", lambda path: (path / "config.json").unlink()),
    "config is not JSON": ("bad-config", lambda path: (path / "config.json").write_text("{")),
    "config is a list": ("bad-config", lambda path: (path / "config.json").write_text("[]")),
    "config is nested without end": (
        "bad-config",
        lambda path: (path / "config.json").write_text('{"a": ' + "[" * 100_000),
    ),
    "config is not text": ("bad-config", lambda path: (path / "config.json").write_bytes(b'{"a": "\xff"}')),
    "config links to itself": ("model-not-found", link_to_itself("config.json")),
    "config is a directory": ("model-not-found", directory_instead("config.json")),
    "an architecture that is no name": ("unknown-architecture", edit_config(architectures=[{}])),
    "no architecture": ("bad-config", edit_config(architectures=None)),
    "unknown architecture": ("unknown-architecture", edit_config(architectures=["GPT2LMHeadModel"])),
    "a size is missing": ("bad-config", edit_config(hidden_size=None)),
    "a size is negative": ("bad-config", edit_config(num_hidden_layers=-2)),
    "a size is text": ("bad-config", edit_config(vocab_size="many")),
    "heads do not divide": ("bad-config", edit_config(num_key_value_heads=3)),
    "unknown rope": ("unsupported-feature", edit_config(rope_scaling={"rope_type": "spiral", "factor": 4})),
    "sliding window": ("unsupported-feature", edit_config(use_sliding_window=True)),
    "quantized": ("unsupported-feature", edit_config(quantization_config={"bits": 4})),
    "quantized by GPTQ": ("unsupported-feature", edit_config(quantization_config={"quant_method": "gptq", "bits": 4})),
    "quantized by AWQ": ("unsupported-feature", edit_config(quantization_config={"quant_method": "awq", "bits": 4})),
    "weights are a directory": ("no-weights", directory_instead("model.safetensors")),
    "weights link to themselves": ("no-weights", link_to_itself("model.safetensors")),
    "weights are a pointer of Git LFS": (
        "bad-weights",
        lambda path: (path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
    ),
    "shards without their index": ("no-weights", lambda path: (path / "model.safetensors").rename(path / FIRST_SHARD)),
    "weights of llama.cpp": ("no-weights", lambda path: (path / "model.safetensors").rename(path / "model.gguf")),
    "no weights": ("no-weights", lambda path: (path / "model.safetensors").unlink()),
    "only pickled weights": ("pickle-weights", only_pickles),
    "weights cut short": ("bad-weights", lambda path: (path / "model.safetensors").write_bytes(b"\0" * 20)),
    "weights end early": ("bad-weights", cut_short),
    "a damaged header": ("bad-weights", damaged_header),
    "a shard is missing": ("no-weights", lost_shard),
    "an index that is not JSON": ("bad-config", lambda path: (path / "model.safetensors.index.json").write_text("{")),
    "an index of nothing": ("bad-weights", lambda path: (path / "model.safetensors.index.json").write_text("{}")),
    "an index nested without end": (
        "bad-config",
        lambda path: (path / "model.safetensors.index.json").write_text('{"a": ' + "[" * 100_000),
    ),
    "an index that leaves out a shard's tensor": ("missing-tensor", misplaced),
    "weights in eight bits of floating point": (
        "unsupported-dtype",
        edit_weights(lambda t: t.update({MATRIX: t[MATRIX].to(torch.float8_e4m3fn)})),
    ),
    "whole numbers": ("unsupported-dtype", edit_weights(lambda t: t.update({MATRIX: t[MATRIX].int()}))),
    "weights in eight bits": (
        "unsupported-dtype",
        edit_weights(lambda t: t.update({"model.norm.weight": t["model.norm.weight"].char()})),
    ),
    "index points outside": ("bad-weights", index_outside),
    "a tensor is missing": ("missing-tensor", edit_weights(lambda t: t.pop("model.layers.1.mlp.up_proj.weight"))),
    "a tensor has another shape": (
        "wrong-shape",
        edit_weights(lambda t: t.update({"model.norm.weight": torch.ones(3)})),
    ),
    "unknown dtype": ("unsupported-dtype", edit_config(dtype="float8")),
    "a dtype that is no name": ("unsupported-dtype", edit_config(dtype=["float32"])),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_unusable_directory_is_refused_with_cause_and_remedy(tmp_path: Path, kind: str) -> None:
    code, damage = BROKEN[kind]
    path = write_random_model(tmp_path / "model")
    damage(path)
    with pytest.raises(ModelError) as caught:
        Engine(path)
    assert caught.value.code == code
    assert caught.value.cause
    assert caught.value.remedy


@pytest.mark.parametrize("kind", BROKEN)
def test_an_unusable_directory_is_described_by_the_same_error(tmp_path: Path, kind: str) -> None:
    code, damage = BROKEN[kind]
    path = write_random_model(tmp_path / "model")
    damage(path)
    problem = describe_model(path).problem
    assert problem is not None
    assert problem.code == code


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (BROKEN["shards without their index"][1], f"{FIRST_SHARD} is there without model.safetensors.index.json"),
        (BROKEN["weights of llama.cpp"][1], "holds weights of llama.cpp (model.gguf)"),
    ],
)
def test_weights_that_are_there_in_another_form_are_named(tmp_path: Path, damage: Damage, told: str) -> None:
    path = write_random_model(tmp_path / "model")
    damage(path)
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert told in caught.value.cause


def test_files_that_may_not_be_read_are_told_with_the_reason_of_the_system(tmp_path: Path) -> None:
    path = write_random_model(tmp_path / "model")
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    as_owner = drop if os.getuid() == 0 else []
    if as_owner and shutil.which("setpriv") is None:
        pytest.skip("needs setpriv, since root may read everything")
    code = f"from pie.inspection import inspect_model; print(inspect_model(__import__('pathlib').Path({str(path)!r})))"
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (path / name).chmod(0)
        done = subprocess.run([*as_owner, sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert f"{path / name} cannot be read: Permission denied" in done.stdout
        (path / name).chmod(0o600)


def test_an_unknown_architecture_is_named_beside_the_supported_ones(tmp_path: Path) -> None:
    path = write_random_model(tmp_path / "model")
    edit_config(architectures=["GPT2LMHeadModel"])(path)
    with pytest.raises(ModelError, match=r"GPT2LMHeadModel.*Llama.*Qwen2.*Qwen3"):
        load_model(path)


def test_sharded_weights_are_the_same_model(tmp_path: Path) -> None:
    whole = write_random_model(tmp_path / "whole")
    parts = write_random_model(tmp_path / "parts")
    tensors = load_file(parts / "model.safetensors")
    (parts / "model.safetensors").unlink()
    weight_map: dict[str, str] = {}
    for number, names in enumerate((sorted(tensors)[::2], sorted(tensors)[1::2])):
        file = f"model-{number}.safetensors"
        save_file({name: tensors[name] for name in names}, parts / file)
        weight_map |= dict.fromkeys(names, file)
    (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    one, other = load_model(whole).weights, load_model(parts).weights
    assert torch.equal(one.layers[1].qkv, other.layers[1].qkv)
    assert torch.equal(one.head, other.head)


@pytest.mark.parametrize("family", get_args(Family))
def test_each_tensor_of_each_family_is_checked_by_its_header(tmp_path: Path, family: Family) -> None:
    path = write_random_model(tmp_path / "model", family)
    config = parse_config(read_config(path))
    found = find_weight_files(path)
    headers = read_headers(found)
    check_tensors(found, headers, config)
    for name, header in headers.items():
        with pytest.raises(ModelError) as caught:
            check_tensors(found, {other: headers[other] for other in headers if other != name}, config)
        assert (caught.value.code, caught.value.cause) == (
            "missing-tensor",
            f"{path / 'model.safetensors'} holds no tensor {name}",
        )
        wider = replace(header, shape=(header.shape[0] + 1, *header.shape[1:]))
        with pytest.raises(ModelError) as caught:
            check_tensors(found, headers | {name: wider}, config)
        assert caught.value.code == "wrong-shape"
        assert caught.value.cause.startswith(f"{path / 'model.safetensors'}: {name} has shape {wider.shape} where ")


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("phi3", "model.layers.1.self_attn.qkv_proj.weight"),
        ("phi3", "model.layers.0.mlp.gate_up_proj.weight"),
        ("gemma2", "model.layers.1.pre_feedforward_layernorm.weight"),
        ("qwen3_moe", "model.layers.1.mlp.experts.5.down_proj.weight"),
        ("qwen3_moe", "model.layers.0.mlp.gate.weight"),
    ],
)
def test_the_file_is_told_whose_tensor_does_not_fit(tmp_path: Path, family: Family, name: str) -> None:
    path = write_random_model(tmp_path / "model", family)
    tensors = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    places = {other: f"model-{index % 2}.safetensors" for index, other in enumerate(sorted(tensors))}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))

    def write() -> None:
        for file in set(places.values()):
            save_file({other: tensors[other] for other in tensors if places[other] == file}, path / file)

    tensors[name] = tensors[name][:-1].clone()
    write()
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert caught.value.code == "wrong-shape"
    assert caught.value.cause.startswith(f"{path / places[name]}: {name} has shape {tuple(tensors[name].shape)} where ")
    del tensors[name]
    write()
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert caught.value.code == "missing-tensor"
    assert caught.value.cause == f"{path / places[name]} holds no tensor {name}"


def test_the_fingerprint_tells_weights_and_architectures_apart(tmp_path: Path) -> None:
    first = load_model(write_random_model(tmp_path / "a", seed=0)).fingerprint
    assert load_model(write_random_model(tmp_path / "b", seed=0)).fingerprint == first
    assert load_model(write_random_model(tmp_path / "c", seed=1)).fingerprint != first
    other_facts = write_random_model(tmp_path / "d", seed=0, config={"rope_theta": 20000.0})
    assert load_model(other_facts).fingerprint != first


def test_the_device_tells_its_facts(tmp_path: Path) -> None:
    info = Engine(write_random_model(tmp_path / "little"), num_pages=7).info
    assert (info.model, info.vocab_size, info.max_positions) == ("little", 320, 1024)
    assert (info.page_size, info.num_pages, info.page_bytes) == (16, 7, 2 * 2 * 16 * 2 * 32 * 4)


def test_pages_default_to_what_memory_allows(tmp_path: Path) -> None:
    path = write_random_model(tmp_path / "model")
    assert Engine(path).info.num_pages == 8192
    assert Engine(path, memory_bytes=100_000).info.num_pages == 100_000 // 16384
    with pytest.raises(ModelError, match="not-enough-memory"):
        Engine(path, memory_bytes=10_000)


def test_the_fingerprint_tells_what_layers_do_apart(tmp_path: Path) -> None:
    changes: list[dict[str, object]] = [
        {},
        {"sliding_window": 23},
        {"attn_logit_softcapping": 5.0},
        {"final_logit_softcapping": 5.0},
        {"query_pre_attn_scalar": 32},
        {"layer_types": ["full_attention", "sliding_attention"]},
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
    ]
    fingerprints = {
        load_model(write_random_model(tmp_path / str(number), "gemma2", config=change)).fingerprint
        for number, change in enumerate(changes)
    }
    assert len(fingerprints) == len(changes)
