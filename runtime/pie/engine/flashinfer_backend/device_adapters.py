"""Adapters on the device: the thin matrices of a step's adapters side by side, one grouped product for all of them.

Ranks are filled up with zeros to one that the kernels take. What was laid side by side last is kept, since most steps
use the same adapters as the one before; it goes when one of these adapters does.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from pie.engine.adapters.weights import MODULES, AdapterWeights, LowRank
from pie.engine.backend import Rows
from pie.engine.flashinfer_backend.adapter_groups import AdapterGroups, group_by_adapter
from pie.engine.flashinfer_backend.kernels import Kernels
from pie.engine.flashinfer_backend.upload import upload
from pie.engine.models.step import StepAdapters

__all__ = ["DeviceAdapters", "NoAdapters"]

_RANK_STEP = 16  # rows of matrices begin at 16 bytes, in any dtype


@dataclass(frozen=True, slots=True, eq=False)
class _Stack:
    """The changes of one module by G adapters: `down` [G, inputs, rank], `up` [G, rank, outputs], scaled."""

    down: torch.Tensor
    up: torch.Tensor


_Layers = tuple[Mapping[str, _Stack], ...]


class DeviceAdapters:
    """Makes what adapters do to the rows of each step."""

    def __init__(self, kernels: Kernels, dtype: torch.dtype) -> None:
        """Multiply in `dtype`."""
        self._kernels = kernels
        self._dtype = dtype
        self._chosen: tuple[weakref.ref[AdapterWeights], ...] = ()
        self._layers: _Layers = ()

    def of(self, rows: Rows) -> StepAdapters:
        """What they do to these rows."""
        groups = group_by_adapter(rows)
        if groups is None:
            return NoAdapters()
        chosen = tuple(rows.adapters[number] for number in groups.adapters.tolist())
        if tuple(reference() for reference in self._chosen) != chosen:
            self._layers = self._stack(chosen)
            self._chosen = tuple(weakref.ref(weights, self._forget) for weights in chosen)
        return _GroupedAdapters(self._kernels, groups, self._layers, self._dtype)

    def _forget(self, gone: weakref.ref[AdapterWeights]) -> None:
        if gone in self._chosen:
            self._chosen, self._layers = (), ()

    def _stack(self, chosen: tuple[AdapterWeights, ...]) -> _Layers:
        return tuple(
            {
                module: self._side_by_side([weights.layers[layer].get(module) for weights in chosen], chosen)
                for module in MODULES
                if any(module in weights.layers[layer] for weights in chosen)
            }
            for layer in range(len(chosen[0].layers))
        )

    def _side_by_side(self, changes: list[LowRank | None], chosen: tuple[AdapterWeights, ...]) -> _Stack:
        present = [change for change in changes if change is not None]
        rank = -(-max(len(change.down) for change in present) // _RANK_STEP) * _RANK_STEP
        down = np.zeros((len(changes), present[0].down.shape[1], rank), np.float32)
        up = np.zeros((len(changes), rank, present[0].up.shape[1]), np.float32)
        for number, (change, weights) in enumerate(zip(changes, chosen, strict=True)):
            if change is not None:
                down[number, :, : len(change.down)] = change.down.T
                up[number, : len(change.up)] = change.up * np.float32(weights.scaling)
        return _Stack(*(torch.from_numpy(matrices).to(self._kernels.device, self._dtype) for matrices in (down, up)))


class NoAdapters:
    """The rows stay as they are."""

    def add(self, layer: int, module: str, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        """Add nothing."""


class _GroupedAdapters:
    """Each group of rows gets the change of its adapter."""

    def __init__(self, kernels: Kernels, groups: AdapterGroups, layers: _Layers, dtype: torch.dtype) -> None:
        self._kernels = kernels
        self._groups = groups
        self._layers = layers
        self._dtype = dtype
        self._rows = upload(groups.rows, kernels.device)

    def add(self, layer: int, module: str, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        stack = self._layers[layer].get(module)
        if stack is None:
            return
        rows = inputs[self._rows].to(self._dtype)
        narrow = self._kernels.segment_product(rows, stack.down, self._groups.seg_indptr)
        outputs[self._rows] += self._kernels.segment_product(narrow, stack.up, self._groups.seg_indptr).float()
