"""Reads a Hugging Face `config.json` into a `ModelConfig`; refuses by name what this engine does not run.

Knows the keys; what families differ in is in `pie.engine.models.families`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast, get_args

from pie.engine.models.config import Activation, Experts, LayerConfig, MlpConfig, ModelConfig
from pie.engine.models.families import FAMILIES, Family, LayerKind
from pie.engine.models.rope_config import LongScaling, read_rope
from pie.engine.models.values import (
    MOST_LAYERS,
    bad_config,
    optional_float,
    positive_float,
    positive_int,
    unsupported,
)
from pie.errors import ModelError

__all__ = ["parse_config"]

_MOST_EXPERTS = 2**15  # of all layers together; the largest models have 23,424
_ACTIVATIONS: Mapping[str, Activation] = {"silu": "silu", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}


def parse_config(raw: Mapping[str, object]) -> ModelConfig:
    """Read a Hugging Face `config.json`.

    Raises:
        ModelError: `unknown-architecture` or `unsupported-feature` for what this engine cannot run, `bad-config`
            for a missing or senseless value.
    """
    architecture = _architecture(raw)
    family = FAMILIES[architecture]
    raw = {**family.defaults, **raw}
    _refuse_unsupported(raw, family)
    num_heads = positive_int(raw, "num_attention_heads")
    hidden_size = positive_int(raw, "hidden_size")
    head_dim = positive_int(raw, "head_dim", default=hidden_size // num_heads)
    num_kv_heads = positive_int(raw, "num_key_value_heads", default=num_heads)
    if num_heads % num_kv_heads or head_dim % 2:
        raise bad_config(f"{num_heads} heads cannot share {num_kv_heads} key heads of width {head_dim}")
    layers = _layers(raw, family, head_dim)
    return ModelConfig(
        architecture=architecture,
        hidden_size=hidden_size,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        intermediate_size=positive_int(raw, "intermediate_size"),
        vocab_size=positive_int(raw, "vocab_size"),
        max_positions=_max_positions(raw, layers),
        norm_epsilon=positive_float(raw, "rms_norm_eps", default=1e-6),
        layers=layers,
        query_scale=positive_float(raw, "query_pre_attn_scalar", default=head_dim) ** -0.5,
        embedding_scale=hidden_size**0.5 if family.scaled_embedding else 1.0,
        logit_cap=optional_float(raw, "final_logit_softcapping"),
        qkv_bias=family.qkv_bias,
        qk_norm=family.qk_norm,
        tied_embeddings=bool(raw.get("tie_word_embeddings", False)),
    )


def _architecture(raw: Mapping[str, object]) -> str:
    names = raw.get("architectures")
    if not isinstance(names, list) or len(names) != 1:
        raise bad_config(f"`architectures` must be a list of one name, not {names!r}")
    name = str(names[0])
    if name not in FAMILIES:
        raise ModelError(
            "unknown-architecture",
            f"{name} is not among the supported architectures {', '.join(FAMILIES)}",
            remedy="Choose a model of one of these architectures.",
        )
    return name


def _refuse_unsupported(raw: Mapping[str, object], family: Family) -> None:
    features = {
        "sliding-window attention": family.windows == "never" and bool(raw.get("use_sliding_window", False)),
        "mlp_bias": bool(raw.get("mlp_bias", False)),
        "attention_bias": not family.qkv_bias and bool(raw.get("attention_bias", False)),
        "attn_logit_softcapping": not family.soft_cap and raw.get("attn_logit_softcapping") is not None,
        "use_bidirectional_attention": bool(raw.get("use_bidirectional_attention", False)),
        "quantization_config": raw.get("quantization_config") is not None,
    }
    for feature, present in features.items():
        if present:
            raise unsupported(feature)


def _layers(raw: Mapping[str, object], family: Family, head_dim: int) -> tuple[LayerConfig, ...]:
    kinds = _layer_kinds(raw, family)
    ropes = {kind: read_rope(raw, family, head_dim=head_dim, kind=kind) for kind in set(kinds)}
    windows = {
        kind: positive_int(raw, "sliding_window") if kind == "sliding_attention" else None for kind in set(kinds)
    }
    return tuple(
        LayerConfig(
            rope=ropes[kind],
            mlp=_mlp(raw, family, index),
            window=windows[kind],
            soft_cap=optional_float(raw, "attn_logit_softcapping"),
            post_norms=family.post_norms,
        )
        for index, kind in enumerate(kinds)
    )


def _layer_kinds(raw: Mapping[str, object], family: Family) -> list[LayerKind]:
    num_layers = positive_int(raw, "num_hidden_layers", most=MOST_LAYERS)
    if family.windows == "never" or (family.windows == "always" and raw.get("sliding_window") is None):
        return ["full_attention"] * num_layers
    if family.windows == "always":
        return ["sliding_attention"] * num_layers
    kinds = raw.get("layer_types")
    if kinds is None:
        period = positive_int(raw, "sliding_window_pattern")
        return ["full_attention" if (i + 1) % period == 0 else "sliding_attention" for i in range(num_layers)]
    if not isinstance(kinds, list) or len(kinds) != num_layers:
        raise bad_config(f"`layer_types` must be a list of {num_layers} names")
    for kind in kinds:
        if kind not in get_args(LayerKind):
            raise unsupported(f"layers of type {kind!r}")
    return cast("list[LayerKind]", kinds)


def _mlp(raw: Mapping[str, object], family: Family, index: int) -> MlpConfig:
    """The MLP of one layer; with experts unless `mlp_only_layers` or `decoder_sparse_step` leave the layer out."""
    name = str(raw.get(family.activation_key) or raw.get("hidden_act") or "silu")
    if name not in _ACTIVATIONS:
        raise unsupported(f"{family.activation_key} {name!r}")
    activation = _ACTIVATIONS[name]
    dense = raw.get("mlp_only_layers") or ()
    if not isinstance(dense, list | tuple):
        raise bad_config(f"`mlp_only_layers` must be a list, not {dense!r}")
    period = positive_int(raw, "decoder_sparse_step", default=1)
    if not family.experts or index in dense or (index + 1) % period:
        return MlpConfig(activation, positive_int(raw, "intermediate_size"))
    key = "num_experts" if raw.get("num_experts") is not None else "num_local_experts"
    experts = Experts(
        count=positive_int(raw, key, most=_MOST_EXPERTS // positive_int(raw, "num_hidden_layers")),
        per_token=positive_int(raw, "num_experts_per_tok"),
        normed=bool(raw.get("norm_topk_prob", False)),
    )
    if experts.per_token > experts.count:
        raise bad_config(f"{experts.per_token} of {experts.count} experts cannot be chosen for a token")
    return MlpConfig(activation, positive_int(raw, "moe_intermediate_size"), experts)


def _max_positions(raw: Mapping[str, object], layers: tuple[LayerConfig, ...]) -> int:
    """The context; with LongRoPE, that of its short factors: others past it would turn all keys before it anew."""
    bounds = [
        layer.rope.scaling.original_max_positions for layer in layers if isinstance(layer.rope.scaling, LongScaling)
    ]
    return min([positive_int(raw, "max_position_embeddings"), *bounds])
