"""Random adapters, alone and as PEFT directories, and models with an adapter merged into their weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save, save_file

from pie.engine.adapters.weights import MODULES, module_sizes
from pie.engine.models.config import ModelConfig
from pie.forward import AdapterFiles

__all__ = ["RandomPeft", "merge", "random_peft"]

FUSED = {"qkv": ("q", "k", "v"), "gate_up": ("gate", "up")}
PLACES = {name: "self_attn" if name in ("q", "k", "v", "o", "qkv") else "mlp" for name in (*MODULES, *FUSED)}


@dataclass(frozen=True)
class RandomPeft:
    """A PEFT adapter in its two files, as they are in memory."""

    config: Mapping[str, object]
    tensors: Mapping[str, torch.Tensor]

    @property
    def files(self) -> AdapterFiles:
        return AdapterFiles(save(dict(self.tensors)), json.dumps(self.config).encode())

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True)
        save_file(dict(self.tensors), folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps(self.config))
        return folder

    @property
    def scaling(self) -> float:
        rank, alpha = float(str(self.config["r"])), float(str(self.config["lora_alpha"]))
        return alpha / (rank**0.5 if self.config.get("use_rslora") else rank)


def random_peft(
    config: ModelConfig,
    seed: int,
    *,
    modules: Sequence[str] | None = None,
    rank: int = 4,
    dtype: torch.dtype = torch.float32,
    **settings: object,
) -> RandomPeft:
    """An adapter whose change is about as large as the weights; of all modules that the model has if none are named."""
    modules = tuple(module_sizes(config)) if modules is None else modules
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(config.num_layers):
        for name in modules:
            parts = [module_sizes(config)[part] for part in FUSED.get(name, (name,))]
            inputs, outputs = parts[0][0], sum(part[1] for part in parts)
            prefix = f"base_model.model.model.layers.{layer}.{PLACES[name]}.{name}_proj.lora_"
            tensors[prefix + "A.weight"] = (torch.randn(rank, inputs, generator=generator) * inputs**-0.5).to(dtype)
            tensors[prefix + "B.weight"] = (torch.randn(outputs, rank, generator=generator) * 0.3).to(dtype)
    described = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "somewhere/else",
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": 8,
        "lora_dropout": 0.05,
        "modules_to_save": None,
        "r": rank,
        "rank_pattern": {},
        "target_modules": [f"{name}_proj" for name in modules],
        "use_dora": False,
        "use_rslora": False,
    }
    return RandomPeft(described | settings, tensors)


def merge(model_dir: Path, adapter: RandomPeft, to: Path) -> Path:
    """Copy a model with an adapter's change added to its weights, in f64."""
    to.mkdir()
    for file in model_dir.iterdir():
        if file.name != "model.safetensors":
            (to / file.name).write_bytes(file.read_bytes())
    weights = load_file(model_dir / "model.safetensors")
    for name, down in adapter.tensors.items():
        if name.endswith("lora_A.weight"):
            up = adapter.tensors[name.replace("lora_A", "lora_B")]
            target = name.removeprefix("base_model.model.").replace("lora_A.weight", "weight")
            change = adapter.scaling * (up.double() @ down.double())
            weights[target] = (weights[target].double() + change).to(weights[target].dtype)
    save_file(weights, to / "model.safetensors")
    return to


def largest_difference(a: object, b: object) -> float:
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max())
