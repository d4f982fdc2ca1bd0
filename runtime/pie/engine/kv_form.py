"""How numbers are kept in pages: as the model computes them, or in eight bits (e4m3, see `native/fp8.h`).

What is read and written again stays the same to the bit.
"""

from __future__ import annotations

from typing import Literal

import torch

__all__ = ["FP8", "KVChoice", "as_integers", "keep", "kv_dtype"]

KVChoice = Literal["model", "fp8"]

FP8 = torch.float8_e4m3fn


def kv_dtype(choice: KVChoice, model_dtype: torch.dtype) -> torch.dtype:
    """What keys and values are kept in."""
    return FP8 if choice == "fp8" else model_dtype


def keep(numbers: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Numbers as they are kept; in fp8, what is beyond the range is cut off at its end."""
    if dtype != FP8:
        return numbers.to(dtype)
    limit = torch.finfo(FP8).max
    return numbers.float().clamp(-limit, limit).to(FP8)


def as_integers(kept: torch.Tensor) -> torch.Tensor:
    """The same memory as integers of the same size: not every operation of torch knows fp8."""
    return kept.view({1: torch.uint8, 2: torch.int16, 4: torch.int32}[kept.dtype.itemsize])
