"""Loads the weights of a model that transformers runs, from safetensors files that were looked through before."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pie.engine.description import model_name
from pie.engine.fallback.attention import NAME
from pie.engine.fallback.decoder import TransformersDecoder
from pie.engine.fallback.facts import TransformersConfig, read_transformers_config
from pie.engine.fallback.library import FAULTS, first_line, library, model_class, quiet
from pie.engine.fallback.self_check import check_model
from pie.engine.memory import is_out_of_memory
from pie.engine.quantizer import QuantizationReport
from pie.engine.room import check_room
from pie.engine.schemes import WeightsChoice
from pie.engine.stopping import check_stop
from pie.engine.weight_files import WeightFiles, check_dtypes, find_weight_files, read_config, read_headers
from pie.engine.weights import checkpoint_digest, open_all, torch_dtype
from pie.errors import ModelError

__all__ = ["TransformersModel", "load_transformers_model"]


@dataclass(frozen=True, slots=True, eq=False)
class TransformersModel:
    """A model of transformers, ready to be placed on a backend; fields as in `pie.engine.weights.LoadedModel`."""

    name: str
    config: TransformersConfig
    decoder: TransformersDecoder
    dtype: torch.dtype
    checkpoint: str
    fingerprint: str
    quantization: QuantizationReport | None = None


def load_transformers_model(
    model_dir: Path, *, dtype: str | None, weights: WeightsChoice, stop: threading.Event | None
) -> TransformersModel:
    """Load the model in `model_dir` (see `pie.engine.weights.load_model`), and check that it computes over pages.

    Raises:
        ModelError: as `load_model`, and `transformers-not-installed`, `unsupported-architecture`.
    """
    raw = read_config(model_dir)
    config = read_transformers_config(raw)
    if weights != "original":
        raise ModelError(
            "unsupported-feature",
            f"{config.architecture} runs through transformers, where matrices cannot be quantized to {weights}",
            remedy="Leave out --weights.",
        )
    files = find_weight_files(model_dir)
    check_dtypes(read_headers(files))
    computes_in = torch_dtype(raw, dtype)
    check_room(model_name(model_dir), config, computes_in)
    check_stop(stop)
    module = _load(raw, files, computes_in)
    check_stop(stop)
    decoder = TransformersDecoder(module, config)
    check_model(module, decoder, config, computes_in)
    checkpoint = checkpoint_digest(config, files.files, stop)
    version = library(config.architecture).__version__
    fingerprint = hashlib.sha256(f"{checkpoint}\0transformers {version}".encode()).hexdigest()
    return TransformersModel(model_name(model_dir), config, decoder, computes_in, checkpoint, fingerprint)


def _load(raw: Mapping[str, object], files: WeightFiles, dtype: torch.dtype) -> Any:
    """The module with its weights; only what the files hold is handed over, so that nothing else can be read."""
    found, config = model_class(raw)
    with ExitStack() as stack:
        handles = open_all(files.files, stack)
        tensors = {name: handle.get_tensor(name) for name, handle in handles.items()}  # type: ignore[no-untyped-call]
        stack.enter_context(quiet(library(found.__name__)))
        try:
            module, told = found.from_pretrained(
                None,
                config=config,
                state_dict=tensors,
                dtype=dtype,
                attn_implementation=NAME,
                experts_implementation="eager",
                ignore_mismatched_sizes=True,  # told by our own error
                output_loading_info=True,
            )
        except FAULTS as error:
            if is_out_of_memory(error):
                raise
            raise _unfit(
                files, f"the weights do not fit {found.__name__}: {first_line(error)}", "bad-weights"
            ) from error
    _refuse_unfit(files, told)
    return module


def _refuse_unfit(files: WeightFiles, told: Mapping[str, Any]) -> None:
    for name, shape, wanted in sorted(told["mismatched_keys"]):
        cause = f"{_place(files, name)}: {name} has shape {tuple(shape)} where config.json implies {tuple(wanted)}"
        raise _unfit(files, cause, "wrong-shape")
    for name in sorted(told["missing_keys"]):
        raise _unfit(files, f"{_place(files, name)} holds no tensor {name}", "missing-tensor")


def _place(files: WeightFiles, tensor: str) -> Path:
    return files.files[0] if len(files.files) == 1 else files.placed.get(tensor, files.directory)


def _unfit(files: WeightFiles, cause: str, code: str) -> ModelError:
    return ModelError(code, cause, remedy="Download the model again; config.json and the weights must belong together.")
