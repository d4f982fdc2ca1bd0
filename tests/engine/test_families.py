"""What only some families have: rows do not depend on their neighbours, windows count tokens, adapters change them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pytest
import torch
import transformers
from tests.engine.adapters import merge, random_peft
from tests.engine.batches import (
    Draw,
    Feed,
    Held,
    decode_batch,
    greedy,
    held,
    make_batch,
    row_logits,
    same_in_mixed_batches,
)
from tests.engine.conftest import BackendChoice
from tests.engine.test_masked_pages import LENGTH, by_scheduler, whole, windows

from pie.engine.adapters.adapter_file import read_adapter
from pie.engine.adapters.weights import MODULES
from pie.engine.engine import Engine
from pie.errors import AdapterError
from pie.forward import AdapterUse, Logits
from pie.testing import Family, write_random_model

Dtype = Literal["float32", "bfloat16"]
# Models by name: a family, and further keys of its config.json.
MODELS: dict[str, tuple[Family, dict[str, object]]] = {
    "mistral": ("mistral", {}),
    "phi3": ("phi3", {}),
    "phi4": ("phi3", {"partial_rotary_factor": 0.75}),
    "gemma2": ("gemma2", {}),
    "gemma2 without windows and caps of scores": (
        "gemma2",
        {"attn_logit_softcapping": None, "layer_types": ["full_attention"] * 2},
    ),
    "gemma3": ("gemma3_text", {}),
    "gemma3 without windows": ("gemma3_text", {"layer_types": ["full_attention"] * 2}),
    "exact gelu": ("llama", {"hidden_act": "gelu"}),
    "qwen3_moe": ("qwen3_moe", {}),
    "qwen3_moe, shares as they are, some layers dense": (
        "qwen3_moe",
        {"norm_topk_prob": False, "mlp_only_layers": [1], "num_experts": 40, "num_experts_per_tok": 7},
    ),
}
CASES = [(name, backend) for name in MODELS for backend in get_args(BackendChoice)]
PHI_MODULES = ("qkv", "o", "gate_up", "down")
RNG = np.random.default_rng(5)
PROMPTS = [RNG.integers(0, 320, length).tolist() for length in (1, 7, 16, 17, 50, 65, 90, 40)]
Models = Callable[[Family], Path]


@pytest.fixture(params=CASES, ids=" / ".join)
def case(request: pytest.FixtureRequest) -> tuple[str, BackendChoice]:
    found: tuple[str, BackendChoice] = request.param
    return found


@pytest.fixture
def model_dir(case: tuple[str, BackendChoice], tmp_path: Path) -> Path:
    family, config = MODELS[case[0]]
    return write_random_model(tmp_path / "model", family, config=config)


@pytest.mark.parametrize("dtype", get_args(Dtype))
def test_rows_of_mixed_batches_are_those_of_prompts_alone(
    case: tuple[str, BackendChoice], model_dir: Path, dtype: Dtype
) -> None:
    alone, together = (Engine(model_dir, backend=case[1], dtype=dtype, num_pages=128, threads=1) for _ in range(2))
    same_in_mixed_batches(alone, together, PROMPTS)


@pytest.mark.parametrize("dtype", get_args(Dtype))
def test_every_number_of_rows_gives_a_row_the_same_bits(
    case: tuple[str, BackendChoice], model_dir: Path, dtype: Dtype
) -> None:
    engine = Engine(model_dir, backend=case[1], dtype=dtype, num_pages=64, threads=1)
    lone = [engine.step(make_batch([feed], vocab_size=320)).probes[0] for feed in single_rows(33)]
    for num_rows in (2, 3, 4, 5, 8, 12, 13, 16, 17, 24, 32, 33):
        together = engine.step(make_batch(single_rows(num_rows), vocab_size=320)).probes
        for value, expected in zip(together, lone, strict=False):
            np.testing.assert_array_equal(value, expected)


def single_rows(count: int) -> list[Feed]:
    return [Feed(Held([index]), [100 + index], probes=[Logits()]) for index in range(count)]


def test_the_number_of_threads_does_not_change_a_bit(
    case: tuple[str, BackendChoice], model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pie.engine.native_backend._WORK_PER_THREAD", 1)
    results = []
    for threads in (1, 2, 3):
        engine = Engine(model_dir, backend=case[1], num_pages=128, threads=threads)
        feeds = [Feed(held(index), prompt, probes=[Logits()]) for index, prompt in enumerate(PROMPTS)]
        together = engine.step(make_batch(feeds, vocab_size=320)).probes
        results.append([*together, *engine.step(make_batch(single_rows(1), vocab_size=320)).probes])
    torch.set_num_threads(1)
    for other in results[1:]:
        for value, expected in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(value, expected)


def test_a_decode_run_gives_the_tokens_and_keys_of_single_steps(
    case: tuple[str, BackendChoice], model_dir: Path
) -> None:
    engines = [Engine(model_dir, backend=case[1], num_pages=64, threads=1) for _ in range(2)]
    holders = [held(index) for index in range(5)]
    for engine in engines:
        for holder, prompt in zip(holders, PROMPTS[1:], strict=False):
            holder.length = 0
            row_logits(engine, holder, prompt)
    lengths = [holder.length for holder in holders]
    feeds = [Feed(holder, [30 + index], [Draw()]) for index, holder in enumerate(holders)]
    steps = 12
    run = decode_batch(feeds, vocab_size=320, steps=steps, limits=[steps] * 5, stops=[[]] * 5)
    tokens = engines[0].step(run).tokens
    for index, (holder, length) in enumerate(zip(holders, lengths, strict=True)):
        holder.length = length
        assert greedy(engines[1], holder, [30 + index], steps) == tokens[index].tolist()
        assert torch.equal(*(engine.read_pages(holder.pages)[:, :, : holder.length] for engine in engines))


def test_a_window_of_the_model_is_a_mask_of_every_row(tmp_path: Path, backend: BackendChoice) -> None:
    sliding = write_random_model(tmp_path / "sliding", "mistral")
    full = write_random_model(tmp_path / "full", "mistral", config={"sliding_window": None})
    tokens = RNG.integers(0, 320, 100).tolist()
    place = np.arange(len(tokens))
    visible = (place <= place[:, None]) & (place > place[:, None] - 24)
    feed = Feed(held(0), tokens, probes=[Logits()], probe_rows="all", visible=visible)
    by_mask = Engine(full, backend=backend, num_pages=8, threads=1).step(make_batch([feed], vocab_size=320)).probes
    by_model = row_logits(Engine(sliding, backend=backend, num_pages=8, threads=1), held(0), tokens)
    np.testing.assert_array_equal(by_model, np.stack(by_mask))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "choice"), [("mistral", "native"), ("mistral", "torch"), ("gemma2", "torch"), ("gemma3_text", "torch")]
)
@pytest.mark.parametrize(("size", "sink"), [(33, 4), (9, 40)])
def test_a_window_counts_tokens_also_where_masked_pages_are_left_out(
    models: Models, name: Family, choice: BackendChoice, size: int, sink: int
) -> None:
    engine = Engine(models(name), backend=choice, num_pages=64, threads=1)
    tokens = np.random.default_rng(size).integers(0, 320, LENGTH).tolist()
    visible = windows(size, sink)
    trimmed, skipped = asyncio.run(by_scheduler(engine, tokens, visible))
    expected = whole(engine, tokens, visible)
    assert skipped > 5
    assert np.abs(trimmed - expected).max() <= 1e-5 * np.abs(expected).max()


def test_logits_with_an_adapter_are_those_of_transformers_with_the_merged_weights(
    case: tuple[str, BackendChoice], model_dir: Path, tmp_path: Path
) -> None:
    engine = Engine(model_dir, backend=case[1], num_pages=8, threads=1)
    modules = {"phi3": PHI_MODULES, "qwen3_moe": MODULES[:4]}.get(MODELS[case[0]][0], MODULES)
    adapter = random_peft(engine.config, 1, modules=modules)
    merged = transformers.AutoModelForCausalLM.from_pretrained(
        merge(model_dir, adapter, tmp_path / "merged"), attn_implementation="eager"
    )
    info = engine.adapters.put(read_adapter(adapter.files, engine.config))
    tokens = PROMPTS[4]
    with torch.inference_mode():
        expected = merged(torch.tensor([tokens])).logits[0].numpy()
    batch = make_batch([Feed(held(0), tokens, probes=[Logits()], probe_rows="all")], vocab_size=320)
    uses = (AdapterUse(info.number, info.version),)
    batch = replace(batch, adapters=uses, adapter_of_row=np.zeros(len(tokens), np.int32))
    got = np.stack([np.asarray(value, np.float32) for value in engine.step(batch).probes])
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


def test_a_row_whose_numbers_are_none_leaves_the_experts_of_others_alone(
    models: Models, backend: BackendChoice
) -> None:
    engine = Engine(models("qwen3_moe"), backend=backend, num_pages=8, threads=1)
    alone = engine.step(make_batch(single_rows(3), vocab_size=320)).probes
    adapter = read_adapter(random_peft(engine.config, 1, modules=("o",)).files, engine.config)
    spoiled = [{"o": replace(layer["o"], up=np.full_like(layer["o"].up, np.nan))} for layer in adapter.layers]
    info = engine.adapters.put(replace(adapter, layers=tuple(spoiled)))
    batch = make_batch(single_rows(3), vocab_size=320)
    uses = (AdapterUse(info.number, info.version),)
    got = engine.step(replace(batch, adapters=uses, adapter_of_row=np.array([-1, 0, -1], np.int32))).probes
    assert got[1] is None  # logits that are no numbers fail
    for index in (0, 2):
        np.testing.assert_array_equal(got[index], alone[index])


@pytest.mark.parametrize(
    ("name", "modules", "cause"),
    [
        ("phi3", ("q",), "'q_proj', which is not among qkv_proj, o_proj, gate_up_proj, down_proj"),
        ("qwen3_moe", ("gate",), "'gate_proj', which is not among q_proj, k_proj, v_proj, o_proj"),
    ],
)
def test_an_adapter_of_matrices_that_the_family_does_not_have_is_refused(
    models: Models, name: Family, modules: tuple[str, ...], cause: str
) -> None:
    config = Engine(models(name), backend="torch", num_pages=1, threads=1).config
    dense = Engine(models("llama"), backend="torch", num_pages=1, threads=1).config
    with pytest.raises(AdapterError, match=cause) as caught:
        read_adapter(random_peft(dense, 1, modules=modules).files, config)
    assert caught.value.code == "adapter-unusable"
