"""The engine behind the async `Device` protocol: one thread that does one call after another.

Knows the event loop and the hand-over, nothing of batches. A caller that is cancelled no longer gets its answer, but
the call is still done: calls finish in the order in which they were made.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pie.engine.adapters.adapter_file import read_adapter, write_adapter
from pie.engine.adapters.search import begin_search, updated
from pie.engine.adapters.weights import AdapterWeights
from pie.engine.engine import Engine
from pie.forward import (
    AdapterFiles,
    AdapterInfo,
    AdapterNumber,
    Batch,
    DeviceInfo,
    HostPageId,
    PageId,
    Progress,
    SearchStart,
    StepResult,
)

__all__ = ["DeviceThread"]

T = TypeVar("T")
_Job = Callable[[], None]


class DeviceThread:
    """A `pie.forward.Device` and `AdapterDevice` made of an `Engine` and a thread of its own."""

    def __init__(self, engine: Engine, *, takes_memory: bool = False) -> None:
        """Start the thread; from now on `engine` is used by it alone.

        Args:
            engine: what computes.
            takes_memory: whether the memory of all KV pages is taken while there is nothing else to do.
        """
        self._engine = engine
        self._takes_memory = takes_memory
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="pie-device", daemon=True)
        self._thread.start()

    @property
    def info(self) -> DeviceInfo:
        """The engine's fixed facts."""
        return self._engine.info

    async def step(self, batch: Batch, progress: Progress | None = None) -> StepResult:
        """Run one batch; raises RequestError(`bad-batch`) if a number in it is out of range."""
        return await self._submit(lambda: self._engine.step(batch, progress))

    async def move_pages(
        self, outward: Sequence[tuple[PageId, HostPageId]], homeward: Sequence[tuple[PageId, HostPageId]]
    ) -> None:
        """Copy pages to host pages, and then host pages back to pages; raises RequestError(`bad-batch`)."""
        await self._submit(lambda: self._engine.move_pages(outward, homeward))

    async def save_pages(self, path: Path, pages: Sequence[PageId], *, metadata: Mapping[str, str]) -> None:
        """Write pages to a file: complete and durable, or not there (`snapshot-not-saved`).

        The pages are copied between two steps; steps go on while the disk is written.
        """
        content = await self._submit(lambda: self._engine.read_pages(pages))
        await asyncio.to_thread(self._engine.write_file, path, content, metadata=metadata)

    async def load_pages(self, path: Path, pages: Sequence[PageId]) -> None:
        """Read a file of `save_pages`; raises ContextError(`snapshot-unusable`) if it does not fit."""
        content = await asyncio.to_thread(self._engine.read_file, path, num_pages=len(pages))
        await self._submit(lambda: self._engine.write_pages(pages, content))

    async def begin_adapter(self, start: SearchStart) -> AdapterInfo:
        """Make fresh weights for evolution strategies; raises AdapterError(`adapter-unusable`)."""
        return await self._make_adapter(lambda: begin_search(start, self._engine.config))

    async def load_adapter(self, files: AdapterFiles) -> AdapterInfo:
        """Make weights of saved files; raises AdapterError(`adapter-unusable`) if they do not fit the model."""
        return await self._make_adapter(lambda: read_adapter(files, self._engine.config))

    async def dump_adapter(self, number: AdapterNumber) -> bytes:
        """The file of ours that holds these weights; raises AdapterError(`adapter-not-found`)."""
        weights = await self._submit(lambda: self._engine.adapters.get(number))
        return await asyncio.to_thread(write_adapter, weights)

    async def update_adapter(
        self, number: AdapterNumber, *, scores: Sequence[float], seeds: Sequence[int], max_sigma: float
    ) -> AdapterInfo:
        """Make the next generation's weights; raises AdapterError(`adapter-not-found`, `adapter-unusable`)."""
        weights = await self._submit(lambda: self._engine.adapters.get(number))
        return await self._make_adapter(lambda: updated(weights, scores=scores, seeds=seeds, max_sigma=max_sigma))

    def free_adapter(self, number: AdapterNumber) -> None:
        """Let weights go once the steps that were handed over are done."""
        if not self._closed:
            self._jobs.put(lambda: self._engine.adapters.free(number))

    async def _make_adapter(self, make: Callable[[], AdapterWeights]) -> AdapterInfo:
        """Weights never change, so they are made in a thread of their own while steps go on; their digest as well."""

        def make_whole() -> AdapterWeights:
            weights = make()
            _ = weights.version
            return weights

        weights = await asyncio.to_thread(make_whole)
        return await self._submit(lambda: self._engine.adapters.put(weights))

    def close(self) -> None:
        """Do what was asked for so far, then end the thread and wait for it; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            self._thread.join()

    def _submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        if self._closed:
            raise RuntimeError("the device thread is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - handed to the caller, who decides
                _answer(loop, _set_unless_cancelled, future, future.set_exception, error)
            else:
                _answer(loop, _set_unless_cancelled, future, future.set_result, result)

        self._jobs.put(job)
        return future

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job()

    def _next(self) -> _Job | None:
        while self._takes_memory:
            try:
                return self._jobs.get_nowait()
            except queue.Empty:
                self._takes_memory = self._engine.take_memory()
        return self._jobs.get()


def _set_unless_cancelled(future: asyncio.Future[T], setter: Callable[[Any], None], value: object) -> None:
    if not future.done():
        setter(value)


def _answer(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *args: object) -> None:
    """Call back on the loop; a loop that was closed meanwhile has nobody left to answer."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback, *args)
