"""The engine: one model on one backend, one batch at a time.

Owns the model's memory and the order copy, forward, draw, probe. Does not know requests, contexts or queues.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from pie.engine.adapters.bank import AdapterBank
from pie.engine.backend import Drawn, DrawStatus
from pie.engine.backend_choice import BackendName, Placement, check_wanted, choose_place
from pie.engine.batch_check import CheckedBatch, check_batch, check_host_pages, check_pages
from pie.engine.host_pages import HostPages
from pie.engine.kernel_build import default_cache_dir
from pie.engine.kv_form import KVChoice
from pie.engine.loading import load_any_model
from pie.engine.memory import MemoryAhead, is_out_of_memory
from pie.engine.models.config import ModelConfig
from pie.engine.models.facts import ModelFacts
from pie.engine.models.families import FAMILIES
from pie.engine.page_file import read_page_file, write_page_file
from pie.engine.probes import ProbeFailure, read_logprobs, read_probes
from pie.engine.room import check_page_room
from pie.engine.schemes import WeightsChoice
from pie.engine.stopping import check_stop
from pie.errors import AdapterError, DeviceOutOfMemory, ModelError
from pie.forward import Batch, DeviceInfo, HostPageId, PageId, ProbeValue, Progress, StepResult

__all__ = ["BackendName", "Engine"]

log = logging.getLogger(__name__)

_MOST_PAGES = 8192
_CAUSES = {
    DrawStatus.NOTHING_ALLOWED: "the logit mask forbids every token",
    DrawStatus.NOT_FINITE: "the logits of the row are not finite",
    DrawStatus.BAD_SAMPLER: "a sampler parameter is out of range",
}


class Engine:
    """Runs batches on a model. Not thread-safe: one caller at a time (see `DeviceThread`).

    Attributes:
        info: the device's fixed facts.
        facts: the model's.
        quantization: what quantizing did to its weights; None if they are the original ones.
        adapters: the adapter weights that batches may use.
    """

    def __init__(  # noqa: PLR0913 - all by keyword, each with a default
        self,
        model_dir: Path,
        *,
        dtype: Literal["float32", "bfloat16"] | None = None,
        weights: WeightsChoice = "original",
        num_pages: int | None = None,
        num_host_pages: int | None = None,
        memory_bytes: int | None = None,
        page_size: int = 16,
        backend: BackendName = "auto",
        kv_cache: KVChoice = "model",
        threads: int | None = None,
        cache_dir: Path | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Load a model and make room for its KV pages.

        Args:
            model_dir: a Hugging Face directory with safetensors weights.
            dtype: what to compute and keep the KV in; None takes the model's own.
            weights: "original" or, in less memory, "int8" or "int4"; the log tells what that changes.
            num_pages: pages of the KV cache; None takes what `memory_bytes` gives.
            num_host_pages: pages of host memory for suspended contexts and evicted prefixes; None is `num_pages` / 2,
                and no more than there is room for.
            memory_bytes: size of the KV cache; None takes a share of the free memory, on a CPU 8192 pages at most.
            page_size: tokens per page.
            backend: "flashinfer" wants a GPU, "native" the C++ kernels, "torch" neither; "auto" takes the first of
                these that there is. A model of none of our families runs through transformers.
            kv_cache: "model" keeps keys and values in the model's dtype, "fp8" in 8 bits.
            threads: how many threads compute at most on a CPU; None takes one per core that this process may use.
            cache_dir: where compiled kernels are kept; None is `~/.cache/pie/kernels`.
            stop: another thread sets it to have the loading given up.

        Raises:
            ModelError: the directory cannot be used, the memory is too small, or what was asked for is not there;
                `stopped`.
        """
        check_wanted(backend)
        model = load_any_model(model_dir, dtype=dtype, weights=weights, stop=stop)
        if model.quantization is not None:
            log.info("%s: %s", model.name, model.quantization)
        kernels_dir = cache_dir or default_cache_dir()
        place = choose_place(model, backend, kv_cache, page_size=page_size, cache_dir=kernels_dir, stop=stop)
        model = place.model
        self.facts = model.config
        self.quantization = model.quantization
        self.adapters = AdapterBank()
        self._dtype = model.dtype
        page_bytes = _page_bytes(model.config, page_size, place.kv_dtype)
        num_pages = _num_pages(memory_bytes, page_bytes, place) if num_pages is None else num_pages
        host_page_bytes = _page_bytes(model.config, page_size, self._dtype)
        if num_host_pages is None:
            num_host_pages = place.host_pages(num_pages, page_bytes=page_bytes, host_page_bytes=host_page_bytes)
        on_host = num_host_pages * host_page_bytes + (num_pages * page_bytes if place.gpu is None else 0)
        check_page_room(on_host, num_pages=num_pages, num_host_pages=num_host_pages)
        self.info = DeviceInfo(
            model=model.name,
            fingerprint=model.fingerprint,
            checkpoint=model.checkpoint,
            vocab_size=model.config.vocab_size,
            max_positions=model.config.max_positions,
            page_size=page_size,
            num_pages=num_pages,
            page_bytes=page_bytes,
            num_host_pages=num_host_pages,
        )
        check_stop(stop)
        self._backend = place.backend(num_pages=num_pages, page_size=page_size, threads=threads)
        config = model.config
        page_shape = (config.num_layers, 2, page_size, config.num_kv_heads, config.head_dim)
        self._host_pages = HostPages(num_host_pages, page_shape=page_shape, dtype=self._dtype)
        self._ahead = MemoryAhead([*self._backend.kv_memory, self._host_pages.memory])

    @property
    def backend(self) -> str:
        """Which backend runs: "flashinfer", "native", "torch" or "transformers"."""
        return self._backend.name

    def take_memory(self) -> bool:
        """Take some of the memory that pages will need, so that no step waits for it; False if all is taken."""
        return self._ahead.take()

    @property
    def config(self) -> ModelConfig:
        """The model's facts if it is of one of our families, as adapters are made for.

        Raises:
            AdapterError: `adapters-not-supported`.
        """
        if isinstance(self.facts, ModelConfig):
            return self.facts
        raise AdapterError(
            "adapters-not-supported",
            f"{self.facts.architecture} runs through transformers, where no adapter can be applied",
            remedy=f"Choose a model of one of these architectures: {', '.join(FAMILIES)}.",
        )

    def step(self, batch: Batch, progress: Progress | None = None) -> StepResult:
        """Run one batch: page copies, the rows, the draws, the probes; or a whole decode run, until it must land.

        Raises:
            RequestError: `bad-batch` if a number is out of range; nothing has run then.
            AdapterError: an adapter that rows use is not there; nothing has run then.
            DeviceOutOfMemory: the rows need more memory beside the pages than there is; the page copies are done.
        """
        checked = check_batch(batch, self.info, self.adapters.resolve(batch.adapters))
        if len(checked.page_copies):
            self._backend.copy_pages(checked.page_copies)
        try:
            return self._run(batch, checked, progress)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise DeviceOutOfMemory(f"a step of {batch.num_rows} tokens does not fit into memory") from error

    def move_pages(
        self, outward: Sequence[tuple[PageId, HostPageId]], homeward: Sequence[tuple[PageId, HostPageId]]
    ) -> None:
        """Copy pages to host pages, and then host pages back to pages (see `pie.forward.Device`).

        Raises:
            RequestError: `bad-batch` if a page or host page does not exist; nothing is copied then.
        """
        info = self.info
        leaving, kept = check_pages([page for page, _ in outward], info), [slot for _, slot in outward]
        coming, wanted = check_pages([page for page, _ in homeward], info), [slot for _, slot in homeward]
        check_host_pages(kept + wanted, info)
        if outward:
            self._host_pages.put(kept, self._backend.read_pages(leaving))
        if homeward:
            self._backend.write_pages(coming, self._host_pages.get(wanted))

    def _run(self, batch: Batch, checked: CheckedBatch, progress: Progress | None) -> StepResult:
        if checked.run is not None:
            run = replace(checked.run, progress=progress)
            return _result(self._backend.decode(checked.rows, checked.draws, run), ())
        outputs = self._backend.forward(checked.rows)
        drawn = self._backend.sample(outputs, checked.draws)
        result = _result(drawn, read_probes(outputs, batch.probes))
        return result if batch.logprobs is None else replace(result, logprobs=read_logprobs(outputs, batch, drawn))

    def read_pages(self, pages: Sequence[PageId]) -> torch.Tensor:
        """A copy of keys and values, [layers, 2, tokens, kv_heads, head_dim]; raises RequestError(`bad-batch`)."""
        return self._backend.read_pages(check_pages(pages, self.info)).flatten(2, 3)

    def write_pages(self, pages: Sequence[PageId], content: torch.Tensor) -> None:
        """Put what `read_pages` gave into pages; raises RequestError(`bad-batch`)."""
        targets = check_pages(pages, self.info)
        self._backend.write_pages(targets, content.unflatten(2, (len(targets), self.info.page_size)))

    def save_pages(self, path: Path, pages: Sequence[PageId], *, metadata: Mapping[str, str]) -> None:
        """Write pages to a file (see `pie.forward.Device`).

        Raises:
            ContextError: `snapshot-not-saved`.
        """
        self.write_file(path, self.read_pages(pages), metadata=metadata)

    def load_pages(self, path: Path, pages: Sequence[PageId]) -> None:
        """Read a file of `save_pages` into the given pages.

        Raises:
            ContextError: `snapshot-unusable`; the pages are untouched then.
        """
        targets = check_pages(pages, self.info)
        self.write_pages(targets, self.read_file(path, num_pages=len(targets)))

    def write_file(self, path: Path, content: torch.Tensor, *, metadata: Mapping[str, str]) -> None:
        """Write what `read_pages` gave; any thread may call this. Raises ContextError(`snapshot-not-saved`)."""
        write_page_file(path, content, fingerprint=self.info.fingerprint, metadata=metadata)

    def read_file(self, path: Path, *, num_pages: int) -> torch.Tensor:
        """The content of a file of that many pages; any thread may call this.

        Raises:
            ContextError: `snapshot-unusable`.
        """
        config = self.facts
        shape = (config.num_layers, 2, num_pages * self.info.page_size, config.num_kv_heads, config.head_dim)
        like = torch.empty(shape, dtype=self._dtype, device="meta")
        return read_page_file(path, fingerprint=self.info.fingerprint, like=like)


def _result(drawn: Drawn, values: Sequence[ProbeValue | ProbeFailure]) -> StepResult:
    failures = {int(sampler): _CAUSES[DrawStatus(drawn.status[sampler])] for sampler in np.flatnonzero(drawn.status)}
    num_samplers = len(drawn.status)
    failures |= {num_samplers + i: str(value) for i, value in enumerate(values) if isinstance(value, ProbeFailure)}
    probes = tuple(None if isinstance(value, ProbeFailure) else value for value in values)
    return StepResult(drawn.tokens, drawn.num_tokens, probes, failures=failures)


def _page_bytes(config: ModelFacts, page_size: int, dtype: torch.dtype) -> int:
    values = config.num_layers * 2 * page_size * config.num_kv_heads * config.head_dim
    return values * int(dtype.itemsize)


def _num_pages(memory_bytes: int | None, page_bytes: int, place: Placement) -> int:
    if memory_bytes is None:
        memory_bytes = place.free_bytes()
        if place.gpu is None:
            memory_bytes = min(_MOST_PAGES * page_bytes, memory_bytes)
    if memory_bytes < page_bytes:
        raise ModelError(
            "not-enough-memory",
            f"a KV page takes {page_bytes} bytes where {memory_bytes} are to be had",
            remedy="Free memory, or choose a smaller model.",
        )
    return memory_bytes // page_bytes
