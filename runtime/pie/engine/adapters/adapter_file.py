"""An adapter as one safetensors file: its matrices, and for evolution strategies the whole state of the search.

Matrices are `layers.<n>.<module>.down` [rank, inputs] and `.up` [rank, outputs]; a search adds `layers.<n>.sigma_path`,
`.covariance_path` and `.variance` [d] and `sigma` [layers] f64. All but that is f32. The metadata hold format, scaling,
population and mu fraction.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import save
from safetensors.torch import load

from pie.engine.adapters.peft import read_peft
from pie.engine.adapters.weights import (
    SEARCH_MODULES,
    AdapterWeights,
    Float32Array,
    LayerSearch,
    LowRank,
    Search,
    flatten,
    module_sizes,
)
from pie.engine.models.config import ModelConfig
from pie.errors import AdapterError
from pie.forward import AdapterFiles

__all__ = ["read_adapter", "write_adapter"]

_FORMAT = "pie-adapter/1"
_UNKNOWN_TO_NUMPY = (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
_SEARCH_ARRAYS = ("sigma_path", "covariance_path", "variance")


def write_adapter(weights: AdapterWeights) -> bytes:
    """The file of an adapter."""
    tensors: dict[str, npt.NDArray[Any]] = {}
    metadata = {"format": _FORMAT, "scaling": repr(weights.scaling)}
    for number, layer in enumerate(weights.layers):
        for name, change in layer.items():
            tensors[f"layers.{number}.{name}.down"] = np.ascontiguousarray(change.down)
            tensors[f"layers.{number}.{name}.up"] = np.ascontiguousarray(change.up)
    if weights.search is not None:
        search = weights.search
        metadata |= {"population": str(search.population), "mu_fraction": repr(search.mu_fraction)}
        tensors["sigma"] = np.array([state.sigma for state in search.layers], np.float64)
        for number, state in enumerate(search.layers):
            tensors |= {f"layers.{number}.{name}": getattr(state, name) for name in _SEARCH_ARRAYS}
    return bytes(save(tensors, metadata))


def read_adapter(files: AdapterFiles, config: ModelConfig) -> AdapterWeights:
    """The adapter that files hold: a file of `write_adapter`, or a PEFT directory's.

    Raises:
        AdapterError: `adapter-unusable`, with what does not fit.
    """
    try:
        tensors = _arrays(files.weights)
    except SafetensorError as error:
        raise _unusable(f"its weights are no safetensors file: {error}") from error
    if files.config is not None:
        return read_peft(files.config, tensors, config)
    metadata = _metadata(files.weights)
    if metadata.get("format") != _FORMAT:
        raise _unusable(f"its format is {metadata.get('format')!r}, not {_FORMAT!r}")
    return _Reader(tensors, metadata, config).read()


class _Reader:
    """Takes tensors one after another, each checked; what is left over at the end does not belong there."""

    def __init__(self, tensors: dict[str, npt.NDArray[Any]], metadata: Mapping[str, str], config: ModelConfig) -> None:
        self._tensors = tensors
        self._metadata = metadata
        self._config = config

    def read(self) -> AdapterWeights:
        layers = tuple(self._layer(number) for number in range(self._config.num_layers))
        scaling = self._number("scaling")
        search = self._search(layers) if "population" in self._metadata else None
        if self._tensors:
            raise _unusable(f"it holds a tensor {min(self._tensors)}, which this model has no place for")
        return AdapterWeights(layers, scaling, search)

    def _layer(self, number: int) -> dict[str, LowRank]:
        sizes, layer = module_sizes(self._config), {}
        for name, (inputs, outputs) in sizes.items():
            prefix = f"layers.{number}.{name}."
            if prefix + "down" in self._tensors:
                rank = len(self._tensors[prefix + "down"])
                layer[name] = LowRank(
                    self._take(prefix + "down", rank, inputs), self._take(prefix + "up", rank, outputs)
                )
        return layer

    def _search(self, layers: tuple[dict[str, LowRank], ...]) -> Search:
        if any(set(layer) != set(SEARCH_MODULES) for layer in layers):
            raise _unusable("its search needs matrices for q, k and v in every layer, and no others")
        sigmas = self._take("sigma", len(layers), dtype=np.float64).tolist()
        states = []
        for number, layer in enumerate(layers):
            size = flatten(layer).size
            arrays = [self._take(f"layers.{number}.{name}", size) for name in _SEARCH_ARRAYS]
            if not (sigmas[number] > 0 and (arrays[2] > 0).all()):
                raise _unusable(f"a step size or variance of layer {number} is not above 0")
            states.append(LayerSearch(sigmas[number], *arrays))
        population, mu_fraction = self._number("population"), self._number("mu_fraction")
        if population < 1 or population != int(population) or not 0 < mu_fraction <= 1:
            raise _unusable(f"it has a population of {population} and a mu fraction of {mu_fraction}")
        return Search(int(population), mu_fraction, tuple(states))

    def _take(self, name: str, *shape: int, dtype: type[np.floating[Any]] = np.float32) -> Float32Array:
        tensor = self._tensors.pop(name, None)
        if tensor is None:
            raise _unusable(f"it lacks the tensor {name}")
        if tensor.shape != shape or tensor.dtype != dtype or 0 in shape:
            wanted = f"{shape} {np.dtype(dtype).name}"
            raise _unusable(f"{name} is {tensor.shape} {tensor.dtype.name} where this model needs {wanted}")
        if not np.isfinite(tensor).all():
            raise _unusable(f"{name} holds a number that is not finite")
        array: Float32Array = np.ascontiguousarray(tensor)
        return array

    def _number(self, name: str) -> float:
        text = self._metadata.get(name)
        try:
            number = float(str(text))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise _unusable(f"its {name} is {text!r}, which is not a finite number")
        return number


def _arrays(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """Tensors by name, with floats that numpy does not know as f32."""
    tensors = load(content)
    return {
        name: (tensor.float() if tensor.dtype in _UNKNOWN_TO_NUMPY else tensor).numpy()
        for name, tensor in tensors.items()
    }


def _metadata(content: bytes) -> Mapping[str, str]:
    """The text entries of the header of a safetensors file, which was read already."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return dict(header.get("__metadata__") or {})


def _unusable(cause: str) -> AdapterError:
    return AdapterError(
        "adapter-unusable", f"the adapter cannot be used: {cause}", remedy="Give one that was made for this model."
    )
