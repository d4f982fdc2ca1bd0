"""The weights of one adapter: a pair of thin matrices for each matrix of the model that it changes.

Where a module computes `y = x W^T`, an adapter makes it `y + scaling * (x down^T) up` (Hu et al., "LoRA", 2021). All
numbers are f32. Weights never change; other weights are another object.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pie.engine.models.config import ModelConfig

__all__ = [
    "MODULES",
    "SEARCH_MODULES",
    "AdapterWeights",
    "Float32Array",
    "LayerSearch",
    "LowRank",
    "Search",
    "flatten",
    "module_sizes",
    "unflatten",
]

Float32Array = npt.NDArray[np.float32]

MODULES = ("q", "k", "v", "o", "gate", "up", "down")
"""The matrices of a layer that an adapter may change, in the order of the kernels' tables."""

SEARCH_MODULES = ("q", "k", "v")
"""Those that evolution strategies train."""


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """The change of one matrix: `down` [rank, inputs] and `up` [rank, outputs], both contiguous."""

    down: Float32Array
    up: Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class LayerSearch:
    """The state of the search in one layer of d parameters (see `pie.engine.adapters.search`).

    Attributes:
        sigma: step size.
        sigma_path: [d], evolution path of the step size.
        covariance_path: [d], evolution path of the variances.
        variance: [d], the diagonal of the covariance matrix.
    """

    sigma: float
    sigma_path: Float32Array
    covariance_path: Float32Array
    variance: Float32Array

    @property
    def noise_scale(self) -> Float32Array:
        """[d], standard deviation of the noise of each parameter."""
        scale: Float32Array = np.float32(self.sigma) * np.sqrt(self.variance)
        return scale


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """The state of a search: members of a generation, the share that is selected, and the state of each layer."""

    population: int
    mu_fraction: float
    layers: tuple[LayerSearch, ...]


@dataclass(frozen=True, eq=False)
class AdapterWeights:
    """One adapter as of one moment.

    Attributes:
        layers: per layer, the changes by module; modules that stay as they are, are not in it.
        scaling: factor of every change.
        search: None if it is not trained by evolution strategies.
    """

    layers: tuple[Mapping[str, LowRank], ...]
    scaling: float
    search: Search | None = None

    @cached_property
    def version(self) -> str:
        """Hex digest of all that decides what a pass gives, perturbed or not."""
        digest = hashlib.blake2b(np.float64(self.scaling).tobytes(), digest_size=16)
        for number, layer in enumerate(self.layers):
            for module in MODULES:
                if module in layer:
                    low_rank = layer[module]
                    digest.update(f"{number} {module} {len(low_rank.down)}".encode())
                    digest.update(low_rank.down.data)
                    digest.update(low_rank.up.data)
            if self.search is not None:
                digest.update(self.search.layers[number].noise_scale.data)
        return digest.hexdigest()

    @property
    def num_bytes(self) -> int:
        """Size of the matrices and of the state of the search."""
        matrices = sum(m.down.nbytes + m.up.nbytes for layer in self.layers for m in layer.values())
        return matrices + sum(3 * state.variance.nbytes for state in (self.search.layers if self.search else ()))


def module_sizes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each module of a layer; mixtures of experts have none that adapters may change."""
    hidden, inter = config.hidden_size, config.intermediate_size
    query, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    attention = {"q": (hidden, query), "k": (hidden, keys), "v": (hidden, keys), "o": (query, hidden)}
    if any(layer.mlp.experts is not None for layer in config.layers):
        return attention
    return attention | {"gate": (hidden, inter), "up": (hidden, inter), "down": (inter, hidden)}


def flatten(layer: Mapping[str, LowRank]) -> Float32Array:
    """All parameters of a layer's trained modules in a row: q.down, q.up, k.down, k.up, v.down, v.up."""
    parts = [matrix.ravel() for name in SEARCH_MODULES for matrix in (layer[name].down, layer[name].up)]
    return np.concatenate(parts)


def unflatten(parameters: Float32Array, like: Mapping[str, LowRank]) -> dict[str, LowRank]:
    """What `flatten` put in a row, shaped as `like`; views of `parameters`."""
    matrices = [matrix for name in SEARCH_MODULES for matrix in (like[name].down, like[name].up)]
    ends = np.cumsum([matrix.size for matrix in matrices]).tolist()
    parts: Sequence[Float32Array] = np.split(parameters, ends[:-1])
    shaped = [part.reshape(matrix.shape) for part, matrix in zip(parts, matrices, strict=True)]
    return {name: LowRank(*shaped[2 * i : 2 * i + 2]) for i, name in enumerate(SEARCH_MODULES)}
