"""Checkpoints of each number type are computed as transformers computes them, on both backends of a processor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.engine.batches import Held, greedy, row_logits

from pie.engine.engine import Engine
from pie.testing import Family, write_random_model

Stored = Literal["float16", "bfloat16", "float32"]
PROMPT = [5, 9, 40, 61, 200, 17, 18, 19, 250, 33]
NUM_TOKENS = 12


def store_as(path: Path, dtype: Stored, *, norms: torch.dtype | None = None) -> Path:
    """Write the weights anew in a number type, those of norms perhaps in another one."""
    number = getattr(torch, dtype)
    tensors = {
        name: tensor.to(norms if norms is not None and "norm" in name else number)
        for name, tensor in load_file(path / "model.safetensors").items()
    }
    save_file(tensors, path / "model.safetensors")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"dtype": dtype}))
    return path


def reference(path: Path, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation="eager")


def engine_of(path: Path, backend: Literal["native", "torch"], dtype: Literal["float32"] | None = None) -> Engine:
    return Engine(path, backend=backend, dtype=dtype, num_pages=8, threads=1)


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("family", ["llama", "gemma2"])
@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_weights_of_fewer_bits_are_computed_in_float32_as_by_transformers(
    tmp_path: Path, stored: Stored, family: Family, backend: Literal["native", "torch"]
) -> None:
    path = store_as(write_random_model(tmp_path / "model", family), stored)
    model = reference(path, torch.float32)
    expected = model(torch.tensor([PROMPT])).logits[0].detach().numpy()
    engine = engine_of(path, backend, "float32")
    got = row_logits(engine, Held([3, 1]), PROMPT)
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
    answer = model.generate(torch.tensor([PROMPT]), max_new_tokens=NUM_TOKENS, do_sample=False, eos_token_id=None)
    assert greedy(engine, Held([0, 2]), PROMPT, NUM_TOKENS) == answer[0, len(PROMPT) :].tolist()


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_float16_is_computed_in_bfloat16_unless_something_else_is_asked_for(
    tmp_path: Path, family: Family, backend: Literal["native", "torch"]
) -> None:
    path = store_as(write_random_model(tmp_path / "half", family), "float16")
    got = row_logits(engine_of(path, backend), Held([0]), PROMPT)
    expected = reference(path, torch.bfloat16)(torch.tensor([PROMPT])).logits[0].detach().float().numpy()
    assert np.abs(got - expected).max() <= 0.05 * np.abs(expected).max()
    rounded = store_as(write_random_model(tmp_path / "rounded", family), "float16")
    store_as(rounded, "bfloat16")
    np.testing.assert_array_equal(row_logits(engine_of(rounded, backend), Held([0]), PROMPT), got)


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_number_types_may_be_mixed_in_a_checkpoint(tmp_path: Path, backend: Literal["native", "torch"]) -> None:
    path = store_as(write_random_model(tmp_path / "model", "qwen3"), "float16", norms=torch.float64)
    expected = reference(path, torch.float32)(torch.tensor([PROMPT])).logits[0].detach().numpy()
    got = row_logits(engine_of(path, backend, "float32"), Held([0]), PROMPT)
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
