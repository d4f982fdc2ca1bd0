"""Shipped fakes for tests and examples: small models with random weights, written as Hugging Face directories.

The files are what any tool for such directories reads: config.json, model.safetensors, tokenizer.json with bytes as
tokens, and a chat template. Nothing is fetched. The text such a model makes is noise, but always the same noise.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file

__all__ = ["Family", "ModelSizes", "write_random_model"]

Family = Literal["llama", "qwen2", "qwen3", "mistral", "phi3", "gemma2", "gemma3_text", "qwen3_moe"]

_ARCHITECTURES: dict[Family, str] = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "mistral": "MistralForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
}
_HEAD_NORMS: tuple[Family, ...] = ("qwen3", "gemma3_text", "qwen3_moe")
_GEMMA: tuple[Family, ...] = ("gemma2", "gemma3_text")
# Small enough to be felt by short texts.
_GEMMA_KEYS = {"hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 24, "sliding_window": 24}
_KEYS: dict[Family, dict[str, object]] = {
    "mistral": {"sliding_window": 24},
    "gemma2": _GEMMA_KEYS | {"attn_logit_softcapping": 4.0, "final_logit_softcapping": 9.0},
    "gemma3_text": _GEMMA_KEYS | {"sliding_window_pattern": 2, "rope_theta": 1e6, "rope_local_base_freq": 1e4},
    "qwen3_moe": {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 48, "norm_topk_prob": True},
}
_SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>")
_CHAT_TEMPLATE = (
    "{%- for message in messages -%}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


@dataclass(frozen=True, slots=True)
class ModelSizes:
    """Sizes of a random model; the names are those of config.json. `vocab_size` is at least 263."""

    hidden_size: int = 64
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    intermediate_size: int = 96
    vocab_size: int = 320
    max_position_embeddings: int = 1024


def write_random_model(
    path: Path,
    family: Family = "qwen3",
    *,
    seed: int = 0,
    sizes: ModelSizes | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    config: dict[str, object] | None = None,
) -> Path:
    """Write a model with random weights to `path` (made if missing) and return it.

    Args:
        path: the directory.
        family: the architecture.
        seed: of the weights; the same arguments write the same bytes.
        sizes: None is a model of about 0.1 M parameters.
        dtype: of the weights.
        config: further keys of config.json, such as `tie_word_embeddings` or `rope_parameters`.
    """
    sizes = sizes or ModelSizes()
    path.mkdir(parents=True, exist_ok=True)
    content = _config(family, sizes, dtype) | (config or {})
    (path / "config.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    tensors = _random_tensors(family, sizes, content, seed=seed)
    save_file({name: tensor.to(getattr(torch, dtype)) for name, tensor in tensors.items()}, path / "model.safetensors")
    _write_tokenizer(path, sizes.max_position_embeddings)
    return path


def _config(family: Family, sizes: ModelSizes, dtype: str) -> dict[str, object]:
    return {
        "architectures": [_ARCHITECTURES[family]],
        "model_type": family,
        **asdict(sizes),
        "tie_word_embeddings": family == "qwen3" or family in _GEMMA,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "dtype": dtype,
        "eos_token_id": 2,
        "pad_token_id": 0,
        **_KEYS.get(family, {}),
    }


def _random_tensors(
    family: Family, sizes: ModelSizes, config: dict[str, object], *, seed: int
) -> dict[str, torch.Tensor]:
    """Weights scaled so that activations keep their size and the logits are far from flat."""
    draw = _Draw(torch.Generator().manual_seed(seed), norm_mean=0 if family in _GEMMA else 1)
    hidden = sizes.hidden_size
    tensors = {"model.embed_tokens.weight": draw.normal(sizes.vocab_size, hidden) * 0.3}
    for layer in range(sizes.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        tensors |= _attention(draw, family, sizes, prefix + "self_attn.")
        tensors |= _mlp(draw, sizes, config, _mlp_kind(family, config, layer), prefix + "mlp.")
        tensors[prefix + "input_layernorm.weight"] = draw.norm(hidden)
        tensors[prefix + "post_attention_layernorm.weight"] = draw.norm(hidden)
        if family in _GEMMA:
            tensors[prefix + "pre_feedforward_layernorm.weight"] = draw.norm(hidden)
            tensors[prefix + "post_feedforward_layernorm.weight"] = draw.norm(hidden)
    tensors["model.norm.weight"] = draw.norm(hidden)
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = draw.matrix(sizes.vocab_size, hidden) * 3
    return tensors


@dataclass(frozen=True, slots=True)
class _Draw:
    """Random tensors; weights of norms lie around `norm_mean`."""

    generator: torch.Generator
    norm_mean: int

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.generator)

    def matrix(self, rows: int, columns: int) -> torch.Tensor:
        return self.normal(rows, columns) * columns**-0.5

    def norm(self, size: int) -> torch.Tensor:
        return self.norm_mean + 0.1 * self.normal(size)


def _attention(draw: _Draw, family: Family, sizes: ModelSizes, prefix: str) -> dict[str, torch.Tensor]:
    hidden, dim, tensors = sizes.hidden_size, sizes.head_dim, {}
    heads = {"q": sizes.num_attention_heads, "k": sizes.num_key_value_heads, "v": sizes.num_key_value_heads}
    if family == "phi3":
        heads = {"qkv": sum(heads.values())}
    for name, count in heads.items():
        tensors[f"{prefix}{name}_proj.weight"] = draw.matrix(count * dim, hidden)
        if family == "qwen2":
            tensors[f"{prefix}{name}_proj.bias"] = draw.normal(count * dim) * 0.5
    if family in _HEAD_NORMS:
        tensors[prefix + "q_norm.weight"] = draw.norm(dim)
        tensors[prefix + "k_norm.weight"] = draw.norm(dim)
    tensors[prefix + "o_proj.weight"] = draw.matrix(hidden, sizes.num_attention_heads * dim)
    return tensors


def _mlp_kind(family: Family, config: dict[str, object], layer: int) -> Literal["dense", "fused", "experts"]:
    if family == "phi3":
        return "fused"
    dense_layers = config.get("mlp_only_layers")
    dense = isinstance(dense_layers, list) and layer in dense_layers
    return "experts" if family == "qwen3_moe" and not dense else "dense"


def _mlp(
    draw: _Draw,
    sizes: ModelSizes,
    config: dict[str, object],
    kind: Literal["dense", "fused", "experts"],
    prefix: str,
) -> dict[str, torch.Tensor]:
    hidden, inter = sizes.hidden_size, sizes.intermediate_size
    if kind == "fused":
        gate_up = draw.matrix(2 * inter, hidden)
        return {f"{prefix}gate_up_proj.weight": gate_up, f"{prefix}down_proj.weight": draw.matrix(hidden, inter)}
    names, tensors = [prefix], {}
    if kind == "experts":
        inter, count = int(str(config["moe_intermediate_size"])), int(str(config["num_experts"]))
        names = [f"{prefix}experts.{number}." for number in range(count)]
        tensors[prefix + "gate.weight"] = draw.matrix(count, hidden)
    for name in names:
        tensors[name + "gate_proj.weight"] = draw.matrix(inter, hidden)
        tensors[name + "up_proj.weight"] = draw.matrix(inter, hidden)
        tensors[name + "down_proj.weight"] = draw.matrix(hidden, inter)
    return tensors


def _write_tokenizer(path: Path, max_positions: int) -> None:
    """Each byte is one token, after the special tokens; ids beyond those are never encoded."""
    vocabulary = {token: index for index, token in enumerate((*_SPECIAL_TOKENS, *_byte_characters()))}
    added = [
        {"id": index, "content": token, "special": True, "normalized": False}
        | {"single_word": False, "lstrip": False, "rstrip": False}
        for index, token in enumerate(_SPECIAL_TOKENS)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": max_positions,
        "clean_up_tokenization_spaces": False,
        "chat_template": _CHAT_TEMPLATE,
    }
    (path / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    (path / "tokenizer_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    generation = {"eos_token_id": 2, "pad_token_id": 0, "do_sample": False}
    (path / "generation_config.json").write_text(json.dumps(generation, indent=1), encoding="utf-8")


def _byte_characters() -> list[str]:
    """The printable character that stands for each byte 0 … 255 in byte-level tokenizers (GPT-2's table)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]
