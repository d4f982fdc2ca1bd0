"""The files of a model directory: finds them, reads config.json and the headers of the weights, checks these.

Reads no weights, so that it is quick for models of any size; safetensors only: pickled checkpoints can run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from pie.engine.models.config import ModelConfig
from pie.engine.models.tensors import model_tensors
from pie.errors import ModelError

__all__ = [
    "TensorHeader",
    "WeightFiles",
    "check_dtypes",
    "check_tensors",
    "find_weight_files",
    "read_config",
    "read_headers",
]

LOADABLE = frozenset({"F64", "F32", "F16", "BF16"})
_INDEX = "model.safetensors.index.json"
_AGAIN = "Download the model again; config.json and the weights must belong together."


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """What a file says of one of its tensors; `dtype` is as safetensors writes it, such as BF16."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The files with a model's weights; `placed` is the file of each tensor by the index, empty without one."""

    directory: Path
    files: tuple[Path, ...]
    placed: Mapping[str, Path]


def read_config(model_dir: Path) -> dict[str, object]:
    """The content of config.json.

    Raises:
        ModelError: `model-not-found` if there is none, `bad-config`.
    """
    return _read_json(model_dir / "config.json", missing_code="model-not-found")


def find_weight_files(model_dir: Path) -> WeightFiles:
    """The safetensors files of a directory: model.safetensors, or those that the index names.

    Raises:
        ModelError: `no-weights`, `pickle-weights`, `bad-weights`.
    """
    index = model_dir / _INDEX
    placed: dict[str, Path] = {}
    files = [model_dir / "model.safetensors"]
    if index.is_file():
        table = _read_json(index, missing_code="no-weights").get("weight_map")
        if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
            raise ModelError("bad-weights", f"{index} has no `weight_map`", remedy="Download the model again.")
        if any(Path(name).name != name for name in table.values()):
            raise ModelError("bad-weights", f"{index} names files outside its folder", remedy="Do not use this model.")
        placed = {tensor: model_dir / name for tensor, name in table.items()}
        files = sorted(set(placed.values()))
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise _no_weights(model_dir, missing[0])
    return WeightFiles(model_dir, tuple(files), placed)


def read_headers(weights: WeightFiles) -> dict[str, TensorHeader]:
    """What the files say of their tensors, by name.

    Raises:
        ModelError: `bad-weights` for a file that is none, or shorter than it says.
    """
    headers: dict[str, TensorHeader] = {}
    for path in weights.files:
        try:
            path.open("rb").close()  # for the system's own reason: the library calls all of them "no such file"
            with safe_open(path, "np") as file:
                for name in file.keys():  # noqa: SIM118 - it is no mapping
                    tensor = file.get_slice(name)
                    headers[name] = TensorHeader(path, tuple(tensor.get_shape()), str(tensor.get_dtype()))
        except (SafetensorError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise ModelError("bad-weights", f"{path} cannot be read: {reason}", remedy="Download it again.") from error
    return headers


def check_tensors(weights: WeightFiles, headers: Mapping[str, TensorHeader], config: ModelConfig) -> None:
    """See that all tensors are there, with the right shapes and numbers.

    Raises:
        ModelError: `missing-tensor`, `wrong-shape`, `unsupported-dtype`.
    """
    for expected in model_tensors(config).every():
        name, shape = expected.name, expected.shape
        place = weights.placed.get(name)
        found = headers.get(name)
        if found is None or (place is not None and place != found.file):
            where = weights.files[0] if len(weights.files) == 1 else place or weights.directory
            raise ModelError("missing-tensor", f"{where} holds no tensor {name}", remedy=_AGAIN)
        if found.shape != shape:
            raise ModelError(
                "wrong-shape",
                f"{found.file}: {name} has shape {found.shape} where config.json implies {shape}",
                remedy=_AGAIN,
            )
        _check_dtype(name, found)


def check_dtypes(headers: Mapping[str, TensorHeader]) -> None:
    """See that all tensors hold numbers that can be computed with; raises ModelError(`unsupported-dtype`)."""
    for name, found in headers.items():
        _check_dtype(name, found)


def _check_dtype(name: str, found: TensorHeader) -> None:
    if found.dtype not in LOADABLE:
        raise ModelError(
            "unsupported-dtype",
            f"{found.file}: {name} is of type {found.dtype}, not one of {', '.join(sorted(LOADABLE))}",
            remedy="Choose a version of the model that is not quantized; --weights quantizes it here.",
        )


def _no_weights(model_dir: Path, wanted: Path) -> ModelError:
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in model_dir.glob(pattern))
    if pickles:
        return ModelError(
            "pickle-weights",
            f"{model_dir} holds only pickled weights ({pickles[0]}), which can run code when loaded",
            remedy="Convert the model to safetensors, or download its safetensors version.",
        )
    shards, foreign = (_files(model_dir, pattern) for pattern in ("*.safetensors", "*.gguf"))
    if shards and not (model_dir / _INDEX).exists():
        cause = f"{model_dir}: {shards[0]} is there without {_INDEX}, which tells what belongs to the model"
        return ModelError("no-weights", cause, remedy="Download the model again; a single file is model.safetensors.")
    if foreign:
        cause = f"{model_dir} holds weights of llama.cpp ({foreign[0]}), and no safetensors"
        return ModelError("no-weights", cause, remedy="Choose a version of the model with safetensors.")
    return ModelError("no-weights", f"{wanted} does not exist", remedy="Download the model again.")


def _files(folder: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in folder.glob(pattern) if path.is_file())


def _read_json(path: Path, *, missing_code: str) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            missing_code,
            f"{path} cannot be read: {error.strerror}",
            remedy="Give a directory in Hugging Face format: config.json, *.safetensors, tokenizer.json.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError("bad-config", f"{path} is not JSON: {error}", remedy="Download it again.") from error
    if not isinstance(content, dict):
        raise ModelError("bad-config", f"{path} is not a JSON object", remedy="Download it again.")
    return content
