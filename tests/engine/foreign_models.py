"""Small random models of architectures that transformers runs, written as Hugging Face directories."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from pie.testing import write_random_model

__all__ = ["FOREIGN", "make_foreign", "write_foreign"]

SIZES: dict[str, object] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 320,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FOREIGN: Mapping[str, dict[str, object]] = {
    "gpt2": {"n_inner": 100},
    "opt": {"ffn_dim": 100, "word_embed_proj_dim": 64},
    "gpt_neox": {"rotary_pct": 0.5},
    "gptj": {"rotary_dim": 8},
    "gpt_bigcode": {},
    "codegen": {"rotary_dim": 8},
    "phi": {"partial_rotary_factor": 0.5},
    "stablelm": {"partial_rotary_factor": 0.25, "use_qkv_bias": True},
    "cohere": {"logit_scale": 0.25},
    "cohere2": {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention"]},
    "olmo2": {},
    "olmo3": {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention"]},
    "glm": {"head_dim": 16},
    "granite": {"logits_scaling": 4.0, "residual_multiplier": 0.5, "attention_multiplier": 0.3},
    "starcoder2": {"sliding_window": 12},
    "gemma": {"head_dim": 16},
    "vaultgemma": {"head_dim": 16, "sliding_window": 12, "attn_logit_softcapping": 2.0},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 40},
    "apertus": {},
    "nemotron": {"partial_rotary_factor": 0.5},
    "glm4": {"head_dim": 16},
    "biogpt": {},
    "phimoe": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "deepseek_v3": {
        "moe_intermediate_size": 32,
        "n_routed_experts": 4,
        "n_group": 2,
        "topk_group": 1,
        "num_experts_per_tok": 2,
        "first_k_dense_replace": 1,
        "q_lora_rank": 24,
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 12,
        "num_key_value_heads": 4,
    },
}
"""By `model_type`, what is set beside `SIZES`; windows are short enough to be felt by short prompts."""


def make_foreign(kind: str, keys: Mapping[str, object] | None = None, *, seed: int = 0) -> Any:
    """The module in float32, with weights that keep activations in size and make logits that are far from flat."""
    config = transformers.CONFIG_MAPPING[kind](**{**SIZES, **FOREIGN.get(kind, {}), **(keys or {})})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config).eval()
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                noise = torch.randn_like(parameter)
                if parameter.dim() > 1:
                    parameter.copy_(noise * parameter.shape[-1] ** -0.5)
                else:
                    parameter.copy_(0.1 * noise + float("norm" in name or "ln" in name) * float("bias" not in name))
    return module


def write_foreign(path: Path, kind: str, keys: Mapping[str, object] | None = None, *, seed: int = 0) -> Path:
    """Write such a model, with a tokenizer of bytes, to `path` and return it."""
    module = make_foreign(kind, keys, seed=seed)
    write_random_model(path)
    module.save_pretrained(path)
    return path
