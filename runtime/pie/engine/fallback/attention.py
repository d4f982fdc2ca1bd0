"""What stands in transformers in the place of an attention function and of a mask; knows nothing of pages.

A module calls its attention with queries, keys, values and what it was given as a mask. That call goes to the object
that `place` put into the module. Masks are never built: what arrives is a `CausalMask`, which says how far a row sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

__all__ = ["NAME", "Attends", "AttentionCall", "CausalMask", "attention_function", "mask_function", "place"]

NAME = "pie"
_ATTRIBUTE = "pie_attends"
_POWERS = 24  # of two: no context is longer than the last


@dataclass(frozen=True, slots=True, eq=False)
class CausalMask:
    """Which keys a row sees: itself and those before it, `window` in all if it is given.

    Attributes:
        window: how many keys a row sees at most, its own included.
        sees: the rule of transformers that this stands for, of batch, head, row and key.
    """

    window: int | None
    sees: Callable[..., Any]

    def holds(self) -> bool:
        """Whether the rule is what `window` says, around its own edges and at distances of all sizes."""
        window = self.window or 1
        bases = (*(many * window for many in (0, 1, 2, 3)), *(1 << power for power in range(_POWERS)))
        edges = {max(0, base + more) for base in bases for more in (-1, 0, 1)}
        rows = torch.tensor(sorted(edges))[:, None]
        keys = rows.T
        expected = keys <= rows
        if self.window is not None:
            expected &= keys > rows - self.window
        try:
            seen = torch.as_tensor(self.sees(torch.tensor(0), torch.tensor(0), rows, keys))
            return bool(torch.equal(seen.broadcast_to(expected.shape), expected))
        except (RuntimeError, TypeError, IndexError, ValueError):
            return False  # it asks for more than places: padding, blocks, chunks


@dataclass(frozen=True, slots=True, eq=False)
class AttentionCall:
    """One call of an attention function.

    Attributes:
        query: [1, heads, R, key_dim].
        key: [1, kv_heads, R, key_dim].
        value: [1, kv_heads, R, value_dim].
        mask: what the module was given; a `CausalMask` if it left it alone.
        scale: factor of the scores.
        soft_cap: bound c of the scores, by c * tanh(score / c), or None.
        others: what else the module passes, by name, without what is None.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: object
    scale: float
    soft_cap: float | None
    others: Mapping[str, object]


class Attends(Protocol):
    """What computes attention."""

    def attend(self, call: AttentionCall) -> torch.Tensor:
        """The mixed values, [1, R, heads, value_dim]."""
        ...


def place(module: Any, attends: Attends) -> None:
    """Have all attention of a module and its parts computed by `attends`."""
    for part in module.modules():
        setattr(part, _ATTRIBUTE, attends)


def attention_function(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: object = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """What modules of transformers call under our name."""
    scale = others.pop("scaling", None)
    soft_cap = others.pop("softcap", None)
    call = AttentionCall(
        query=query,
        key=key,
        value=value,
        mask=attention_mask,
        scale=query.shape[-1] ** -0.5 if scale is None else float(scale),
        soft_cap=soft_cap,
        others={name: other for name, other in others.items() if other is not None},
    )
    attends: Attends = getattr(module, _ATTRIBUTE)
    return attends.attend(call), None


def mask_function(*, mask_function: Callable[..., Any], local_size: int | None = None, **_sizes: object) -> CausalMask:
    """What transformers calls under our name to build a mask: nothing is built."""
    return CausalMask(local_size, mask_function)
