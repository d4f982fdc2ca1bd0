"""Model directories: loads the checked weights of a Hugging Face directory, and fingerprints them.

Reads safetensors only: pickled checkpoints can run code. Does not know how the weights are used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from pie.engine.description import compute_dtype, model_name
from pie.engine.models.config import ModelConfig, parse_config
from pie.engine.models.tensors import HEAD
from pie.engine.weight_files import check_tensors, find_weight_files, read_config, read_headers
from pie.errors import ModelError

__all__ = ["LayerWeights", "LoadedModel", "Weights", "load_model"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True, eq=False)
class LayerWeights:
    """Weights of one decoder layer; matrices are [outputs, inputs]. Q = heads * head_dim, I = intermediate size.

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
        weights = _take_weights(source, config)
    return LoadedModel(model_name(model_dir), config, weights, _fingerprint(config, found.files))


class _Source:
    """Tensors by name over all opened files, converted to one dtype."""

    def __init__(self, handles: Mapping[str, safe_open], dtype: torch.dtype) -> None:
        self._handles = handles
        self._dtype = dtype

    def take(self, name: str) -> torch.Tensor:
        tensor: torch.Tensor = self._handles[name].get_tensor(name)  # type: ignore[no-untyped-call]
        return tensor.to(self._dtype).contiguous()


def _take_weights(source: _Source, config: ModelConfig) -> Weights:
    embedding = source.take("model.embed_tokens.weight")
    tied = config.tied_embeddings
    return Weights(
        embedding=embedding,
        layers=tuple(_take_layer(source, config, f"model.layers.{index}.") for index in range(config.num_layers)),
        final_norm=source.take("model.norm.weight"),
        head=embedding if tied else source.take(HEAD),
    )


def _take_layer(source: _Source, config: ModelConfig, prefix: str) -> LayerWeights:
    attention, mlp = prefix + "self_attn.", prefix + "mlp."
    biases = [source.take(f"{attention}{x}_proj.bias") for x in "qkv" if config.qkv_bias]
    return LayerWeights(
        input_norm=source.take(prefix + "input_layernorm.weight"),
        qkv=torch.cat([source.take(f"{attention}{x}_proj.weight") for x in "qkv"]),
        qkv_bias=torch.cat(biases) if biases else None,
        q_norm=source.take(attention + "q_norm.weight") if config.qk_norm else None,
        k_norm=source.take(attention + "k_norm.weight") if config.qk_norm else None,
        output=source.take(attention + "o_proj.weight"),
        mlp_norm=source.take(prefix + "post_attention_layernorm.weight"),
        gate_up=torch.cat([source.take(f"{mlp}{x}_proj.weight") for x in ("gate", "up")]),
        down=source.take(mlp + "down_proj.weight"),
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
