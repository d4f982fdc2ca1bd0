"""Quantizes the matrices of a model while they are loaded, and keeps count of what that changed.

Knows which matrix has which scheme; does not know files.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pie.engine.models.config import ModelConfig
from pie.engine.quantization import Deviation, Matrix, quantize
from pie.engine.schemes import SCHEMES, Scheme, WeightsChoice, weight_bytes

__all__ = ["QuantizationReport", "Quantizer"]


@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """What quantizing did to a model; errors are roots of mean squares, relative to those of the weights.

    Attributes:
        weights: the choice.
        error: over all quantized matrices.
        worst_error: of the matrix that changed most.
        worst: which one that is, such as `layers.3.down`.
        size_bytes: of all weights in memory.
        original_bytes: of the same weights unquantized.
    """

    weights: WeightsChoice
    error: float
    worst_error: float
    worst: str
    size_bytes: int
    original_bytes: int

    def __str__(self) -> str:
        """One line for the log."""
        error, worst = f"{self.error:.2%}", f"{self.worst_error:.2%} in {self.worst}"
        sizes = f"{self.size_bytes / 1e6:.1f} MB in the place of {self.original_bytes / 1e6:.1f} MB"
        return f"{self.weights} weights differ by {error} from the original ones, at most {worst}, and take {sizes}"


class Quantizer:
    """Makes the matrices of one model."""

    def __init__(self, weights: WeightsChoice, dtype: torch.dtype) -> None:
        """Make them by a choice; what stays wide, and what products are computed in, is `dtype`."""
        self._weights = weights
        self._schemes = SCHEMES[weights]
        self._dtype = dtype
        self._deviations: dict[str, Deviation] = {}

    @property
    def quantizes(self) -> bool:
        """Whether matrices become others than the files have."""
        return self._schemes is not None

    def layer(self, name: str, matrix: torch.Tensor) -> Matrix:
        """A matrix of a layer, or a stack of those of its experts, from the file's own numbers."""
        return self._make(name, matrix, None if self._schemes is None else self._schemes.layers)

    def head(self, matrix: torch.Tensor) -> Matrix:
        """The head."""
        return self._make("head", matrix, None if self._schemes is None else self._schemes.head)

    def report(self, config: ModelConfig) -> QuantizationReport | None:
        """What was done to a model of these facts; None if nothing was."""
        if not self._deviations:
            return None
        errors = {name: deviation.relative for name, deviation in self._deviations.items()}
        worst = max(errors, key=errors.__getitem__)
        return QuantizationReport(
            weights=self._weights,
            error=sum(self._deviations.values(), Deviation()).relative,
            worst_error=errors[worst],
            worst=worst,
            size_bytes=weight_bytes(config, self._dtype.itemsize, self._schemes),
            original_bytes=weight_bytes(config, self._dtype.itemsize, None),
        )

    def _make(self, name: str, matrix: torch.Tensor, scheme: Scheme | None) -> Matrix:
        if scheme is None:
            return matrix.to(self._dtype).contiguous()
        made, self._deviations[name] = quantize(matrix, scheme, self._dtype)
        return made
