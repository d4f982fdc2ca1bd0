"""A Qwen3 decoder in forty lines of f64 numpy, with any visibility between tokens: the judge of masks and positions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

__all__ = ["reference_logits"]

Array = npt.NDArray[np.float64]


def reference_logits(
    model_dir: Path,
    tokens: list[int],
    positions: list[int],
    visible: npt.NDArray[np.bool_],
    soft_caps: Mapping[int, float] = MappingProxyType({}),
) -> Array:
    """Logits [tokens, vocab] of one sequence where token i sees token j if `visible[i, j]`, or `visible[layer, i, j]`.

    The scores s of the layers in `soft_caps` become c * tanh(s / c).
    """
    config = json.loads((model_dir / "config.json").read_text())
    weights = {name: tensor.astype(np.float64) for name, tensor in load_file(model_dir / "model.safetensors").items()}
    dim, group = config["head_dim"], config["num_attention_heads"] // config["num_key_value_heads"]
    angles = np.outer(positions, config["rope_theta"] ** (-np.arange(0, dim, 2) / dim))[:, None]

    def norm(x: Array, name: str) -> Array:
        scaled: Array = (
            x / np.sqrt((x * x).mean(-1, keepdims=True) + config["rms_norm_eps"]) * weights[name + ".weight"]
        )
        return scaled

    def rotate(x: Array) -> Array:
        a, b = np.split(x, 2, axis=-1)
        return np.concatenate(
            (a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)), axis=-1
        )

    stream = weights["model.embed_tokens.weight"][tokens]
    visible = np.broadcast_to(visible, (config["num_hidden_layers"], len(tokens), len(tokens)))
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        x = norm(stream, prefix + "input_layernorm")
        q, k, v = (
            (x @ weights[f"{prefix}self_attn.{name}_proj.weight"].T).reshape(len(tokens), -1, dim) for name in "qkv"
        )
        q, k = rotate(norm(q, prefix + "self_attn.q_norm")), rotate(norm(k, prefix + "self_attn.k_norm"))
        k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
        scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(dim)
        if layer in soft_caps:
            scores = soft_caps[layer] * np.tanh(scores / soft_caps[layer])
        scores = np.where(visible[layer], scores, -np.inf)
        shares = np.exp(scores - np.maximum(scores.max(-1, keepdims=True), -1e300))
        shares /= np.maximum(shares.sum(-1, keepdims=True), 1e-300)
        mixed = np.einsum("hij,jhd->ihd", shares, v).reshape(len(tokens), -1)
        stream = stream + mixed @ weights[prefix + "self_attn.o_proj.weight"].T
        x = norm(stream, prefix + "post_attention_layernorm")
        gate, up = (x @ weights[f"{prefix}mlp.{name}_proj.weight"].T for name in ("gate", "up"))
        stream = stream + (gate / (1 + np.exp(-gate)) * up) @ weights[prefix + "mlp.down_proj.weight"].T
    logits: Array = norm(stream, "model.norm") @ weights["model.embed_tokens.weight"].T
    return logits
