"""The calls of `pie.engine.flashinfer_backend.kernels` by the reference kernels in numpy, on a CPU.

With it the whole backend runs where no GPU is: the engine, its plans and their tables, the decoder, the pages, the
draws, captured steps (which are computed again instead of replayed). What it says nothing about is flashinfer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from tests.engine.flashinfer_backend import reference_kernels as kernels

from pie.engine.engine import Engine
from pie.engine.flashinfer_backend.backend import FlashInferBackend
from pie.engine.flashinfer_backend.device_pages import DevicePages
from pie.engine.flashinfer_backend.kernels import AppendCall, AttentionCall, CallShape, DecodeSlots, Pages
from pie.engine.flashinfer_backend.masks import PackedMasks
from pie.engine.flashinfer_backend.page_lists import AppendTable, PageLists
from pie.engine.flashinfer_backend.segments import Index
from pie.engine.kv_form import KVChoice
from pie.engine.weights import LoadedModel
from pie.forward import Int32Array

__all__ = ["ReferenceKernels", "again", "on_reference_kernels"]

Floats = npt.NDArray[np.float64]


def again(work: Callable[[], None]) -> Callable[[], None]:
    """In the place of a captured graph: the work itself."""
    return work


def on_reference_kernels(
    engine: Engine, model: LoadedModel, kept_as: KVChoice = "model", *, scale: float = 1.0
) -> ReferenceKernels:
    """Let an engine compute with this backend; gives its kernels, which count what was called."""
    counting = ReferenceKernels()
    dtype = model.weights.embedding.dtype
    pages = DevicePages(
        model.config,
        num_pages=engine.info.num_pages,
        page_size=engine.info.page_size,
        model_dtype=dtype,
        kept_as=kept_as,
        scale=scale,
        device=counting.device,
    )
    engine._backend = FlashInferBackend(counting, model, pages, capture=again)
    return counting


@dataclass(eq=False)
class ReferenceKernels:
    """See `pie.engine.flashinfer_backend.kernels.Kernels`; `planned` has the names of all planned calls."""

    planned: list[str] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def start(self) -> None:
        self.planned.append("start")

    def decode(self, pages: PageLists, shape: CallShape) -> AttentionCall:
        self.planned.append("decode")
        return _Call(np.arange(len(pages) + 1, dtype=np.int32), pages, shape)

    def prefill(
        self, qo_indptr: Int32Array, pages: PageLists, shape: CallShape, *, causal: bool, masks: PackedMasks | None
    ) -> AttentionCall:
        self.planned.append("masked" if masks is not None else "causal" if causal else "shared")
        return _Call(qo_indptr, pages, shape, causal=causal, masks=masks)

    def append(self, table: AppendTable) -> AppendCall:
        return _Append(table)

    def decode_slots(self, size: int, max_pages: int) -> DecodeSlots:
        self.planned.append(f"captured {size}")
        return _Slots(self, size, max_pages)

    def merge(
        self, one: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        merged = kernels.merge(*(kernels.Attended(_floats(out), _floats(sums)) for out, sums in (one, other)))
        return torch.from_numpy(merged.out).to(one[0].dtype), torch.from_numpy(merged.lse).float()

    def segment_product(self, rows: torch.Tensor, weights: torch.Tensor, seg_indptr: Index) -> torch.Tensor:
        product = kernels.segment_product(_floats(rows), _floats(weights), seg_indptr, np.arange(len(weights)))
        return torch.from_numpy(product).to(rows.dtype)


@dataclass(eq=False)
class _Call:
    qo_indptr: Int32Array
    pages: PageLists
    shape: CallShape
    causal: bool = True
    masks: PackedMasks | None = None

    def run(self, queries: torch.Tensor, pages: Pages) -> tuple[torch.Tensor, torch.Tensor]:
        shape = self.shape
        assert queries.dtype == shape.query_dtype
        assert queries.shape[1:] == (shape.num_heads, shape.head_dim)
        for part in pages:
            assert part.dtype == shape.kv_dtype
            assert part.shape[1:] == (shape.page_size, shape.num_kv_heads, shape.head_dim)
        rules = kernels.Rules(self.causal, shape.window_left, shape.soft_cap or 0.0, shape.score_scale)
        masks = None if self.masks is None else (self.masks.bits, self.masks.indptr)
        cache = (_floats(pages[0]), _floats(pages[1]))
        found = kernels.paged_attention(_floats(queries), cache, self.qo_indptr, self.pages, rules=rules, masks=masks)
        return torch.from_numpy(found.out).to(queries.dtype), torch.from_numpy(found.lse).float()


@dataclass(eq=False)
class _Append:
    table: AppendTable

    def run(self, keys: torch.Tensor, values: torch.Tensor, pages: Pages) -> None:
        table = self.table
        for part, new in zip(pages, (keys, values), strict=True):
            assert part.dtype == new.dtype  # the kernel copies bytes
            integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[part.dtype.itemsize]
            there, fresh = part.view(integers).numpy(), new.contiguous().view(integers).numpy()
            for entry, (request, position) in enumerate(zip(table.batch_indices, table.positions, strict=True)):
                place = table.pages.indptr[request] + position // part.shape[1]
                assert place < table.pages.indptr[request + 1]
                there[table.pages.indices[place], position % part.shape[1]] = fresh[entry]


class _Slots:
    """Tables at one place; calls look at them when they run, as captured kernels do."""

    def __init__(self, owner: ReferenceKernels, size: int, max_pages: int) -> None:
        self.owner, self.size, self.max_pages = owner, size, max_pages
        self.calls: list[_Call] = []
        empty = np.zeros(0, np.int32)
        self.pages = PageLists(empty, empty, empty)
        self.appends: list[_Append] = []

    def attention(self, shape: CallShape) -> AttentionCall:
        self.calls.append(_Call(np.arange(self.size + 1, dtype=np.int32), self.pages, shape))
        return self.calls[-1]

    def append(self) -> AppendCall:
        rows = np.arange(self.size, dtype=np.int32)
        self.appends.append(_Append(AppendTable(rows, rows, self.pages)))
        return self.appends[-1]

    def fill(self, slots: Int32Array, pages: PageLists) -> None:
        assert len(pages) == len(slots) == self.size
        assert len(pages.indices) <= self.max_pages
        self.owner.planned.append("replayed")
        for call in self.calls:
            call.pages = pages
        for append in self.appends:
            append.table = AppendTable(np.arange(self.size, dtype=np.int32), slots, pages)


def _floats(tensor: torch.Tensor) -> Floats:
    found: Floats = tensor.to(torch.float64).numpy()
    return found
