"""The facts of a decoder-only model as data: sizes, and what each of its layers does.

Does not know families, files or tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pie.engine.models.rope_config import RopeConfig

__all__ = ["Activation", "Experts", "LayerConfig", "MlpConfig", "ModelConfig"]

Activation = Literal["silu", "gelu_tanh", "gelu"]


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts.

    Attributes:
        count: how many there are.
        per_token: how many compute for a row.
        normed: the shares of those chosen add up to one.
    """

    count: int
    per_token: int
    normed: bool


@dataclass(frozen=True, slots=True)
class MlpConfig:
    """A gated MLP: `down(activation(gate x) * up x)` of width `size`, or a mixture of such ones."""

    activation: Activation
    size: int
    experts: Experts | None = None


@dataclass(frozen=True, slots=True)
class LayerConfig:
    """What one layer does.

    Attributes:
        rope: how queries and keys are turned.
        mlp: its MLP.
        window: how many keys a row sees at most, its own included; None sees all before it.
        soft_cap: bound c of the scores, by c * tanh(score / c), or None.
        post_norms: what attention and MLP give is normed before it is added to the stream.
    """

    rope: RopeConfig
    mlp: MlpConfig
    window: int | None = None
    soft_cap: float | None = None
    post_norms: bool = False


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes and layers of one decoder.

    Attributes:
        architecture: the Hugging Face class name.
        hidden_size: width of the residual stream.
        num_heads: query heads.
        num_kv_heads: key and value heads; divides `num_heads`.
        head_dim: width of one head, even.
        intermediate_size: width of the MLP of layers without experts.
        vocab_size: rows of the embedding, also logits per row.
        max_positions: context length in tokens.
        norm_epsilon: added to the mean square in each RMS norm.
        layers: what each layer does.
        query_scale: factor of the queries.
        embedding_scale: factor of the embedding where it enters the stream.
        logit_cap: bound c of the logits, by c * tanh(logit / c), or None.
        qkv_bias: query, key and value projections have a bias.
        qk_norm: queries and keys are normed per head before RoPE.
        tied_embeddings: the output head is the embedding.
    """

    architecture: str
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_positions: int
    norm_epsilon: float
    layers: tuple[LayerConfig, ...]
    query_scale: float
    embedding_scale: float
    logit_cap: float | None
    qkv_bias: bool
    qk_norm: bool
    tied_embeddings: bool

    @property
    def num_layers(self) -> int:
        """Decoder layers."""
        return len(self.layers)

    @property
    def qkv_size(self) -> int:
        """Rows of the fused query, key and value projection."""
        return (self.num_heads + 2 * self.num_kv_heads) * self.head_dim

    @property
    def work_per_row(self) -> int:
        """Multiply-adds of the matrix products for one row."""
        attention = self.hidden_size * (self.qkv_size + self.num_heads * self.head_dim)
        widths = [layer.mlp.size * (layer.mlp.experts.per_token if layer.mlp.experts else 1) for layer in self.layers]
        return self.num_layers * attention + self.hidden_size * (3 * sum(widths) + self.vocab_size)
