"""What the engine asks of any model: sizes that decide pages, contexts and logits."""

from __future__ import annotations

from typing import Protocol

__all__ = ["ModelFacts"]


class ModelFacts(Protocol):
    """The facts of a model, of one of our families or not (see `pie.engine.models.config.ModelConfig`)."""

    @property
    def architecture(self) -> str:
        """The Hugging Face class name."""
        ...

    @property
    def num_layers(self) -> int:
        """Layers with keys and values."""
        ...

    @property
    def num_kv_heads(self) -> int:
        """Key and value heads of a layer."""
        ...

    @property
    def head_dim(self) -> int:
        """Width of a key or value in the cache."""
        ...

    @property
    def vocab_size(self) -> int:
        """Logits per row."""
        ...

    @property
    def max_positions(self) -> int:
        """Context length in tokens."""
        ...

    @property
    def work_per_row(self) -> int:
        """Multiply-adds of the matrix products for one row."""
        ...
