"""Adapters of the PEFT library: what `adapter_config.json` may say, and which tensor belongs where.

Every key must be known: what this engine does not do is refused by name, never passed over. Keys that only tell how the
adapter was trained, or where it comes from, make no difference.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pie.engine.adapters.weights import AdapterWeights, LowRank, module_sizes
from pie.engine.models.config import ModelConfig
from pie.engine.models.families import FAMILIES
from pie.errors import AdapterError

__all__ = ["read_peft"]

_USED = frozenset({"peft_type", "r", "lora_alpha", "use_rslora", "target_modules", "init_lora_weights"})
_OF_NO_EFFECT = frozenset(
    {
        *("auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying", "eva_config"),
        *("inference_mode", "layers_pattern", "layers_to_transform", "loftq_config", "lora_dropout", "lora_ga_config"),
        *("megatron_core", "peft_version", "qalora_group_size", "revision", "runtime_config"),
        *("task_type",),
    }
)
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "alora_invocation_tokens": (None, []),
    "alpha_pattern": (None, {}),
    "arrow_config": (None,),
    "bias": ("none",),
    "exclude_modules": (None, []),
    "fan_in_fan_out": (False,),
    "kasa_config": (None,),
    "layer_replication": (None,),
    "lora_bias": (False,),
    "megatron_config": (None,),
    "modules_to_save": (None, []),
    "monteclora_config": (None,),
    "rank_pattern": (None, {}),
    "target_parameters": (None, []),
    "trainable_token_indices": (None, []),
    "use_bdlora": (None, False),
    "use_dora": (False,),
    "use_qalora": (False,),
    "velora_config": (None,),
}
# Others change the base model's weights too.
_INITIAL_WEIGHTS = (True, False, "gaussian", "orthogonal", "eva")
_MOST_ALPHA = 1e30  # what float32 can still multiply by
_FLOATS = (np.float16, np.float32)
_TENSOR = re.compile(r"base_model\.model\.model\.layers\.(\d+)\.((?:self_attn|mlp)\.\w+)\.lora_([AB])\.weight")


def read_peft(config_json: bytes, tensors: Mapping[str, npt.NDArray[Any]], config: ModelConfig) -> AdapterWeights:
    """Make an adapter of a PEFT directory's content.

    Args:
        config_json: `adapter_config.json`.
        tensors: of `adapter_model.safetensors`, bf16 as f32.
        config: of the model.

    Raises:
        AdapterError: `adapter-unusable`, with what does not fit.
    """
    settings = _settings(config_json)
    rank = settings.get("r")
    if not isinstance(rank, int) or isinstance(rank, bool) or not 1 <= rank <= config.hidden_size:
        raise _unusable(f"r is {rank!r}, not a whole number from 1 to {config.hidden_size}")
    places = _target_places(settings.get("target_modules"), config)
    layers: list[dict[str, LowRank]] = [{} for _ in range(config.num_layers)]
    halves = _halves(tensors, places, config, rank)
    for number, place, half in halves:
        other = "B" if half == "A" else "A"
        if (number, place, other) not in halves:
            raise _unusable(f"layer {number} has lora_{half} of {_name(place)} without lora_{other}")
    for number, place in sorted({key[:2] for key in halves}):
        layers[number] |= _parts(places[place], halves[number, place, "A"], halves[number, place, "B"], config)
    missing = [_name(place) for place in places if not any(place == key[1] for key in halves)]
    if missing:
        raise _unusable(f"target_modules lists {missing[0]}, for which there is no tensor")
    return AdapterWeights(tuple(layers), _scaling(settings, rank))


def _settings(config_json: bytes) -> dict[str, Any]:
    try:
        settings = json.loads(config_json)
    except (ValueError, RecursionError) as error:
        raise _unusable(f"adapter_config.json is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise _unusable("adapter_config.json is no JSON object")
    unknown = sorted(settings.keys() - _USED - _OF_NO_EFFECT - _NEUTRAL.keys())
    if unknown:
        raise _unusable(f"adapter_config.json has an unknown key {unknown[0]!r}")
    for key, allowed in _NEUTRAL.items():
        if key in settings and settings[key] not in allowed:
            raise _unusable(f"{key} is {settings[key]!r}, which this engine does not do")
    if settings.get("peft_type") != "LORA":
        raise _unusable(f"peft_type is {settings.get('peft_type')!r}, not 'LORA'")
    initial = settings.get("init_lora_weights", True)
    if initial not in _INITIAL_WEIGHTS:
        raise _unusable(f"init_lora_weights is {initial!r}, which changes the weights of the model as well")
    return settings


def _places(config: ModelConfig) -> dict[str, tuple[str, ...]]:
    """The matrices of a layer that an adapter may change, by their names in the model; some hold several modules."""
    names = FAMILIES[config.architecture].tensors
    fused = {"qkv": ("q", "k", "v"), "gate_up": ("gate", "up")}
    places: dict[str, tuple[str, ...]] = {}
    for paths, modules in (
        (names.qkv, fused["qkv"]),
        ((names.output,), ("o",)),
        (names.gate_up, fused["gate_up"]),
    ):
        places |= {paths[0]: modules} if len(paths) == 1 else {p: (m,) for p, m in zip(paths, modules, strict=True)}
    places[names.down] = ("down",)
    sizes = module_sizes(config)
    return {path: modules for path, modules in places.items() if set(modules) <= sizes.keys()}


def _name(place: str) -> str:
    return place.rpartition(".")[2]


def _target_places(value: object, config: ModelConfig) -> dict[str, tuple[str, ...]]:
    """Those of `_places` that `target_modules` lists."""
    places = {_name(path): (path, modules) for path, modules in _places(config).items()}
    if not isinstance(value, list) or not value:
        raise _unusable(f"target_modules is {value!r}, not a list of names")
    for name in map(str, value):
        if name not in places:
            raise _unusable(f"target_modules lists {name!r}, which is not among {', '.join(places)}")
    return dict(places[name] for name in map(str, value))


def _parts(
    modules: tuple[str, ...], down: npt.NDArray[np.float32], up: npt.NDArray[np.float32], config: ModelConfig
) -> dict[str, LowRank]:
    """The changes of the modules that one matrix holds, one above the other: they share `down` [rank, inputs]."""
    ends = np.cumsum([module_sizes(config)[module][1] for module in modules])[:-1]
    pieces = np.split(up, ends)
    return {module: LowRank(down, np.ascontiguousarray(piece.T)) for module, piece in zip(modules, pieces, strict=True)}


def _scaling(settings: Mapping[str, Any], rank: int) -> float:
    """Alpha / r, or alpha / √r for a rank-stabilized adapter (Kalajdzievski, 2023)."""
    alpha, stabilized = settings.get("lora_alpha", 8), settings.get("use_rslora", False)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not abs(alpha) <= _MOST_ALPHA:
        raise _unusable(f"lora_alpha is {alpha!r:.40}, not a number up to {_MOST_ALPHA:g}")
    if not isinstance(stabilized, bool):
        raise _unusable(f"use_rslora is {stabilized!r}, neither true nor false")
    return alpha / (math.sqrt(rank) if stabilized else rank)


def _halves(
    tensors: Mapping[str, npt.NDArray[Any]], places: Mapping[str, tuple[str, ...]], config: ModelConfig, rank: int
) -> dict[tuple[int, str, str], npt.NDArray[np.float32]]:
    """Every tensor, checked, by layer, place and half."""
    sizes = module_sizes(config)
    halves = {}
    for name, tensor in sorted(tensors.items()):
        found = _TENSOR.fullmatch(name)
        if found is None or found[2] not in places or int(found[1]) >= config.num_layers:
            raise _unusable(f"it holds a tensor {name}, which this model or target_modules has no place for")
        modules = places[found[2]]
        inputs, outputs = sizes[modules[0]][0], sum(sizes[module][1] for module in modules)
        shape = (rank, inputs) if found[3] == "A" else (outputs, rank)
        if tensor.shape != shape or tensor.dtype not in _FLOATS:
            raise _unusable(f"{name} is {tensor.shape} {tensor.dtype.name} where this model needs {shape} floats")
        if not np.isfinite(tensor).all():
            raise _unusable(f"{name} holds a number that is not finite")
        halves[int(found[1]), found[2], found[3]] = np.ascontiguousarray(tensor, np.float32)
    return halves


def _unusable(cause: str) -> AdapterError:
    return AdapterError(
        "adapter-unusable",
        f"the PEFT adapter cannot be used: {cause}",
        remedy="Give a LoRA of this model's attention and MLP matrices, saved as safetensors.",
    )
