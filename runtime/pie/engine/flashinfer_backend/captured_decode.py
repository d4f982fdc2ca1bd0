"""Decode steps of fixed size whose whole forward pass is captured once as a CUDA graph and replayed.

All that a step reads lies at fixed places: token ids, positions, slots, page lists. Two captures take turns, so that
the tables of a step can be written while the one before is computed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from pie.engine.attention import Scores
from pie.engine.flashinfer_backend.device_adapters import NoAdapters
from pie.engine.flashinfer_backend.device_pages import DevicePages
from pie.engine.flashinfer_backend.graph_padding import DecodeTables
from pie.engine.flashinfer_backend.kernels import AppendCall, AttentionCall, Kernels
from pie.engine.flashinfer_backend.page_lists import PageLists
from pie.engine.flashinfer_backend.step_attention import call_shape, score_kinds
from pie.engine.flashinfer_backend.upload import on_host
from pie.engine.models.config import ModelConfig
from pie.engine.models.decoder import Decoder

__all__ = ["Capture", "CapturedDecode", "GraphCapture"]

Capture = Callable[[Callable[[], None]], Callable[[], None]]
"""Makes of a function that launches work on the device another one that launches the same work again."""

_WARM_UP_RUNS = 3


class CapturedDecode:
    """One decode step of `size` rows without adapters and masks, over and over."""

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        decoder: Decoder,
        *,
        kernels: Kernels,
        pages: DevicePages,
        config: ModelConfig,
        dtype: torch.dtype,
        size: int,
        capture: Capture,
    ) -> None:
        """Capture the step, over the spare page alone."""
        self.size = size
        self._decoder = decoder
        pages_per_sequence = -(-config.max_positions // pages.page_size)
        self._slots = kernels.decode_slots(size, size * pages_per_sequence)
        self._token_ids = torch.zeros(size, dtype=torch.int32, device=kernels.device)
        self._positions = torch.zeros(size, dtype=torch.int32, device=kernels.device)
        calls = {kind: self._slots.attention(call_shape(config, pages, kind, dtype)) for kind in score_kinds(config)}
        self._attention = _CapturedAttention(pages, self._slots.append(), calls, dtype)
        self._outputs: tuple[torch.Tensor, torch.Tensor] | None = None
        spare = PageLists(
            np.arange(size + 1, dtype=np.int32), np.full(size, pages.spare, np.int32), np.ones(size, np.int32)
        )
        self._slots.fill(np.zeros(size, np.int32), spare)
        self._replay = capture(self._compute)

    def run(self, tables: DecodeTables, token_ids: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Normed rows and logits of the real rows, until the next run; `token_ids` [num_rows] are fed if given."""
        self._slots.fill(tables.slots, tables.pages)
        device = self._positions.device
        self._positions.copy_(on_host(tables.positions, device), non_blocking=True)
        self._token_ids.copy_(on_host(tables.token_ids, device), non_blocking=True)
        if token_ids is not None:
            self._token_ids[: tables.num_rows] = token_ids
        self._replay()
        if self._outputs is None:
            raise RuntimeError("the step was captured without its outputs")
        hidden, logits = self._outputs
        return hidden[: tables.num_rows], logits[: tables.num_rows]

    def _compute(self) -> None:
        stream = self._decoder.run(self._token_ids, self._positions, self._attention, NoAdapters())
        self._outputs = self._decoder.head(stream)


class _CapturedAttention:
    """Attention over the tables at their fixed places (see `pie.engine.models.step.StepAttention`)."""

    def __init__(
        self, pages: DevicePages, appending: AppendCall, calls: dict[Scores, AttentionCall], dtype: torch.dtype
    ) -> None:
        self._pages = pages
        self._appending = appending
        self._calls = calls
        self._dtype = dtype

    def append(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        self._appending.run(self._pages.kept(keys), self._pages.kept(values), self._pages.layer(layer))

    def attend(self, layer: int, queries: torch.Tensor, scores: Scores) -> torch.Tensor:
        out, _ = self._calls[scores].run(queries.to(self._dtype), self._pages.layer(layer))
        return out.flatten(1).float()


class GraphCapture:
    """Captures work as CUDA graphs, which share the memory they work in: one runs at a time."""

    def __init__(self) -> None:
        """Without memory yet."""
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """Capture work, after it has run a few times: what compiles or allocates on first use does so before."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP_RUNS):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Threads of other models go on meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            work()
        replay: Callable[[], None] = graph.replay
        return replay
