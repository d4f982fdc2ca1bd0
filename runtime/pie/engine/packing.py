"""Matrices in the layouts of the C++ kernels (see `native/linear.h` and `native/quantized.h`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from pie.engine.memory import Arena
from pie.engine.quantization import Matrix, QuantizedMatrix

__all__ = ["BLOCK", "group_of", "pack"]

BLOCK = 32
"""Outputs that lie together."""


def pack(matrix: Matrix, arena: Arena) -> torch.Tensor:
    """[outputs, inputs] to [outputs / 32, inputs / g, 32, g], or to bytes [outputs / 32, size of a block] if quantized.

    Rows of zeros fill the last block. The matrices of a stack lie one after another.
    """
    if isinstance(matrix, QuantizedMatrix):
        stack = [matrix] if matrix.codes.dim() == 2 else [matrix[index] for index in range(len(matrix.codes))]
        return _pack_quantized(stack, arena)
    group = group_of(matrix.dtype)
    matrix = functional.pad(matrix, (0, 0, 0, -matrix.shape[-2] % BLOCK)).flatten(0, -2)
    tiles = matrix.unflatten(0, (-1, BLOCK)).unflatten(2, (-1, group)).transpose(1, 2)
    return arena.zeros(tuple(tiles.shape), tiles.dtype).copy_(tiles)


def group_of(dtype: torch.dtype) -> int:
    """How many inputs of an output lie side by side, `g`."""
    return 2 if dtype == torch.bfloat16 else 1


def _pack_quantized(stack: Sequence[QuantizedMatrix], arena: Arena) -> torch.Tensor:
    """Matrices of one size, each by itself, to bound the memory that takes."""
    first = stack[0]
    blocks = -(-len(first.codes) // BLOCK)
    shape = (len(stack), blocks, BLOCK * first.scheme.size_bytes(1, first.inputs))
    packed = arena.zeros(shape, torch.uint8)
    for matrix, target in zip(stack, packed, strict=True):
        _pack_blocks(matrix, target)
    return packed.flatten(0, 1)


def _pack_blocks(matrix: QuantizedMatrix, packed: torch.Tensor) -> None:
    """Each block holds for each group 32 scales, and then its integers."""
    scales = _blocks(matrix.scales)
    codes = _blocks(matrix.stored())
    at = 0
    for group, part in enumerate(codes.split(matrix.scheme.group, dim=2)):
        for content in (scales[:, :, group].contiguous().view(torch.uint8), _tiles(part, matrix.scheme.bits)):
            packed[:, at : at + content.shape[1]] = content
            at += content.shape[1]


def _blocks(rows: torch.Tensor) -> torch.Tensor:
    return functional.pad(rows, (0, 0, 0, -len(rows) % BLOCK)).unflatten(0, (-1, BLOCK))


def _tiles(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """[blocks, 32, n] to bytes [blocks, n / 4 * 32 * 4], or to half as many of four bits."""
    tiles = codes.unflatten(2, (-1, 4)).transpose(1, 2)
    if bits == 4:
        first, second = tiles.chunk(2, dim=2)
        tiles = first | second << 4
    return tiles.flatten(1)
