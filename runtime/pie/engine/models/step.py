"""What the decoder needs of a step: a place for keys and values, attention over them, and the changes of adapters.

Each backend brings its own; the decoder knows neither pages nor devices.
"""

from __future__ import annotations

from typing import Protocol

import torch

from pie.engine.attention import Scores

__all__ = ["StepAdapters", "StepAttention"]


class StepAttention(Protocol):
    """The keys and values of one step's rows, and attention over all that these rows see."""

    def append(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Keep the keys and values [R, kv_heads, head_dim] f32 that the step's rows have in a layer."""
        ...

    def attend(self, layer: int, queries: torch.Tensor, scores: Scores) -> torch.Tensor:
        """Attention of one layer: queries [R, heads, head_dim] f32, scaled, give [R, heads * head_dim] f32."""
        ...


class StepAdapters(Protocol):
    """What adapters do to the step's rows."""

    def add(self, layer: int, module: str, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        """Add to `outputs` [R, outputs] in place what adapters make of `inputs` [R, inputs] in a module of a layer."""
        ...
