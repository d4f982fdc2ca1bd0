"""Has the products and activations of foreign modules computed in fixed shapes, so that rows do not depend on others.

Libraries choose the order of additions by the number of rows, and the last few numbers of a tensor are computed by
other instructions than the rest. Inside `FixedShapes`, products run in blocks of rows, functions of single numbers in
blocks of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from pie.engine.linear import linear

__all__ = ["FixedShapes"]

_LANES = 64  # more than any instruction takes at once, unrolled
_BLOCK = 32768  # numbers; what is larger, torch divides among threads


class FixedShapes(TorchFunctionMode):  # type: ignore[misc]  # torch is not followed
    """While it is entered, what torch computes for a row is the same beside any other rows."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Compute by our rule if there is one for the function."""
        rule = _RULES.get(func)
        return func(*args, **(kwargs or {})) if rule is None else rule(func, *args, **(kwargs or {}))


def _linear(_func: Any, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`rows @ weight.T + bias`, [..., inputs] by [outputs, inputs], in the numbers of the rows."""
    product = linear(rows.reshape(-1, rows.shape[-1]), weight)
    if bias is not None:
        product = product + bias
    return product.to(rows.dtype).view(*rows.shape[:-1], len(weight))


def _add_product(func: Any, bias: torch.Tensor, rows: torch.Tensor, weight: torch.Tensor, **factors: Any) -> Any:
    if factors or bias.dim() != 1:
        return func(bias, rows, weight, **factors)
    return _linear(func, rows, weight.T, bias)


def _multiply(func: Any, rows: torch.Tensor, other: torch.Tensor) -> Any:
    """A product by a matrix; of stacks of matrices, each is small and of a shape of its own."""
    if other.dim() != 2 or rows.dim() < 2 or not rows.is_floating_point():
        return func(rows, other)
    return _linear(func, rows, other.T)


def _activate(func: Any, numbers: Any, *choices: Any, **more: Any) -> Any:
    """A function of single numbers; of two tensors, numbers go in pairs, and it is left alone."""
    tensors = [one for one in (*choices, *more.values()) if isinstance(one, torch.Tensor)]
    if tensors or not isinstance(numbers, torch.Tensor) or not numbers.is_floating_point():
        return func(numbers, *choices, **more)
    more.pop("inplace", None)  # what it would save is not worth a second way
    flat = functional.pad(numbers.reshape(-1), (0, -numbers.numel() % _LANES))
    parts = [func(block, *choices, **more) for block in flat.split(_BLOCK)]
    whole = parts[0] if len(parts) == 1 else torch.cat(parts)
    return whole[: numbers.numel()].view(numbers.shape)


_RULES: Mapping[Any, Callable[..., Any]] = MappingProxyType(
    {
        functional.linear: _linear,
        torch.addmm: _add_product,
        torch.matmul: _multiply,
        torch.mm: _multiply,
        torch.Tensor.matmul: _multiply,
        torch.Tensor.__matmul__: _multiply,
        torch.Tensor.mm: _multiply,
        **dict.fromkeys(
            (
                functional.elu,
                functional.gelu,
                functional.hardswish,
                functional.logsigmoid,
                functional.mish,
                functional.selu,
                functional.silu,
                functional.softplus,
                torch.erf,
                torch.exp,
                torch.expm1,
                torch.pow,
                torch.sigmoid,
                torch.tanh,
                torch.Tensor.exp,
                torch.Tensor.expm1,
                torch.Tensor.sigmoid,
                torch.Tensor.tanh,
            ),
            _activate,
        ),
    }
)
