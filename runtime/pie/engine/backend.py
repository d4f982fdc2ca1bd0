"""The interface between the engine and what computes: rows in, logits and drawn tokens out, pages copied and moved.

Three backends implement it, `TorchBackend` (any machine with torch; also modules of transformers), `NativeBackend` (our
C++ kernels) and `FlashInferBackend` (a GPU); one conformance suite holds for all. How keys and values lie in memory is
private to a backend.

Each backend promises: what it computes for a row depends on that row, its keys, its adapter and the weights only, never
on the other rows of the batch, on how the prompt was cut into steps, or on the number of threads. On a CPU it is so bit
for bit, on a GPU up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from pie.adjustment import Adjustments
from pie.engine.adapters.weights import AdapterWeights
from pie.engine.memory import is_out_of_memory
from pie.forward import BoolBytes, Int32Array, PageId, Progress

__all__ = ["Backend", "DrawStatus", "Draws", "Drawn", "HostOutputs", "Outputs", "Rows", "Run"]

Float32Array = npt.NDArray[np.float32]
UInt64Array = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The tokens of one step, checked; fields as in `pie.forward.Batch`, all C-contiguous.

    Attributes:
        mask_of_row: [R] i32, row of `key_mask`, -1 is causal; None if no row is masked.
        adapters: the weights of the adapters that rows use.
        adapter_of_row: [R] i32, index into `adapters`, -1 is none; None if no row uses one.
    """

    token_ids: Int32Array
    positions: Int32Array
    sequence_of_row: Int32Array
    kv_index: Int32Array
    page_table: Int32Array
    logit_rows: Int32Array
    page_numbers: Int32Array | None = None
    key_mask: BoolBytes | None = None
    mask_of_row: Int32Array | None = None
    adapters: tuple[AdapterWeights, ...] = ()
    adapter_of_row: Int32Array | None = None

    def following(self, keep: npt.NDArray[np.intp], token_ids: Int32Array) -> Rows:
        """The next step of a decode run: the kept rows, each one position and one KV slot further."""
        return replace(
            self,
            token_ids=token_ids,
            positions=self.positions[keep] + 1,
            sequence_of_row=self.sequence_of_row[keep],
            kv_index=self.kv_index[keep] + 1,
            logit_rows=np.arange(len(keep), dtype=np.int32),
            adapter_of_row=None if self.adapter_of_row is None else self.adapter_of_row[keep],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """The samplers of one step, checked; fields as in `pie.forward.Batch`, all C-contiguous."""

    sampler_rows: Int32Array
    temperature: Float32Array
    top_k: Int32Array
    top_p: Float32Array
    min_p: Float32Array
    seeds: UInt64Array
    counters: UInt64Array
    logit_masks: npt.NDArray[np.uint32]
    sampler_masks: Int32Array
    adjustments: Adjustments | None = None

    def following(self, keep: npt.NDArray[np.intp], token_ids: Int32Array) -> Draws:
        """The next step of a decode run: the kept samplers, each one counter and one drawn token further."""
        return Draws(
            sampler_rows=np.arange(len(keep), dtype=np.int32),
            temperature=self.temperature[keep],
            top_k=self.top_k[keep],
            top_p=self.top_p[keep],
            min_p=self.min_p[keep],
            seeds=self.seeds[keep],
            counters=self.counters[keep] + np.uint64(1),
            logit_masks=self.logit_masks,
            sampler_masks=self.sampler_masks[keep],
            adjustments=None if self.adjustments is None else self.adjustments.following(keep, token_ids),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The rest of a decode run; fields as in `pie.forward.Batch`.

    Attributes:
        progress: where the run tells how far it is, and hears whether it must land; None for one that goes to its end.
    """

    steps: int
    step_limits: Int32Array
    stop_ids: Sequence[Int32Array]
    progress: Progress | None = None

    def begin(self, num_samplers: int) -> tuple[Int32Array, Int32Array]:
        """Where its tokens [S, steps] and their numbers [S] go."""
        progress = self.progress or Progress.of(num_samplers, self.steps)
        return progress.tokens, progress.num_tokens

    def tell(self, num_steps: int) -> None:
        """Say that so many steps are over."""
        if self.progress is not None:
            self.progress.num_steps[0] = num_steps

    @property
    def must_land(self) -> bool:
        """Whether no further step may begin."""
        return self.progress is not None and bool(self.progress.landing[0])

    def cut(self, drawn: Drawn) -> Drawn:
        """Without the columns of steps that were not done."""
        if self.progress is None:
            return drawn
        return replace(drawn, tokens=drawn.tokens[:, : max(1, int(self.progress.num_steps[0]))])

    def keeps(self, error: Exception, num_steps: int) -> bool:
        """Whether a run that has so many steps ends with them because of an error, which is want of memory."""
        return self.progress is not None and num_steps > 0 and is_out_of_memory(error)


class DrawStatus(IntEnum):
    """How one draw ended; everything but `DRAWN` fails that sampler alone."""

    DRAWN = 0
    NOTHING_ALLOWED = 1
    NOT_FINITE = 2
    BAD_SAMPLER = 3


class Outputs(Protocol):
    """What the rows gave. A backend may keep it where it computes until somebody looks."""

    @property
    def hidden(self) -> Float32Array:
        """[L, hidden] f32, after the last norm."""
        ...

    @property
    def logits(self) -> Float32Array:
        """[L, vocab] f32."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class HostOutputs:
    """Outputs in the host's memory."""

    hidden: Float32Array
    logits: Float32Array


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Drawn tokens `tokens` [S, steps] i32, of which `num_tokens` [S] are real, and `status` [S] (`DrawStatus`)."""

    tokens: Int32Array
    num_tokens: Int32Array
    status: npt.NDArray[np.int32]


class Backend(Protocol):
    """What computes. Called from one thread at a time; arguments were checked by the engine."""

    @property
    def name(self) -> str:
        """It is "flashinfer", "native", "torch", or "transformers" for torch with a module of that library."""
        ...

    @property
    def kv_memory(self) -> Sequence[torch.Tensor]:
        """The memory of the pages, as contiguous tensors; what is not mapped yet may be before it is used."""
        ...

    def forward(self, rows: Rows) -> Outputs:
        """Run the model over `rows`: append their keys and values, attend, and give the outputs of the logit rows."""
        ...

    def sample(self, outputs: Outputs, draws: Draws) -> Drawn:
        """Draw one token per sampler from `outputs.logits`."""
        ...

    def decode(self, rows: Rows, draws: Draws, run: Run) -> Drawn:
        """Do a whole decode run; row i belongs to sampler i."""
        ...

    def copy_pages(self, copies: Int32Array) -> None:
        """Copy pages `[C, 2]` (from, to), one after another."""
        ...

    def read_pages(self, pages: Sequence[PageId]) -> torch.Tensor:
        """Keys and values `[layers, 2, pages, page_size, kv_heads, head_dim]` in the model's dtype, a copy."""
        ...

    def write_pages(self, pages: Sequence[PageId], content: torch.Tensor) -> None:
        """Put what `read_pages` gave, of this or another backend, into `pages`."""
        ...
