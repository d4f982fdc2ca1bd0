"""Matrices in few bits: small integers in groups along the inputs, each group of an output with a scale of its own.

The scale of a group is its largest number by 2^(bits - 1), with the sign that makes that number the lowest integer,
which has no positive counterpart: so all 2^bits integers are used. Scales are bf16. Does not know models or files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from pie.engine.schemes import Scheme

__all__ = ["Deviation", "Matrix", "QuantizedMatrix", "quantize"]

_ROWS_AT_ONCE = 4096  # bounds the memory that quantizing takes beside the matrix


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedMatrix:
    """A matrix [outputs, inputs], or a stack of such ones.

    Attributes:
        codes: [..., outputs, inputs] u8, integers plus `scheme.half`; of four bits [..., outputs, ceil(inputs / 2)],
            the first of each pair in the low half.
        scales: [..., outputs, groups] bf16.
        inputs: how many.
        scheme: bits and size of groups.
        dtype: what products with it are computed in where it is made wide.
    """

    codes: torch.Tensor
    scales: torch.Tensor
    inputs: int
    scheme: Scheme
    dtype: torch.dtype

    def __getitem__(self, index: int) -> QuantizedMatrix:
        """One matrix of a stack."""
        return QuantizedMatrix(self.codes[index], self.scales[index], self.inputs, self.scheme, self.dtype)

    def stored(self) -> torch.Tensor:
        """The integers plus `scheme.half`, one in each byte: [..., outputs, inputs] u8."""
        if self.scheme.bits == 8:
            return self.codes
        return torch.stack((self.codes & 15, self.codes >> 4), dim=-1).flatten(-2)[..., : self.inputs]

    def wide(self) -> torch.Tensor:
        """The matrix that it stands for, [..., outputs, inputs] in `dtype`."""
        integers = self.stored().float() - self.scheme.half
        scales = self.scales.float().repeat_interleave(self.scheme.group, dim=-1)[..., : self.inputs]
        return (integers * scales).to(self.dtype)


Matrix = torch.Tensor | QuantizedMatrix


@dataclass(frozen=True, slots=True)
class Deviation:
    """Sums of squares over numbers: of what quantizing changed, and of the numbers themselves."""

    changed: float = 0.0
    total: float = 0.0

    def __add__(self, other: Deviation) -> Deviation:
        """Over both."""
        return Deviation(self.changed + other.changed, self.total + other.total)

    @property
    def relative(self) -> float:
        """The root of the mean square of the change, relative to that of the numbers."""
        return math.sqrt(self.changed / self.total) if self.total else 0.0


def quantize(matrix: torch.Tensor, scheme: Scheme, dtype: torch.dtype) -> tuple[QuantizedMatrix, Deviation]:
    """A matrix [..., outputs, inputs] in few bits, and how far it is from the one that was given."""
    rows = matrix.flatten(0, -2)
    parts = [_quantize_rows(part, scheme, dtype) for part in _chunks(rows)]
    outer = matrix.shape[:-1]
    made = QuantizedMatrix(
        codes=_join([part.codes for part, _ in parts]).unflatten(0, outer),
        scales=_join([part.scales for part, _ in parts]).unflatten(0, outer),
        inputs=matrix.shape[-1],
        scheme=scheme,
        dtype=dtype,
    )
    return made, sum((deviation for _, deviation in parts), Deviation())


def _chunks(rows: torch.Tensor) -> Iterator[torch.Tensor]:
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        yield rows[start : start + _ROWS_AT_ONCE].float()


def _join(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _quantize_rows(rows: torch.Tensor, scheme: Scheme, dtype: torch.dtype) -> tuple[QuantizedMatrix, Deviation]:
    """[outputs, inputs] f32."""
    inputs, half = rows.shape[1], scheme.half
    groups = functional.pad(rows, (0, -inputs % scheme.group)).unflatten(1, (-1, scheme.group))
    extremes = groups.gather(-1, groups.abs().argmax(-1, keepdim=True))
    scales = (extremes / -half).to(torch.bfloat16)
    steps = scales.float()
    integers = torch.where(steps == 0, 0.0, groups / steps).round_().clamp_(-half, half - 1).nan_to_num_()
    stored = (integers + half).to(torch.uint8).flatten(1)[:, :inputs]
    if scheme.bits == 4:
        pairs = functional.pad(stored, (0, inputs % 2)).unflatten(1, (-1, 2))
        stored = pairs[..., 0] | pairs[..., 1] << 4
    made = QuantizedMatrix(stored.contiguous(), scales[..., 0], inputs, scheme, dtype)
    changed = integers.mul_(steps).sub_(groups).square_().sum(dtype=torch.float64)
    return made, Deviation(float(changed), float(rows.square().sum(dtype=torch.float64)))
