"""The gated MLP of a layer over flat rows, dense or as a mixture of experts, in torch.

A row's result does not depend on its neighbours: experts add up in the order of their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from pie.engine.linear import linear
from pie.engine.models.config import Activation, Experts, MlpConfig
from pie.engine.models.step import StepAdapters
from pie.engine.quantization import Matrix
from pie.engine.weights import LayerWeights

__all__ = ["Mlp", "project"]


@dataclass(frozen=True, slots=True, eq=False)
class Mlp:
    """The MLP of layer `index`: what it does, its weights, and the adapters of a step's rows."""

    config: MlpConfig
    weights: LayerWeights
    index: int
    adapted: StepAdapters

    def run(self, rows: torch.Tensor, onto: torch.Tensor | None) -> torch.Tensor:
        """What it gives for normed rows [R, hidden], added to `onto` if there is one: [R, hidden] f32."""
        if self.config.experts is not None and self.weights.router is not None:
            mixed = self._mixture(rows, self.config.experts, self.weights.router)
            return mixed if onto is None else onto + mixed
        gate, up = linear(rows, self.weights.gate_up).chunk(2, dim=-1)
        self.adapted.add(self.index, "gate", rows, gate)
        self.adapted.add(self.index, "up", rows, up)
        active = _activate(gate, self.config.activation) * up
        out = project(active, self.weights.down, onto)
        self.adapted.add(self.index, "down", active, out)
        return out

    def _mixture(self, rows: torch.Tensor, experts: Experts, router: torch.Tensor) -> torch.Tensor:
        shares, chosen = linear(rows, router).softmax(dim=-1).topk(experts.per_token, dim=-1)
        if experts.normed:
            shares = shares / shares.sum(dim=-1, keepdim=True)
        out = torch.zeros_like(rows)
        for expert in chosen.unique().tolist():
            row, place = (chosen == expert).nonzero(as_tuple=True)
            gate, up = linear(rows[row], self.weights.gate_up[expert]).chunk(2, dim=-1)
            made = linear(_activate(gate, self.config.activation) * up, self.weights.down[expert])
            out[row] += shares[row, place, None] * made
        return out


def project(rows: torch.Tensor, weight: Matrix, onto: torch.Tensor | None) -> torch.Tensor:
    """`rows @ weight.T`, added to `onto` if there is one; a new tensor."""
    product = linear(rows, weight)
    return product if onto is None else onto + product


def _activate(gate: torch.Tensor, activation: Activation) -> torch.Tensor:
    if activation == "silu":
        return functional.silu(gate)
    if activation == "gelu_tanh":
        return functional.gelu(gate, approximate="tanh")
    # `functional.gelu` without an approximation gives one row other bits than many.
    return 0.5 * gate * (1 + torch.erf(gate * 0.5**0.5))
