"""Model directories: loads the checked weights of a Hugging Face directory, and fingerprints them.

Reads safetensors only: pickled checkpoints can run code. Does not know how the weights are used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from pie.engine.description import compute_dtype, model_name
from pie.engine.models.config import ModelConfig
from pie.engine.models.config_file import parse_config
from pie.engine.models.tensors import LayerTensors, ModelTensors, Tensor, model_tensors
from pie.engine.weight_files import check_tensors, find_weight_files, read_config, read_headers
from pie.errors import ModelError

__all__ = ["LayerWeights", "LoadedModel", "Weights", "load_model"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True, eq=False)
class LayerWeights:
    """Weights of one decoder layer; matrices are [outputs, inputs]. Q = heads * head_dim, I = size of the MLP.

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
    qkv: torch.Tensor
    qkv_bias: torch.Tensor | None
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    output: torch.Tensor
    mlp_norm: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor
    attention_post_norm: torch.Tensor | None = None
    mlp_post_norm: torch.Tensor | None = None
    router: torch.Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """All weights of a decoder: `embedding` and `head` are [vocab, hidden] (the same tensor if tied)."""

    embedding: torch.Tensor
    layers: tuple[LayerWeights, ...]
    final_norm: torch.Tensor
    head: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model ready to be placed on a backend: its name, facts, weights and fingerprint."""

    name: str
    config: ModelConfig
    weights: Weights
    fingerprint: str


def load_model(model_dir: Path, *, dtype: str | None = None) -> LoadedModel:
    """Load the model in `model_dir`.

    Args:
        model_dir: a Hugging Face directory: config.json and model.safetensors, or shards with their index.
        dtype: "float32" or "bfloat16"; None takes the one that config.json names (bfloat16 for float16).

    Raises:
        ModelError: `model-not-found`, `bad-config`, `unknown-architecture`, `unsupported-feature`, `pickle-weights`,
            `no-weights`, `bad-weights`, `missing-tensor`, `wrong-shape` or `unsupported-dtype`.
    """
    raw = read_config(model_dir)
    config = parse_config(raw)
    found = find_weight_files(model_dir)
    check_tensors(found, read_headers(found), config)  # before the first of many gigabytes is read
    with ExitStack() as stack:
        source = _Source(_open_all(found.files, stack), _torch_dtype(raw, dtype))
        weights = _take_weights(source, model_tensors(config))
    return LoadedModel(model_name(model_dir), config, weights, _fingerprint(config, found.files))


class _Source:
    """Tensors over all opened files, which were checked before, converted to one dtype."""

    def __init__(self, handles: Mapping[str, safe_open], dtype: torch.dtype) -> None:
        self._handles = handles
        self._dtype = dtype

    def take(self, tensor: Tensor) -> torch.Tensor:
        """One tensor; f32 if it is not the file's own numbers."""
        value: torch.Tensor = self._handles[tensor.name].get_tensor(tensor.name)  # type: ignore[no-untyped-call]
        value = value.to(self._dtype).contiguous()
        return value.float() + tensor.offset if tensor.offset else value

    def take_if_any(self, tensor: Tensor | None) -> torch.Tensor | None:
        return None if tensor is None else self.take(tensor)

    def join(self, tensors: Sequence[Tensor]) -> torch.Tensor:
        """Tensors one above the other; a single one is not copied."""
        parts = [self.take(tensor) for tensor in tensors]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _take_weights(source: _Source, tensors: ModelTensors) -> Weights:
    embedding = source.take(tensors.embedding)
    return Weights(
        embedding=embedding,
        layers=tuple(_take_layer(source, layer) for layer in tensors.layers),
        final_norm=source.take(tensors.final_norm),
        head=embedding if tensors.head is None else source.take(tensors.head),
    )


def _take_layer(source: _Source, layer: LayerTensors) -> LayerWeights:
    gate_up = [source.join(parts) for parts in layer.gate_up]
    down = [source.take(tensor) for tensor in layer.down]
    experts = layer.router is not None
    return LayerWeights(
        input_norm=source.take(layer.input_norm),
        qkv=source.join(layer.qkv),
        qkv_bias=source.join(layer.qkv_bias) if layer.qkv_bias else None,
        q_norm=source.take_if_any(layer.q_norm),
        k_norm=source.take_if_any(layer.k_norm),
        output=source.take(layer.output),
        mlp_norm=source.take(layer.mlp_norm),
        gate_up=torch.stack(gate_up) if experts else gate_up[0],
        down=torch.stack(down) if experts else down[0],
        attention_post_norm=source.take_if_any(layer.attention_post_norm),
        mlp_post_norm=source.take_if_any(layer.mlp_post_norm),
        router=source.take_if_any(layer.router),
    )


def _open_all(files: Iterable[Path], stack: ExitStack) -> dict[str, safe_open]:
    handles: dict[str, safe_open] = {}
    for path in files:
        try:
            handle = stack.enter_context(safe_open(path, "pt"))
        except (SafetensorError, OSError) as error:
            raise ModelError("bad-weights", f"{path} cannot be read: {error}", remedy="Download it again.") from error
        handles.update(dict.fromkeys(handle.keys(), handle))
    return handles


def _torch_dtype(raw: Mapping[str, object], dtype: str | None) -> torch.dtype:
    name = dtype or compute_dtype(raw)
    if name not in _DTYPES:
        raise ModelError("unsupported-dtype", f"cannot compute in {name}", remedy="Use float32 or bfloat16.")
    return _DTYPES[name]


def _fingerprint(config: ModelConfig, files: Iterable[Path]) -> str:
    """Digest of what decides a key or value: the architecture's facts and every byte of the weights."""
    digest = hashlib.sha256(repr(config).encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
