"""The tensors of a decoder: the names that its family gives them, and the shapes that its `config.json` implies.

What is checked and what is loaded are both read from here. Knows names and sizes; does not know files or values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from pie.engine.models.config import LayerConfig, ModelConfig
from pie.engine.models.families import FAMILIES, TensorNames

__all__ = ["HEAD", "LayerTensors", "ModelTensors", "Tensor", "model_tensors"]

HEAD = "lm_head.weight"
"""Left out, or ignored, where the embedding is the head."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in the files of a model; `offset` is what its numbers lack, to be added when they are loaded."""

    name: str
    shape: tuple[int, ...]
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class LayerTensors:
    """The tensors of one layer, as `LayerWeights` has them; those of a tuple stand one above the other.

    Attributes:
        input_norm: [hidden].
        qkv: [count * head_dim, hidden] each, or all in one.
        qkv_bias: [count * head_dim] each, or all in one; empty without biases.
        q_norm: [head_dim] or None.
        k_norm: [head_dim] or None.
        output: [hidden, heads * head_dim].
        mlp_norm: [hidden].
        gate_up: gate and up, [I, hidden] each, or both in one; of the dense MLP alone, or of each expert.
        down: [hidden, I], likewise.
        attention_post_norm: [hidden] or None.
        mlp_post_norm: [hidden] or None.
        router: [experts, hidden]; None for a dense MLP.
    """

    input_norm: Tensor
    qkv: tuple[Tensor, ...]
    qkv_bias: tuple[Tensor, ...]
    q_norm: Tensor | None
    k_norm: Tensor | None
    output: Tensor
    mlp_norm: Tensor
    gate_up: tuple[tuple[Tensor, ...], ...]
    down: tuple[Tensor, ...]
    attention_post_norm: Tensor | None
    mlp_post_norm: Tensor | None
    router: Tensor | None

    def every(self) -> Iterator[Tensor]:
        """All of them."""
        norms = (self.input_norm, self.q_norm, self.k_norm, self.mlp_norm, self.attention_post_norm, self.mlp_post_norm)
        single = (*norms, self.output, self.router)
        yield from (tensor for tensor in single if tensor is not None)
        yield from chain(self.qkv, self.qkv_bias, *self.gate_up, self.down)


@dataclass(frozen=True, slots=True)
class ModelTensors:
    """The tensors of a model: `embedding` and `head` are [vocab, hidden], `head` is None if it is the embedding."""

    embedding: Tensor
    layers: tuple[LayerTensors, ...]
    final_norm: Tensor
    head: Tensor | None

    def every(self) -> Iterator[Tensor]:
        """All of them."""
        yield self.embedding
        for layer in self.layers:
            yield from layer.every()
        yield self.final_norm
        if self.head is not None:
            yield self.head


def model_tensors(config: ModelConfig) -> ModelTensors:
    """All tensors that a model needs."""
    matrix = (config.vocab_size, config.hidden_size)
    offset = FAMILIES[config.architecture].norm_offset
    return ModelTensors(
        embedding=Tensor("model.embed_tokens.weight", matrix),
        layers=tuple(_layer_tensors(config, index, layer) for index, layer in enumerate(config.layers)),
        final_norm=Tensor("model.norm.weight", (config.hidden_size,), offset),
        head=None if config.tied_embeddings else Tensor(HEAD, matrix),
    )


def _layer_tensors(config: ModelConfig, index: int, layer: LayerConfig) -> LayerTensors:
    family, hidden, dim = FAMILIES[config.architecture], config.hidden_size, config.head_dim
    names, prefix = family.tensors, f"model.layers.{index}."
    rows = [count * dim for count in (config.num_heads, config.num_kv_heads, config.num_kv_heads)]

    def norm(name: str, size: int = hidden) -> Tensor:
        return Tensor(f"{prefix}{name}.weight", (size,), family.norm_offset)

    gate_up, down, router = _mlp_tensors(names, layer, prefix, hidden)
    return LayerTensors(
        input_norm=norm(names.input_norm),
        qkv=_stack(prefix, names.qkv, rows, hidden),
        qkv_bias=_stack(prefix, names.qkv, rows, None) if config.qkv_bias else (),
        q_norm=norm(names.head_norms[0], dim) if config.qk_norm else None,
        k_norm=norm(names.head_norms[1], dim) if config.qk_norm else None,
        output=Tensor(f"{prefix}{names.output}.weight", (hidden, config.num_heads * dim)),
        mlp_norm=norm(names.mlp_norm),
        gate_up=gate_up,
        down=down,
        attention_post_norm=norm(names.post_norms[0]) if layer.post_norms else None,
        mlp_post_norm=norm(names.post_norms[1]) if layer.post_norms else None,
        router=router,
    )


def _mlp_tensors(
    names: TensorNames, layer: LayerConfig, prefix: str, hidden: int
) -> tuple[tuple[tuple[Tensor, ...], ...], tuple[Tensor, ...], Tensor | None]:
    """Gate above up, down, and the router of a mixture of experts."""
    size, experts = layer.mlp.size, layer.mlp.experts
    if experts is None:
        down = Tensor(f"{prefix}{names.down}.weight", (hidden, size))
        return (_stack(prefix, names.gate_up, (size, size), hidden),), (down,), None
    numbers = range(experts.count)
    pairs = [[name.format(number) for name in names.expert_gate_up] for number in numbers]
    downs = [Tensor(f"{prefix}{names.expert_down.format(number)}.weight", (hidden, size)) for number in numbers]
    router = Tensor(f"{prefix}{names.router}.weight", (experts.count, hidden))
    return tuple(_stack(prefix, pair, (size, size), hidden) for pair in pairs), tuple(downs), router


def _stack(prefix: str, names: Sequence[str], rows: Sequence[int], columns: int | None) -> tuple[Tensor, ...]:
    """Matrices of `rows` by `columns`, or biases without columns; one name holds them all, one above the other."""
    rows = [sum(rows)] if len(names) == 1 else rows
    kind, rest = ("bias", ()) if columns is None else ("weight", (columns,))
    return tuple(Tensor(f"{prefix}{name}.{kind}", (count, *rest)) for name, count in zip(names, rows, strict=True))
