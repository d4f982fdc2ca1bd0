"""The choices of weights: how many bits the numbers of a model's matrices take, and what it takes in memory then.

Embeddings, norms, biases and routers stay as they are. Does not know tensors: `pie model inspect` asks without them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from pie.engine.models.config import ModelConfig
from pie.engine.models.tensors import ModelTensors, Tensor, model_tensors

__all__ = ["SCHEMES", "Scheme", "Schemes", "WeightsChoice", "weight_bytes"]

WeightsChoice = Literal["original", "int8", "int4"]


@dataclass(frozen=True, slots=True)
class Scheme:
    """How many bits a number takes, and how many inputs of an output share a scale; the last group may be shorter."""

    bits: Literal[4, 8]
    group: int

    @property
    def half(self) -> int:
        """Integers go from `-half` to `half - 1`; they are stored with `half` added."""
        return 1 << (self.bits - 1)

    def size_bytes(self, outputs: int, inputs: int) -> int:
        """What a matrix takes, with scales of two bytes."""
        return outputs * (math.ceil(inputs * self.bits / 8) + 2 * math.ceil(inputs / self.group))


@dataclass(frozen=True, slots=True)
class Schemes:
    """What a choice does to the matrices of the layers, and to the head."""

    layers: Scheme
    head: Scheme


_BYTES = Scheme(8, 128)
SCHEMES: dict[WeightsChoice, Schemes | None] = {
    "original": None,
    "int8": Schemes(_BYTES, _BYTES),
    # The head alone decides between words that are almost as likely: it keeps eight bits.
    "int4": Schemes(Scheme(4, 32), _BYTES),
}


def weight_bytes(config: ModelConfig, item_bytes: int, schemes: Schemes | None) -> int:
    """What the weights take in memory.

    Args:
        config: the model's facts.
        item_bytes: of what it is computed in.
        schemes: of the choice. An embedding that is the head too is kept beside the quantized head.
    """
    tensors = model_tensors(config)
    if schemes is None:
        return sum(math.prod(tensor.shape) for tensor in tensors.every()) * item_bytes
    quantized = dict.fromkeys(_layer_matrices(tensors), schemes.layers)
    head = tensors.embedding if tensors.head is None else tensors.head
    kept = [tensor for tensor in tensors.every() if tensor not in quantized and tensor is not tensors.head]
    in_bits = sum(scheme.size_bytes(*tensor.shape) for tensor, scheme in quantized.items())
    return in_bits + schemes.head.size_bytes(*head.shape) + sum(math.prod(one.shape) for one in kept) * item_bytes


def _layer_matrices(tensors: ModelTensors) -> Iterator[Tensor]:
    for layer in tensors.layers:
        yield from chain(layer.qkv, (layer.output,), *layer.gate_up, layer.down)
