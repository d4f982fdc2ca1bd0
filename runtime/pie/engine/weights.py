"""Model directories: loads the checked weights of a Hugging Face directory, and fingerprints them.

Reads safetensors only: pickled checkpoints can run code. Does not know how the weights are used.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from pie.engine.description import check_compute_dtype, compute_dtype, model_name
from pie.engine.models.config import ModelConfig
from pie.engine.models.config_file import parse_config
from pie.engine.models.tensors import LayerTensors, ModelTensors, Tensor, model_tensors
from pie.engine.quantization import Matrix
from pie.engine.quantizer import QuantizationReport, Quantizer
from pie.engine.room import check_room
from pie.engine.schemes import SCHEMES, WeightsChoice
from pie.engine.stopping import check_stop
from pie.engine.weight_files import check_tensors, find_weight_files, read_config, read_headers
from pie.errors import ModelError

__all__ = ["LayerWeights", "LoadedModel", "Weights", "checkpoint_digest", "load_model", "open_all", "torch_dtype"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True, eq=False)
class LayerWeights:
    """Weights of one decoder layer; matrices are [outputs, inputs]. Q = heads * head_dim, I = size of the MLP.

    A `Matrix` may be quantized, all others are as they are computed with.
    Norms are what rows are multiplied by, also where files hold the difference from one.

    Attributes:
        input_norm: [hidden], before attention.
        qkv: [qkv_size, hidden], query, key and value projections one above the other.
        qkv_bias: [qkv_size] or None.
        q_norm: [head_dim] or None.
        k_norm: [head_dim] or None.
        output: [hidden, Q], after attention.
        mlp_norm: [hidden], before the MLP.
        gate_up: [2 I, hidden], gate above up.
        down: [hidden, I].
        attention_post_norm: [hidden] or None, after `output`.
        mlp_post_norm: [hidden] or None, after `down`.
        router: [experts, hidden] or None; with it, `gate_up` and `down` hold one matrix per expert.
    """

    input_norm: torch.Tensor
    qkv: Matrix
    qkv_bias: torch.Tensor | None
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    output: Matrix
    mlp_norm: torch.Tensor
    gate_up: Matrix
    down: Matrix
    attention_post_norm: torch.Tensor | None = None
    mlp_post_norm: torch.Tensor | None = None
    router: torch.Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """All weights of a decoder: `embedding` and `head` are [vocab, hidden], one tensor if tied and not quantized."""

    embedding: torch.Tensor
    layers: tuple[LayerWeights, ...]
    final_norm: torch.Tensor
    head: Matrix


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model ready to be placed on a backend.

    Attributes:
        name: what it is called.
        config: its facts.
        weights: its weights.
        checkpoint: digest of the facts and the files.
        fingerprint: digest of what decides a key or value: the same, and how the weights were quantized.
        quantization: what quantizing did to the weights; None if they are the original ones.
    """

    name: str
    config: ModelConfig
    weights: Weights
    checkpoint: str
    fingerprint: str
    quantization: QuantizationReport | None

    @property
    def embedding_scale(self) -> float:
        """Factor of the embedding, rounded as it is: models with one were trained that way."""
        return float(torch.tensor(self.config.embedding_scale, dtype=self.weights.embedding.dtype))

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in, and keeps keys and values in."""
        return self.weights.embedding.dtype


def load_model(
    model_dir: Path,
    *,
    dtype: str | None = None,
    weights: WeightsChoice = "original",
    stop: threading.Event | None = None,
) -> LoadedModel:
    """Load the model in `model_dir`.

    Args:
        model_dir: a Hugging Face directory: config.json and model.safetensors, or shards with their index.
        dtype: "float32" or "bfloat16"; None takes the one that config.json names (bfloat16 for float16).
        weights: "original", or how matrices are quantized.
        stop: another thread sets it to have the loading given up.

    Raises:
        ModelError: `model-not-found`, `bad-config`, `unknown-architecture`, `unsupported-feature`, `pickle-weights`,
            `no-weights`, `bad-weights`, `missing-tensor`, `wrong-shape`, `unsupported-dtype` or `not-enough-memory`;
            `stopped`.
    """
    raw = read_config(model_dir)
    config = parse_config(raw)
    found = find_weight_files(model_dir)
    check_tensors(found, read_headers(found), config)  # before the first of many gigabytes is read
    computes_in = torch_dtype(raw, dtype)
    check_room(model_name(model_dir), config, computes_in, weights)
    quantizer = Quantizer(weights, computes_in)
    with ExitStack() as stack:
        source = _Source(open_all(found.files, stack), computes_in, stop)
        taken = _take_weights(source, quantizer, model_tensors(config))
    checkpoint, report = checkpoint_digest(config, found.files, stop), quantizer.report(config)
    fingerprint = checkpoint if report is None else _with_schemes(checkpoint, weights)
    return LoadedModel(model_name(model_dir), config, taken, checkpoint, fingerprint, report)


class _Source:
    """Tensors over all opened files, which were checked before, converted to one dtype."""

    def __init__(self, handles: Mapping[str, safe_open], dtype: torch.dtype, stop: threading.Event | None) -> None:
        self._handles = handles
        self.dtype = dtype
        self._stop = stop

    def take(self, tensor: Tensor) -> torch.Tensor:
        """One tensor; f32 if it is not the file's own numbers."""
        value = self._read(tensor).to(self.dtype).contiguous()
        return value.float() + tensor.offset if tensor.offset else value

    def take_if_any(self, tensor: Tensor | None) -> torch.Tensor | None:
        return None if tensor is None else self.take(tensor)

    def join(self, tensors: Sequence[Tensor]) -> torch.Tensor:
        """The file's own numbers of tensors one above the other; a single one is not copied."""
        parts = [self._read(tensor) for tensor in tensors]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _read(self, tensor: Tensor) -> torch.Tensor:
        check_stop(self._stop)
        value: torch.Tensor = self._handles[tensor.name].get_tensor(tensor.name)  # type: ignore[no-untyped-call]
        return value


def _take_weights(source: _Source, quantizer: Quantizer, tensors: ModelTensors) -> Weights:
    embedding = source.take(tensors.embedding)
    shared = tensors.head is None and not quantizer.quantizes
    return Weights(
        embedding=embedding,
        layers=tuple(_take_layer(source, quantizer, index, layer) for index, layer in enumerate(tensors.layers)),
        final_norm=source.take(tensors.final_norm),
        head=embedding if shared else quantizer.head(source.join([tensors.head or tensors.embedding])),
    )


def _take_layer(source: _Source, quantizer: Quantizer, index: int, layer: LayerTensors) -> LayerWeights:
    def matrix(name: str, tensors: Sequence[Tensor]) -> Matrix:
        return quantizer.layer(f"layers.{index}.{name}", source.join(tensors))

    def matrices(name: str, stacks: Sequence[Sequence[Tensor]]) -> Matrix:
        """One for each expert; or the only one, if there are none."""
        if layer.router is None:
            return matrix(name, stacks[0])
        return quantizer.layer(f"layers.{index}.{name}", torch.stack([source.join(parts) for parts in stacks]))

    return LayerWeights(
        input_norm=source.take(layer.input_norm),
        qkv=matrix("qkv", layer.qkv),
        qkv_bias=source.join(layer.qkv_bias).to(source.dtype) if layer.qkv_bias else None,
        q_norm=source.take_if_any(layer.q_norm),
        k_norm=source.take_if_any(layer.k_norm),
        output=matrix("output", [layer.output]),
        mlp_norm=source.take(layer.mlp_norm),
        gate_up=matrices("gate_up", layer.gate_up),
        down=matrices("down", [(tensor,) for tensor in layer.down]),
        attention_post_norm=source.take_if_any(layer.attention_post_norm),
        mlp_post_norm=source.take_if_any(layer.mlp_post_norm),
        router=source.take_if_any(layer.router),
    )


def open_all(files: Iterable[Path], stack: ExitStack) -> dict[str, safe_open]:
    """The open file of each tensor, closed by `stack`; raises ModelError(`bad-weights`)."""
    handles: dict[str, safe_open] = {}
    for path in files:
        try:
            handle = stack.enter_context(safe_open(path, "pt"))
        except (SafetensorError, OSError) as error:
            raise ModelError("bad-weights", f"{path} cannot be read: {error}", remedy="Download it again.") from error
        handles.update(dict.fromkeys(handle.keys(), handle))
    return handles


def torch_dtype(raw: Mapping[str, object], dtype: str | None) -> torch.dtype:
    """What a model is computed in, `dtype` if it is given; raises ModelError(`unsupported-dtype`)."""
    return _DTYPES[check_compute_dtype(dtype or compute_dtype(raw))]


def checkpoint_digest(config: object, files: Iterable[Path], stop: threading.Event | None) -> str:
    """Digest of the architecture's facts and every byte of the weights."""
    digest = hashlib.sha256(repr(config).encode())
    for path in files:
        check_stop(stop)
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _with_schemes(checkpoint: str, weights: WeightsChoice) -> str:
    return hashlib.sha256(f"{checkpoint}\0{SCHEMES[weights]!r}".encode()).hexdigest()
