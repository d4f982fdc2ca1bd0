"""The facts of any model from its config.json: of our families by our own reading, of others by transformers."""

from __future__ import annotations

from collections.abc import Mapping

from pie.engine.fallback.facts import TransformersConfig, read_transformers_config
from pie.engine.models.config import ModelConfig
from pie.engine.models.config_file import parse_config
from pie.engine.models.families import FAMILIES

__all__ = ["is_foreign", "read_facts"]


def is_foreign(raw: Mapping[str, object]) -> bool:
    """Whether config.json names an architecture that is none of our families."""
    names = raw.get("architectures")
    return isinstance(names, list) and len(names) == 1 and str(names[0]) not in FAMILIES


def read_facts(raw: Mapping[str, object]) -> ModelConfig | TransformersConfig:
    """Read a Hugging Face `config.json`.

    Raises:
        ModelError: as `parse_config` and `read_transformers_config`.
    """
    return read_transformers_config(raw) if is_foreign(raw) else parse_config(raw)
