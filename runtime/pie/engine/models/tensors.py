"""The tensors of a decoder by their Hugging Face names, and the shapes that its `config.json` implies.

Knows names and sizes; does not know files or values.
"""

from __future__ import annotations

from pie.engine.models.config import ModelConfig

__all__ = ["HEAD", "expected_tensors"]

HEAD = "lm_head.weight"
"""Left out, or ignored, where the embedding is the head."""


def expected_tensors(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shape by name of all tensors that a model needs."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, config.hidden_size)}
    for index in range(config.num_layers):
        shapes |= {f"model.layers.{index}.{name}": shape for name, shape in _layer_tensors(config).items()}
    shapes["model.norm.weight"] = (config.hidden_size,)
    if not config.tied_embeddings:
        shapes[HEAD] = (config.vocab_size, config.hidden_size)
    return shapes


def _layer_tensors(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shape by name of the tensors of one layer."""
    hidden, inter, dim = config.hidden_size, config.intermediate_size, config.head_dim
    heads = {"q": config.num_heads, "k": config.num_kv_heads, "v": config.num_kv_heads}
    shapes: dict[str, tuple[int, ...]] = {"input_layernorm.weight": (hidden,)}
    shapes |= {f"self_attn.{name}_proj.weight": (count * dim, hidden) for name, count in heads.items()}
    if config.qkv_bias:
        shapes |= {f"self_attn.{name}_proj.bias": (count * dim,) for name, count in heads.items()}
    if config.qk_norm:
        shapes |= {"self_attn.q_norm.weight": (dim,), "self_attn.k_norm.weight": (dim,)}
    shapes["self_attn.o_proj.weight"] = (hidden, config.num_heads * dim)
    shapes["post_attention_layernorm.weight"] = (hidden,)
    shapes |= {"mlp.gate_proj.weight": (inter, hidden), "mlp.up_proj.weight": (inter, hidden)}
    shapes["mlp.down_proj.weight"] = (hidden, inter)
    return shapes
