"""Matrix products in torch whose rows do not depend on each other."""

from __future__ import annotations

import torch
from torch.nn import functional

from pie.engine.quantization import Matrix, QuantizedMatrix

__all__ = ["linear"]

_LINEAR_ROWS = 16


def linear(rows: torch.Tensor, weight: Matrix) -> torch.Tensor:
    """`rows @ weight.T`: [R, inputs] f32 by [outputs, inputs] gives [R, outputs] f32.

    Matrix libraries choose the order of additions by the number of rows; blocks of one size keep it the same. A GPU
    would read the weights once for each block, so there rows go together, and agree up to rounding. A quantized
    matrix is made wide for the time of the product, so that only its small form is kept.
    """
    if isinstance(weight, QuantizedMatrix):
        weight = weight.wide()
    if rows.is_cuda:
        return functional.linear(rows.to(weight.dtype), weight).float()
    num_rows = len(rows)
    rows = functional.pad(rows.to(weight.dtype), (0, 0, 0, -num_rows % _LINEAR_ROWS))
    blocks = [functional.linear(block, weight) for block in rows.split(_LINEAR_ROWS)]
    product = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
    return product[:num_rows].float()
