"""Files that are no adapter of the model are refused, and the error names what does not fit."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from tests.engine.adapters import RandomPeft, random_peft
from tests.engine.test_adapter_search import CONFIG, START

from pie.engine.adapters.adapter_file import read_adapter, write_adapter
from pie.engine.adapters.search import begin_search
from pie.errors import AdapterError
from pie.forward import AdapterFiles

Q_A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
Q_B = Q_A.replace("lora_A", "lora_B")


def configured(**settings: object) -> Callable[[RandomPeft], RandomPeft]:
    return lambda peft: replace(peft, config={**peft.config, **settings})


def with_tensor(name: str, tensor: torch.Tensor | None) -> Callable[[RandomPeft], RandomPeft]:
    def change(peft: RandomPeft) -> RandomPeft:
        tensors = {key: value for key, value in peft.tensors.items() if key != name}
        return replace(peft, tensors=tensors if tensor is None else tensors | {name: tensor})

    return change


BAD = {
    "an unknown key": (configured(use_magic=True), "unknown key 'use_magic'"),
    "dora": (configured(use_dora=True), "use_dora is True"),
    "a rank for some modules": (configured(rank_pattern={"q_proj": 8}), "rank_pattern"),
    "an alpha for some modules": (configured(alpha_pattern={"q_proj": 8}), "alpha_pattern"),
    "biases": (configured(bias="all"), "bias is 'all'"),
    "whole modules": (configured(modules_to_save=["lm_head"]), "modules_to_save"),
    "transposed weights": (configured(fan_in_fan_out=True), "fan_in_fan_out"),
    "weights that change the model": (configured(init_lora_weights="pissa"), "init_lora_weights is 'pissa'"),
    "another method": (configured(peft_type="IA3"), "peft_type is 'IA3'"),
    "a pattern for modules": (configured(target_modules="all-linear"), "target_modules is 'all-linear'"),
    "an unknown module": (configured(target_modules=["q_proj", "lm_head"]), "'lm_head'"),
    "no rank": (configured(r=None), "r is None"),
    "a rank that is no number": (configured(r=True), "r is True"),
    "an alpha that is no number": (configured(lora_alpha="8"), "lora_alpha is '8'"),
    "a module that is a list": (configured(target_modules=[["q_proj"]]), "target_modules lists \"['q_proj']\""),
    "an alpha of many digits": (configured(lora_alpha=10**400), "not a number up to 1e+30"),
    "an infinite alpha": (configured(lora_alpha=float("inf")), "lora_alpha is inf"),
    "another rank than its tensors": (configured(r=5), "where this model needs"),
    "a module without tensors": (configured(target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]), "o_proj"),
    "a tensor of an unlisted module": (configured(target_modules=["q_proj", "v_proj"]), "k_proj.lora_A"),
    "a half without the other": (with_tensor(Q_B, None), "lora_A of q_proj without lora_B"),
    "the other half alone": (with_tensor(Q_A, None), "lora_B of q_proj without lora_A"),
    "a tensor of another shape": (with_tensor(Q_A, torch.zeros(4, 31)), "(4, 31)"),
    "a tensor of whole numbers": (with_tensor(Q_A, torch.zeros(4, 32, dtype=torch.int32)), "int32"),
    "a number that is none": (with_tensor(Q_A, torch.full((4, 32), torch.nan)), "not finite"),
    "a layer too many": (with_tensor(Q_A.replace("layers.0", "layers.2"), torch.zeros(4, 32)), "layers.2"),
    "a tensor of no module": (with_tensor("base_model.model.lm_head.weight", torch.zeros(2)), "lm_head"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_peft_adapter_that_does_not_fit_is_refused_with_the_reason(name: str) -> None:
    change, told = BAD[name]
    with pytest.raises(AdapterError) as caught:
        read_adapter(change(random_peft(CONFIG, 1, modules="qkv")).files, CONFIG)
    assert caught.value.code == "adapter-unusable"
    assert told in caught.value.cause


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_peft_adapter_in_half_precision_is_read_as_the_numbers_it_holds(dtype: torch.dtype) -> None:
    peft = random_peft(CONFIG, 1, modules="qv", dtype=dtype)
    low_rank = read_adapter(peft.files, CONFIG).layers[0]["q"]
    assert torch.equal(torch.from_numpy(low_rank.down), peft.tensors[Q_A].float())
    assert torch.equal(torch.from_numpy(low_rank.up).T, peft.tensors[Q_B].float())


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}"])
def test_bytes_that_are_no_adapter_are_refused(content: bytes) -> None:
    for files in (AdapterFiles(content), AdapterFiles(content, b"{}"), AdapterFiles(b"", content)):
        with pytest.raises(AdapterError, match="adapter-unusable"):
            read_adapter(files, CONFIG)


def saved() -> bytes:
    return write_adapter(begin_search(START, CONFIG))


@given(position=st.integers(0, 3000), value=st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_a_damaged_header_gives_an_adapter_or_the_one_error(position: int, value: int) -> None:
    content = bytearray(saved())
    content[position] = value
    with contextlib.suppress(AdapterError):
        read_adapter(AdapterFiles(bytes(content)), CONFIG)


def test_a_file_with_a_missing_strange_or_misshapen_part_is_refused_by_name() -> None:
    content = saved()
    tensors = load(content)
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    for name in tensors:
        without = {key: value for key, value in tensors.items() if key != name}
        misshapen = tensors | {name: tensors[name][:-1]}
        for bad in (without, misshapen, tensors | {name: tensors[name] * float("nan")}):
            with pytest.raises(AdapterError, match="adapter-unusable"):
                read_adapter(AdapterFiles(save(bad, metadata)), CONFIG)
    with pytest.raises(AdapterError, match="a tensor strange"):
        read_adapter(AdapterFiles(save(tensors | {"strange": tensors["sigma"]}, metadata)), CONFIG)
    for change in ({"scaling": "much"}, {"population": "0"}, {"mu_fraction": "7"}, {"format": "other"}):
        with pytest.raises(AdapterError, match="adapter-unusable"):
            read_adapter(AdapterFiles(save(tensors, metadata | change)), CONFIG)
