"""Moves a loaded model to a device, whatever its weights are kept in."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch

from pie.engine.weights import LoadedModel

__all__ = ["move_model"]

_T = TypeVar("_T")


def move_model(model: LoadedModel, device: torch.device) -> LoadedModel:
    """The same model with all its weights on `device`; what is one tensor stays one."""
    return replace(model, weights=_moved(model.weights, device, {}))


def _moved(value: _T, device: torch.device, done: dict[int, Any]) -> _T:
    """A tensor, or what holds tensors, on the device."""
    if id(value) in done:
        return done[id(value)]  # type: ignore[no-any-return]
    moved: Any = value
    if isinstance(value, torch.Tensor):
        moved = value.to(device)
    elif isinstance(value, tuple):
        moved = tuple(_moved(each, device, done) for each in value)
    elif is_dataclass(value) and not isinstance(value, type):
        moved = replace(
            value, **{field.name: _moved(getattr(value, field.name), device, done) for field in fields(value)}
        )
    done[id(value)] = moved
    return moved  # type: ignore[no-any-return]
