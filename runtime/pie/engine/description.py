"""What a model directory holds, told without loading its weights, and whether this engine can run it.

Reads config.json and the headers of the weights. Does not know tokenizers or templates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pie.engine.fallback.facts import TransformersConfig
from pie.engine.models.config import ModelConfig
from pie.engine.models.tensors import HEAD
from pie.engine.reading import read_facts
from pie.engine.schemes import SCHEMES, WeightsChoice, weight_bytes
from pie.engine.weight_files import (
    TensorHeader,
    check_dtypes,
    check_tensors,
    find_weight_files,
    read_config,
    read_headers,
)
from pie.errors import ModelError

__all__ = ["PAGE_SIZE", "ModelDescription", "check_compute_dtype", "compute_dtype", "describe_model", "model_name"]

PAGE_SIZE = 16  # tokens
_ITEM_BYTES = {"float32": 4, "bfloat16": 2}
_SHORT = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What a directory holds; what could not be found out is empty, zero or None.

    Attributes:
        name: of the model.
        architecture: the Hugging Face class name.
        config: the model's facts.
        size_bytes: of the safetensors files.
        parameters: numbers in the tensors; a head that is the embedding counts once.
        dtypes: of the tensors in the files.
        compute_dtype: what the engine computes in.
        problem: why it cannot be run; None if it can.
    """

    name: str
    architecture: str = ""
    config: ModelConfig | TransformersConfig | None = None
    size_bytes: int = 0
    parameters: int = 0
    dtypes: tuple[str, ...] = ()
    compute_dtype: str = ""
    problem: ModelError | None = None

    @property
    def weight_bytes(self) -> dict[WeightsChoice, int]:
        """What the weights take in memory by each choice of them; empty if unknown."""
        config, item_bytes = self.config, _ITEM_BYTES.get(self.compute_dtype)
        if config is None or item_bytes is None:
            return {}
        if isinstance(config, TransformersConfig):
            return {"original": config.num_parameters * item_bytes}
        return {choice: weight_bytes(config, item_bytes, schemes) for choice, schemes in SCHEMES.items()}

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of the keys and values of one token in all layers; 0 if unknown."""
        if self.config is None or self.compute_dtype not in _ITEM_BYTES:
            return 0
        values = self.config.num_layers * 2 * self.config.num_kv_heads * self.config.head_dim
        return values * _ITEM_BYTES[self.compute_dtype]


def describe_model(model_dir: Path) -> ModelDescription:
    """Describe a directory, whatever is wrong with it."""
    problems: list[ModelError] = []
    raw: Mapping[str, object] = {}
    config: ModelConfig | TransformersConfig | None = None
    headers: Mapping[str, TensorHeader] = {}
    try:
        raw = read_config(model_dir)
        config = read_facts(raw)
        check_compute_dtype(compute_dtype(raw))
    except ModelError as error:
        problems.append(error)
    try:
        weights = find_weight_files(model_dir)
        headers = read_headers(weights)
        if isinstance(config, ModelConfig):
            check_tensors(weights, headers, config)
        elif config is not None:
            check_dtypes(headers)
    except ModelError as error:
        problems.append(error)
    tied = isinstance(config, ModelConfig) and config.tied_embeddings
    counted = [header for name, header in headers.items() if not (tied and name == HEAD)]
    return ModelDescription(
        name=model_name(model_dir),
        architecture=_architecture(raw),
        config=config,
        size_bytes=_size(model_dir),
        parameters=sum(math.prod(header.shape) for header in counted),
        dtypes=tuple(sorted({_SHORT.get(header.dtype, header.dtype) for header in counted})),
        compute_dtype=compute_dtype(raw) if raw else "",
        problem=problems[0] if problems else None,
    )


def compute_dtype(raw: Mapping[str, object]) -> str:
    """What a model is computed in unless another number type is asked for: the one that config.json names.

    In the place of float16, which is many times slower on CPUs, stands bfloat16.
    """
    name = str(raw.get("dtype") or raw.get("torch_dtype") or "bfloat16")
    return "bfloat16" if name == "float16" else name


def check_compute_dtype(name: str) -> str:
    """The name of a number type, if it is one to compute in; raises ModelError(`unsupported-dtype`)."""
    if name not in _ITEM_BYTES:
        raise ModelError(
            "unsupported-dtype",
            f"config.json names the number type {name}, in which this engine does not compute",
            remedy="If the weights are float32, bfloat16 or float16, name that as `dtype`; else choose another model.",
        )
    return name


def model_name(model_dir: Path) -> str:
    """What a model is called: as on the hub if its directory is in the Hugging Face cache, else like its directory."""
    path = model_dir.resolve()
    repository = path.parent.parent.name
    if path.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.removeprefix("models--").replace("--", "/")
    return path.name


def _architecture(raw: Mapping[str, object]) -> str:
    names = raw.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def _size(model_dir: Path) -> int:
    total = 0
    for path in model_dir.glob("*.safetensors"):
        with suppress(OSError):  # a link of the cache whose file is gone
            total += path.stat().st_size
    return total
