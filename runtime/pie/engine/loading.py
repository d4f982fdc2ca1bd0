"""Loads a model of any architecture: of our families into weights of ours, of others into a module of transformers."""

from __future__ import annotations

import threading
from pathlib import Path

from pie.engine.fallback.loading import TransformersModel, load_transformers_model
from pie.engine.reading import is_foreign
from pie.engine.schemes import WeightsChoice
from pie.engine.weight_files import read_config
from pie.engine.weights import LoadedModel, load_model

__all__ = ["load_any_model"]


def load_any_model(
    model_dir: Path, *, dtype: str | None, weights: WeightsChoice, stop: threading.Event | None
) -> LoadedModel | TransformersModel:
    """Load the model in `model_dir`, as its architecture needs.

    Raises:
        ModelError: as `load_model` and `load_transformers_model`.
    """
    if is_foreign(read_config(model_dir)):
        return load_transformers_model(model_dir, dtype=dtype, weights=weights, stop=stop)
    return load_model(model_dir, dtype=dtype, weights=weights, stop=stop)
