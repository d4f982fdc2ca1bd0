"""The families that this engine runs, one row each: what `config.json` leaves out, what is fixed, names of tensors.

A family decides what goes into a `LayerConfig`; nothing past the reading of files asks for its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

__all__ = ["FAMILIES", "Family", "LayerKind", "TensorNames"]

LayerKind = Literal["full_attention", "sliding_attention"]
"""What Hugging Face calls a layer that sees all keys before it, and one that sees a window of them."""


@dataclass(frozen=True, slots=True)
class TensorNames:
    """Names of a layer's tensors, below `model.layers.N.` and without `.weight`.

    Attributes:
        input_norm: the norm before attention.
        qkv: query, key and value projections, or the one that holds them all.
        head_norms: the norms of queries and of keys.
        output: the projection after attention.
        gate_up: gate and up projections of a dense MLP, or the one that holds both.
        down: down projection of a dense MLP.
        mlp_norm: the norm before the MLP.
        post_norms: the norms after attention and after the MLP.
        router: of a mixture of experts.
        expert_gate_up: of an expert, with `{}` for its number.
        expert_down: likewise.
    """

    input_norm: str = "input_layernorm"
    qkv: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    head_norms: tuple[str, str] = ("self_attn.q_norm", "self_attn.k_norm")
    output: str = "self_attn.o_proj"
    gate_up: tuple[str, ...] = ("mlp.gate_proj", "mlp.up_proj")
    down: str = "mlp.down_proj"
    mlp_norm: str = "post_attention_layernorm"
    post_norms: tuple[str, str] = ("post_attention_layernorm", "post_feedforward_layernorm")
    router: str = "mlp.gate"
    expert_gate_up: tuple[str, str] = ("mlp.experts.{}.gate_proj", "mlp.experts.{}.up_proj")
    expert_down: str = "mlp.experts.{}.down_proj"


@dataclass(frozen=True, slots=True)
class Family:
    """What all models of an architecture share.

    Attributes:
        tensors: names of the weights.
        defaults: values of keys that `config.json` may leave out.
        rope_aliases: names of RoPE scalings that mean another one here.
        activation_key: where the MLP's activation stands.
        qkv_bias: query, key and value projections have a bias.
        qk_norm: queries and keys are normed per head.
        post_norms: attention and MLP end with a norm.
        norm_offset: norms multiply by this more than their weight says.
        scaled_embedding: the embedding enters times the square root of its width.
        windows: layers see `sliding_window` keys: "always" all of them (if it is given), "by layer" as `layer_types`
            or the period `sliding_window_pattern` says, "never" none, and `use_sliding_window` is refused.
        soft_cap: scores are bounded by `attn_logit_softcapping`.
        local_rope: sliding layers have a RoPE of their own.
        partial_rotary: RoPE may turn a part of each head only.
        experts: layers may be mixtures of experts.
    """

    tensors: TensorNames = field(default_factory=TensorNames)
    defaults: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    rope_aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    activation_key: str = "hidden_act"
    qkv_bias: bool = False
    qk_norm: bool = False
    post_norms: bool = False
    norm_offset: float = 0.0
    scaled_embedding: bool = False
    windows: Literal["never", "always", "by layer"] = "never"
    soft_cap: bool = False
    local_rope: bool = False
    partial_rotary: bool = False
    experts: bool = False


_GEMMA = TensorNames(mlp_norm="pre_feedforward_layernorm")
_GEMMA_DEFAULTS = {
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "tie_word_embeddings": True,
}

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "LlamaForCausalLM": Family(),
        "Qwen2ForCausalLM": Family(qkv_bias=True),
        "Qwen3ForCausalLM": Family(qk_norm=True),
        "MistralForCausalLM": Family(defaults={"sliding_window": 4096}, windows="always"),
        "Phi3ForCausalLM": Family(
            tensors=TensorNames(qkv=("self_attn.qkv_proj",), gate_up=("mlp.gate_up_proj",)),
            defaults={"rms_norm_eps": 1e-5},
            rope_aliases={"su": "longrope", "yarn": "longrope"},
            windows="always",
            partial_rotary=True,
        ),
        "Gemma2ForCausalLM": Family(
            tensors=_GEMMA,
            defaults=_GEMMA_DEFAULTS
            | {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "sliding_window_pattern": 2},
            activation_key="hidden_activation",
            post_norms=True,
            norm_offset=1.0,
            scaled_embedding=True,
            windows="by layer",
            soft_cap=True,
        ),
        "Gemma3ForCausalLM": Family(
            tensors=_GEMMA,
            defaults=_GEMMA_DEFAULTS
            | {"rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0, "sliding_window_pattern": 6},
            activation_key="hidden_activation",
            qk_norm=True,
            post_norms=True,
            norm_offset=1.0,
            scaled_embedding=True,
            windows="by layer",
            local_rope=True,
        ),
        "Qwen3MoeForCausalLM": Family(qk_norm=True, experts=True),
    }
)
