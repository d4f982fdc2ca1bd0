"""Attention of one step through flashinfer: plans the calls of its parts, runs them, and puts rows back in order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from pie.engine.attention import Scores
from pie.engine.backend import Rows
from pie.engine.flashinfer_backend.cascade import share_pages
from pie.engine.flashinfer_backend.device_pages import DevicePages
from pie.engine.flashinfer_backend.kernels import AppendCall, AttentionCall, CallShape, Kernels, Pages
from pie.engine.flashinfer_backend.page_lists import append_table
from pie.engine.flashinfer_backend.segments import cut_rows
from pie.engine.flashinfer_backend.step_plan import Part, StepPlan, plan_step
from pie.engine.flashinfer_backend.upload import upload
from pie.engine.models.config import ModelConfig

__all__ = ["StepCalls", "call_shape", "least_shared", "plan_calls", "score_kinds", "shares_much"]

_LEAST_SHARED = 1024  # keys; a level costs a kernel call and a merge per layer
_WIDEST_MERGED = 8192  # numbers of all heads: the kernel that merges has a thread for every eight, a block has 1,024


@dataclass(frozen=True, slots=True, eq=False)
class _PlannedLevel:
    """A shared beginning: `queries` [n] of the part, on the device, and the call over its pages."""

    queries: torch.Tensor
    call: AttentionCall


@dataclass(frozen=True, slots=True, eq=False)
class _PlannedPart:
    """A part of a step: `rows` [n] on the device, the call over their pages, and the levels before these."""

    rows: torch.Tensor
    call: AttentionCall
    levels: tuple[_PlannedLevel, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StepCalls:
    """The planned calls of a step (see `pie.engine.models.step.StepAttention`), by what layers do to their scores."""

    kernels: Kernels
    pages: DevicePages
    appending: AppendCall
    parts: dict[Scores, tuple[_PlannedPart, ...]]
    dtype: torch.dtype

    def append(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Keep the rows' keys and values [R, kv_heads, head_dim]."""
        self.appending.run(self.pages.kept(keys), self.pages.kept(values), self.pages.layer(layer))

    def attend(self, layer: int, queries: torch.Tensor, scores: Scores) -> torch.Tensor:
        """Attention of one layer: [R, heads, head_dim] f32, scaled, gives [R, heads * head_dim] f32."""
        queries = queries.to(self.dtype)
        out = torch.empty_like(queries)
        for part in self.parts[scores]:
            out[part.rows] = self._run(part, queries[part.rows], self.pages.layer(layer))
        return out.flatten(1).float()

    def _run(self, part: _PlannedPart, queries: torch.Tensor, pages: Pages) -> torch.Tensor:
        out, sums = part.call.run(queries, pages)
        for level in part.levels:
            shared = level.call.run(queries[level.queries], pages)
            merged = self.kernels.merge((out[level.queries], sums[level.queries]), shared)
            out[level.queries], sums[level.queries] = merged
        return out


def plan_calls(kernels: Kernels, pages: DevicePages, config: ModelConfig, rows: Rows, dtype: torch.dtype) -> StepCalls:
    """Plan all calls of a step; `dtype` is what queries are given in."""
    kernels.start()
    parts = {}
    for scores in score_kinds(config):
        plan = plan_step(rows, page_size=pages.page_size, window=scores.window, least_shared=least_shared(config))
        shape = call_shape(config, pages, scores, dtype)
        parts[scores] = tuple(_plan_part(kernels, plan, part, shape) for part in plan.parts)
    return StepCalls(kernels, pages, kernels.append(append_table(rows, pages.page_size)), parts, dtype)


def least_shared(config: ModelConfig) -> int | None:
    """How many keys a shared beginning must save to be read by itself; None: such a model shares none."""
    return _LEAST_SHARED if config.num_heads * config.head_dim <= _WIDEST_MERGED else None


def shares_much(config: ModelConfig, rows: Rows, page_size: int) -> bool:
    """Whether a step would read some shared beginning by itself."""
    least = least_shared(config)
    return least is not None and bool(
        len(share_pages(rows, cut_rows(rows), page_size=page_size, least_saved=least).segments)
    )


def score_kinds(config: ModelConfig) -> list[Scores]:
    """What layers do to their scores, each kind once."""
    return list(dict.fromkeys(Scores(layer.window, layer.soft_cap) for layer in config.layers))


def call_shape(config: ModelConfig, pages: DevicePages, scores: Scores, dtype: torch.dtype) -> CallShape:
    """The shape of calls for such layers; queries are scaled already."""
    return CallShape(
        num_heads=config.num_heads,
        num_kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        page_size=pages.page_size,
        window_left=-1 if scores.window is None else scores.window - 1,
        soft_cap=scores.soft_cap,
        query_dtype=dtype,
        kv_dtype=pages.dtype,
    )


def _plan_part(kernels: Kernels, plan: StepPlan, part: Part, shape: CallShape) -> _PlannedPart:
    if part is plan.decode:
        call = kernels.decode(part.pages, shape)
    else:
        unbounded = shape if part.masks is None else replace(shape, window_left=-1)
        call = kernels.prefill(part.qo_indptr, part.pages, unbounded, causal=True, masks=part.masks)
    levels = tuple(
        _PlannedLevel(
            upload(level.queries, kernels.device),
            kernels.prefill(level.qo_indptr, level.pages, shape, causal=False, masks=None),
        )
        for level in part.levels
    )
    return _PlannedPart(upload(part.rows, kernels.device), call, levels)
