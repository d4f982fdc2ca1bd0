"""PEFT directories that fit the embedded model."""

from __future__ import annotations

import json
from pathlib import Path

from tests.engine.adapters import random_peft

from pie.config import embedded_model
from pie.engine.models.config_file import parse_config

__all__ = ["write_peft"]


def write_peft(folder: Path, name: str, seed: int) -> None:
    """Put a random adapter in a folder, under a name, unless it is there."""
    config = parse_config(json.loads((embedded_model() / "config.json").read_text()))
    if not (folder / name).exists():
        random_peft(config, seed, lora_alpha=64).write(folder / name)
