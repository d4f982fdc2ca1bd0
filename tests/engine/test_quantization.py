"""Quantized weights: what the integers stand for, what is told of them, and that a model computes with just these."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tests.engine.adapters import random_peft
from tests.engine.batches import Feed, Held, make_batch, row_logits
from tests.engine.conftest import BackendChoice
from tests.engine.test_adapters import logits as logits_with
from tests.engine.test_adapters import use

from embedded_model.dataset import encode
from embedded_model.export import load_tokenizer
from pie.config import embedded_model
from pie.engine.adapters.adapter_file import read_adapter
from pie.engine.engine import Engine
from pie.engine.models.config import ModelConfig
from pie.engine.models.tensors import model_tensors
from pie.engine.quantization import QuantizedMatrix, quantize
from pie.engine.schemes import SCHEMES, Scheme, Schemes, WeightsChoice
from pie.engine.weights import LayerWeights, Weights, load_model
from pie.forward import Logits
from pie.testing import Family, ModelSizes, write_random_model

Quantized = Literal["int8", "int4"]
Array = npt.NDArray[np.float64]
RNG = np.random.default_rng(3)
PROMPT = RNG.integers(0, 320, 50).tolist()
# Of the root mean square of the logits of random models: about twice what is measured.
LOGITS_DIFFER = {"int8": 0.05, "int4": 0.5}
# The kernels round rows to one part in 32,512 of the largest number of a group.
SAME = 1e-3
BY_KERNELS: tuple[Family, ...] = ("llama", "qwen2", "qwen3", "phi3", "qwen3_moe")


def schemes_of(weights: WeightsChoice) -> Schemes:
    schemes = SCHEMES[weights]
    assert schemes is not None
    return schemes


def plain_quantize(matrix: Array, scheme: Scheme) -> Array:
    """The definition, number by number: what each number of a matrix becomes."""
    made = np.zeros_like(matrix)
    for row, numbers in enumerate(matrix):
        for start in range(0, len(numbers), scheme.group):
            group = numbers[start : start + scheme.group]
            scale = float(torch.tensor(-group[np.abs(group).argmax()] / scheme.half, dtype=torch.bfloat16))
            for place, number in enumerate(group):
                integer = 0 if scale == 0 else np.clip(np.round(number / scale), -scheme.half, scheme.half - 1)
                made[row, start + place] = integer * scale
    return made


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([Scheme(8, 128), Scheme(8, 32), Scheme(4, 32), Scheme(4, 128)]),
    st.integers(1, 5),
    st.integers(1, 300),
    st.integers(0, 2**32 - 1),
)
def test_numbers_become_multiples_of_the_scale_of_their_group(
    scheme: Scheme, outputs: int, inputs: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(outputs, inputs)) * 10.0 ** rng.integers(-6, 3, (outputs, 1))
    matrix[rng.random(matrix.shape) < 0.1] = 0
    matrix = matrix.astype(np.float32).astype(np.float64)
    made, deviation = quantize(torch.tensor(matrix), scheme, torch.float32)
    expected = plain_quantize(matrix, scheme)
    np.testing.assert_allclose(made.wide().numpy(), expected, rtol=1e-6)
    assert made.stored().shape == matrix.shape
    assert made.codes.nbytes + made.scales.nbytes == scheme.size_bytes(outputs, inputs)
    error = np.sqrt(((expected - matrix) ** 2).sum() / max((matrix**2).sum(), 1e-300))
    assert deviation.relative == pytest.approx(error, rel=1e-4, abs=1e-9)


def test_a_matrix_of_zeros_stays_one() -> None:
    made, deviation = quantize(torch.zeros(3, 40), Scheme(4, 32), torch.bfloat16)
    assert not made.wide().any()
    assert deviation.relative == 0


def wide_model(model: Path, weights: WeightsChoice, target: Path) -> Path:
    """The same model with the numbers that the quantized matrices stand for in its files, in f32; never tied."""
    target.mkdir()
    tensors = load_file(model / "model.safetensors")
    config = load_model(model).config
    schemes = schemes_of(weights)
    for name in _matrices(config):
        tensors[name] = quantize(tensors[name].float(), schemes.layers, torch.float32)[0].wide()
    head = tensors.get("lm_head.weight", tensors["model.embed_tokens.weight"])
    tensors["lm_head.weight"] = quantize(head.float(), schemes.head, torch.float32)[0].wide()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, target / "model.safetensors")
    content = (model / "config.json").read_text().replace('"tie_word_embeddings": true', '"tie_word_embeddings": false')
    (target / "config.json").write_text(content)
    return target


def _matrices(config: ModelConfig) -> list[str]:
    layers = model_tensors(config).layers
    tensors = [(*layer.qkv, layer.output, *sum(layer.gate_up, ()), *layer.down) for layer in layers]
    return [tensor.name for tensor in sum(tensors, ())]


CASES = [
    (family, weights, backend)
    for family in get_args(Family)
    for weights in ("int8", "int4")
    for backend in ("native", "torch")
    if backend == "torch" or family in BY_KERNELS
]


@pytest.mark.parametrize(("family", "weights", "backend"), CASES)
def test_a_quantized_model_computes_with_what_the_integers_stand_for(
    tmp_path: Path, family: Family, weights: Quantized, backend: BackendChoice
) -> None:
    model = write_random_model(tmp_path / "model", family)
    quantized = Engine(model, weights=weights, backend=backend, num_pages=8, threads=1)
    wide = Engine(wide_model(model, weights, tmp_path / "wide"), backend="torch", num_pages=8, threads=1)
    original = Engine(model, backend="torch", num_pages=8, threads=1)
    got, expected, exact = (row_logits(engine, Held([3, 1, 2, 0]), PROMPT) for engine in (quantized, wide, original))
    assert np.abs(got - expected).max() <= SAME * np.abs(expected).max()
    differs = np.sqrt(np.square(got - exact).mean() / np.square(exact).mean())
    assert 0 < differs < LOGITS_DIFFER[weights]


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_an_adapter_changes_a_quantized_model_as_it_changes_the_model_of_its_numbers(
    tmp_path: Path, weights: Quantized, backend: BackendChoice
) -> None:
    model = write_random_model(tmp_path / "model")
    engines = (
        Engine(model, weights=weights, backend=backend, num_pages=8, threads=1),
        Engine(wide_model(model, weights, tmp_path / "wide"), backend="torch", num_pages=8, threads=1),
    )
    told = []
    for engine in engines:
        adapter = engine.adapters.put(read_adapter(random_peft(engine.config, 1).files, engine.config))
        told.append(logits_with(engine, [3, 1, 2, 0], PROMPT, use(engine, adapter.number)))
    without = logits_with(engines[0], [3, 1, 2, 0], PROMPT, None)
    assert np.abs(told[0] - told[1]).max() <= SAME * np.abs(told[1]).max()
    assert np.abs(told[0] - without).max() > 0.1 * np.abs(without).max()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("weights", ["int8", "int4"])
@pytest.mark.parametrize("family", ["qwen3", "qwen3_moe"])
def test_a_row_alone_gives_what_it_gives_among_others(
    tmp_path: Path, family: Family, weights: Quantized, dtype: Literal["float32", "bfloat16"], backend: BackendChoice
) -> None:
    sizes = ModelSizes(hidden_size=160, num_attention_heads=5, num_key_value_heads=1, intermediate_size=208)
    model = write_random_model(tmp_path / "model", family, sizes=sizes)
    engine = Engine(model, weights=weights, dtype=dtype, backend=backend, num_pages=64, threads=1)
    for num_rows in (2, 3, 4, 5, 8, 13, 16, 17, 31, 33, 64):
        feeds = [Feed(Held([index]), [100 + index], probes=[Logits()]) for index in range(num_rows)]
        together = engine.step(make_batch(feeds, vocab_size=320)).probes
        for index in {0, num_rows // 2, num_rows - 1}:
            lone = Feed(Held([index]), [100 + index], probes=[Logits()])
            (expected,) = engine.step(make_batch([lone], vocab_size=320)).probes
            np.testing.assert_array_equal(together[index], expected)


def test_weights_are_the_same_at_each_load_and_tell_what_they_changed(tmp_path: Path) -> None:
    model = write_random_model(tmp_path / "model", dtype="bfloat16")
    original, first, second = (load_model(model, weights=choice) for choice in ("original", "int8", "int8"))
    assert original.quantization is None
    report = first.quantization
    assert report is not None
    assert report == second.quantization
    for one, other in zip(first.weights.layers, second.weights.layers, strict=True):
        assert isinstance(one.down, QuantizedMatrix)
        assert isinstance(other.down, QuantizedMatrix)
        assert torch.equal(one.down.codes, other.down.codes)
    assert 0.003 < report.error <= report.worst_error < 0.02
    assert report.worst in {f"layers.{layer}.{name}" for layer in (0, 1) for name in WHICH} | {"head"}
    assert str(report).startswith("int8 weights differ by 0.")


WHICH = ("qkv", "output", "gate_up", "down")


@pytest.mark.parametrize("weights", ["original", "int8", "int4"])
@pytest.mark.parametrize("family", ["qwen2", "qwen3", "qwen3_moe"])
def test_the_size_that_is_told_is_that_of_the_tensors(tmp_path: Path, family: Family, weights: WeightsChoice) -> None:
    loaded = load_model(write_random_model(tmp_path / "model", family, dtype="bfloat16"), weights=weights)
    tensors: dict[int, int] = {}
    parts: tuple[Weights | LayerWeights, ...] = (loaded.weights, *loaded.weights.layers)
    for part in parts:
        for field in fields(part):
            value = getattr(part, field.name)
            if isinstance(value, QuantizedMatrix):
                tensors |= {id(value.codes): value.codes.nbytes, id(value.scales): value.scales.nbytes}
            elif isinstance(value, torch.Tensor):
                tensors[id(value)] = value.nbytes
    if loaded.quantization is None:
        assert weights == "original"
    else:
        assert loaded.quantization.size_bytes == sum(tensors.values())
        assert loaded.quantization.size_bytes < 0.9 * loaded.quantization.original_bytes


def test_a_saved_context_belongs_to_one_choice_of_weights_and_an_adapter_to_all(tmp_path: Path) -> None:
    model = write_random_model(tmp_path / "model")
    infos = [Engine(model, weights=choice, num_pages=1).info for choice in ("original", "int8", "int4")]
    assert len({info.fingerprint for info in infos}) == 3
    assert len({info.checkpoint for info in infos}) == 1
    assert infos[0].fingerprint == infos[0].checkpoint


def test_the_log_tells_what_quantizing_changed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = write_random_model(tmp_path / "tiny", dtype="bfloat16")
    with caplog.at_level("INFO", logger="pie.engine.engine"):
        engine = Engine(model, weights="int4", num_pages=1)
    assert f"tiny: {engine.quantization}" in caplog.messages


@pytest.mark.parametrize(("weights", "agreement", "differs"), [("int8", 0.995, 0.003), ("int4", 0.985, 0.01)])
def test_the_embedded_model_says_almost_the_same(
    backend: BackendChoice, weights: Quantized, agreement: float, differs: float
) -> None:
    quantized = Engine(embedded_model(), weights=weights, backend=backend, num_pages=16, threads=1)
    agreed, ours, theirs = compare_with_original(quantized, backend)
    assert agreed >= agreement
    assert abs(np.log(ours / theirs)) <= differs


def compare_with_original(engine: Engine, backend: BackendChoice) -> tuple[float, float, float]:
    """How often the embedded model finds the same token most likely, and both perplexities, over 1,471 tokens."""
    directory = embedded_model()
    examples = encode(load_tokenizer(directory), seed=777, num_conversations=40, max_length=250)
    original = Engine(directory, backend=backend, num_pages=16, threads=1)
    agreed, surprises = [], []
    for example in examples:
        tokens = example.token_ids.tolist()
        answers = (example.weights[1:] == 1).numpy()
        ours, theirs = (row_logits(each, Held(list(range(16))), tokens)[:-1] for each in (engine, original))
        agreed.append((ours.argmax(-1) == theirs.argmax(-1))[answers])
        surprises.append([_surprise(logits, tokens)[answers] for logits in (ours, theirs)])
    ours_, theirs_ = (float(np.exp(np.concatenate(column).mean())) for column in zip(*surprises, strict=True))
    return float(np.concatenate(agreed).mean()), ours_, theirs_


def _surprise(logits: npt.NDArray[np.float32], tokens: list[int]) -> npt.NDArray[np.float32]:
    """Negative log probability of each next token."""
    chosen = torch.from_numpy(logits).log_softmax(-1)[torch.arange(len(logits)), torch.tensor(tokens[1:])]
    return np.asarray(-chosen, np.float32)
