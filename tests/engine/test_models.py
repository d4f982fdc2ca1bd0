"""The engine computes what transformers computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.engine.batches import Held, greedy, row_logits
from tests.engine.conftest import ON_GPU, AnyBackend, engine_on, tolerance

from pie.engine.native_backend import why_not_native
from pie.engine.weights import load_model
from pie.testing import Family, ModelSizes, write_random_model

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 256}
LONG = {
    "type": "longrope",
    "short_factor": [1 + index / 10 for index in range(6)],
    "long_factor": [2 + index for index in range(6)],
}
PHI = ModelSizes(head_dim=16)
VARIANTS: dict[str, tuple[Family, ModelSizes, dict[str, object]]] = {
    "qwen3": ("qwen3", ModelSizes(), {}),
    "qwen3, untied, own head width": ("qwen3", ModelSizes(head_dim=48), {"tie_word_embeddings": False}),
    "qwen2": ("qwen2", ModelSizes(head_dim=16), {}),
    "qwen2, tied, no grouping": (
        "qwen2",
        ModelSizes(head_dim=16, num_key_value_heads=4),
        {"tie_word_embeddings": True},
    ),
    "llama": ("llama", ModelSizes(), {}),
    "llama, three heads per key head": ("llama", ModelSizes(hidden_size=96, num_attention_heads=6), {}),
    "llama 3 rope": ("llama", ModelSizes(), {"rope_parameters": LLAMA3_ROPE}),
    "llama, exact gelu": ("llama", ModelSizes(), {"hidden_act": "gelu"}),
    "linear rope": ("llama", ModelSizes(), {"rope_scaling": {"type": "linear", "factor": 4.0}}),
    "dynamic rope": ("llama", ModelSizes(), {"rope_scaling": {"type": "dynamic", "factor": 4.0}}),
    "yarn rope": ("qwen2", ModelSizes(), {"rope_scaling": YARN}),
    "yarn rope, factors of its own": (
        "llama",
        ModelSizes(),
        {"rope_scaling": YARN | {"beta_fast": 8, "mscale": 1.2, "mscale_all_dim": 0.7}},
    ),
    "mistral": ("mistral", ModelSizes(), {}),
    "mistral without a window": ("mistral", ModelSizes(), {"sliding_window": None}),
    "phi 3": ("phi3", PHI, {"sliding_window": 37}),
    "phi 3 without a window": ("phi3", PHI, {}),
    "phi 4, longrope of a part of each head": (
        "phi3",
        PHI,
        {"rope_scaling": LONG, "partial_rotary_factor": 0.75, "original_max_position_embeddings": 256},
    ),
    "gemma 2": ("gemma2", ModelSizes(num_hidden_layers=3), {}),
    "gemma 2 without windows and caps of scores": (
        "gemma2",
        ModelSizes(num_hidden_layers=3),
        {"attn_logit_softcapping": None, "layer_types": ["full_attention"] * 3},
    ),
    "gemma 3 without windows": (
        "gemma3_text",
        ModelSizes(num_hidden_layers=3),
        {"final_logit_softcapping": 11.0, "layer_types": ["full_attention"] * 3},
    ),
    "gemma 3": ("gemma3_text", ModelSizes(num_hidden_layers=3), {"final_logit_softcapping": 11.0}),
    "gemma 3, linear rope of full layers": (
        "gemma3_text",
        ModelSizes(),
        {"rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    ),
    "qwen3 moe": ("qwen3_moe", ModelSizes(), {}),
    "qwen3 moe, shares as they are, some layers dense": (
        "qwen3_moe",
        ModelSizes(num_hidden_layers=3),
        {"norm_topk_prob": False, "mlp_only_layers": [2]},
    ),
    "odd vocabulary": ("qwen3", ModelSizes(vocab_size=331), {}),
}
CASES = [(variant, backend) for variant in VARIANTS for backend in ("native", "torch", "tables")]
# With heads of 64 numbers; rounding can choose other experts, so none with experts.
ON_A_GPU = ("qwen3", "llama", "mistral", "gemma 2", "gemma 3")
GPU_CASES = [pytest.param((variant, "flashinfer"), marks=ON_GPU.marks) for variant in ON_A_GPU]


@pytest.fixture(params=[*CASES, *GPU_CASES], ids=" / ".join, scope="module")
def case(request: pytest.FixtureRequest) -> tuple[str, AnyBackend]:
    found: tuple[str, AnyBackend] = request.param
    return found


@pytest.fixture(scope="module")
def backend(case: tuple[str, AnyBackend]) -> AnyBackend:
    return case[1]


@pytest.fixture(scope="module")
def model_dir(case: tuple[str, AnyBackend], tmp_path_factory: pytest.TempPathFactory) -> Path:
    family, sizes, config = VARIANTS[case[0]]
    sizes = replace(sizes, head_dim=64) if case[1] == "flashinfer" else sizes
    return write_random_model(tmp_path_factory.mktemp("model") / "m", family, sizes=sizes, config=config)


@pytest.fixture(scope="module")
def transformers_model(model_dir: Path) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager")


def test_logits_of_a_prefill_are_those_of_transformers(
    model_dir: Path, transformers_model: Any, backend: AnyBackend
) -> None:
    engine = engine_on(backend, model_dir, {"num_pages": 16, "threads": 1})
    prompt = np.random.default_rng(1).integers(0, engine.info.vocab_size, 70).tolist()
    with torch.no_grad():
        expected = transformers_model(torch.tensor([prompt])).logits[0].numpy()
    got = row_logits(engine, Held([11, 3, 7, 0, 15]), prompt)
    assert np.abs(got - expected).max() <= tolerance(backend) * np.abs(expected).max()


def test_sixty_four_greedy_tokens_are_those_of_transformers(
    model_dir: Path, transformers_model: Any, backend: AnyBackend
) -> None:
    engine = engine_on(backend, model_dir, {"num_pages": 16, "threads": 1})
    if backend == "flashinfer":
        pytest.skip("in bfloat16 nearly equal logits fall either way")
    prompt = np.random.default_rng(2).integers(0, engine.info.vocab_size, 21).tolist()
    made = greedy(engine, Held([9, 4, 13, 1, 6, 2]), prompt, 64)
    with torch.no_grad():
        # Its choice after each token of ours; they are the same sequence if each of them is.
        choices = transformers_model(torch.tensor([prompt + made])).logits[0].argmax(dim=1).tolist()
    assert made == choices[len(prompt) - 1 : -1]


def test_logits_after_paged_decoding_are_those_of_transformers(
    model_dir: Path, transformers_model: Any, backend: AnyBackend
) -> None:
    engine = engine_on(backend, model_dir, {"num_pages": 16, "threads": 1})
    tokens = np.random.default_rng(3).integers(0, engine.info.vocab_size, 50).tolist()
    held = Held([5, 14, 2, 8])
    row_logits(engine, held, tokens[:30])
    got = np.concatenate([row_logits(engine, held, [token]) for token in tokens[30:]])
    with torch.no_grad():
        expected = transformers_model(torch.tensor([tokens])).logits[0, 30:].numpy()
    assert np.abs(got - expected).max() <= tolerance(backend) * np.abs(expected).max()


def test_bfloat16_stays_within_its_rounding_of_float32(model_dir: Path, backend: AnyBackend) -> None:
    on: AnyBackend = "torch" if backend == "flashinfer" else backend
    engines = [
        engine_on(of, model_dir, {"num_pages": 16, "threads": 1, "dtype": dtype})
        for of, dtype in ((on, "float32"), (backend, "bfloat16"))
    ]
    prompt = list(range(40, 80))
    exact, rounded = (row_logits(engine, Held([0, 1, 2]), prompt) for engine in engines)
    worst = np.abs(exact - rounded).max(axis=1)
    # Where two experts are almost as good, rounding chooses another one: that happens to some rows, not to most.
    error = np.median(worst) if engines[0].config.layers[0].mlp.experts else worst.max()
    assert error <= 0.05 * np.abs(exact).max()


def test_the_kernels_run_every_family(model_dir: Path) -> None:
    assert why_not_native(load_model(model_dir).config, 16) is None
