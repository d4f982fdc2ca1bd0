"""The named adapters of one model: who calls which weights by which name, and which weights somebody still needs.

Weights on the device never change; a change of an adapter is other weights under its name. Weights are let go once
neither a name that is open, nor a pass, nor a context made with them refers to them. A change is on disk before it
is told as done, and it is finished even if whoever asked for it ends meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from pie.errors import AdapterError
from pie.forward import AdapterDevice, AdapterFiles, AdapterInfo, AdapterUse, SearchStart
from pie.host.adapter_store import AdapterStore
from pie.scheduler.weights import AdapterWeights

__all__ = ["AdapterRegistry", "NamedAdapter"]

_MAX_NAME = 128
T = TypeVar("T")
_Key = tuple[str, str]


class NamedAdapter:
    """An adapter that somebody has open; made by `AdapterRegistry`, which alone changes it.

    Attributes:
        user, name: what it is called, by whom.
        weights: what it stands for now; None before it has any.
        holders: handles and changes under way; without any it is forgotten until it is opened again.
        is_open: whether the registry knows it; once destroyed or let go of by all, it is of no more use.
    """

    __slots__ = ("holders", "is_open", "name", "user", "weights")

    def __init__(self, user: str, name: str, weights: AdapterInfo | None) -> None:
        """Note its name and weights."""
        self.user = user
        self.name = name
        self.weights = weights
        self.holders = 0
        self.is_open = True


class AdapterRegistry:
    """The named adapters of one model, by user and name."""

    def __init__(self, device: AdapterDevice, store: AdapterStore, weights: AdapterWeights) -> None:
        """Use the adapters whose files are in `store`; `weights` knows which of the device's somebody needs."""
        self.weights = weights
        self._device = device
        self._store = store
        self._opened: dict[_Key, NamedAdapter] = {}
        self._locks: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()
        self._changes: set[asyncio.Task[Any]] = set()

    async def create(self, user: str, name: str) -> NamedAdapter:
        """Take a name for an adapter without weights; the caller holds it until `close`.

        Raises:
            AdapterError: `bad-adapter-name`, `adapter-exists`, `too-many-adapters`, `adapter-not-saved`.
        """
        _check_name(name)
        return await self._held(self._create((user, name), b"", None))

    async def open(self, user: str, name: str) -> NamedAdapter | None:
        """The adapter of a name, or None; the caller holds it until `close`.

        Raises:
            AdapterError: `adapter-unusable` if its file is damaged.
        """
        return await self._held(self._open((user, name)))

    async def fork(self, adapter: NamedAdapter, name: str) -> NamedAdapter:
        """Take another name for the same weights, whatever becomes of this one; the caller holds it until `close`.

        Raises:
            AdapterError: `adapter-not-found`, and as `create`.
        """
        _check_name(name)
        _check_open(adapter)
        return await self._held(self._fork(adapter, adapter.weights, name))

    async def begin(self, adapter: NamedAdapter, start: SearchStart) -> None:
        """Give an adapter without weights the first ones of a search.

        Raises:
            AdapterError: `adapter-not-found`; `adapter-unusable` if it has weights or a number is out of range.
        """

        async def make() -> AdapterInfo:
            if adapter.weights is not None:
                raise AdapterError(
                    "adapter-unusable", f"adapter {adapter.name!r} has weights already", remedy="Create another one."
                )
            return await self._device.begin_adapter(start)

        await self._change(adapter, make)

    async def load(self, adapter: NamedAdapter, files: AdapterFiles) -> None:
        """Give an adapter the weights of files.

        Raises:
            AdapterError: `adapter-not-found`; `adapter-unusable` if they do not fit; `adapter-not-saved`.
        """
        await self._change(adapter, lambda: self._device.load_adapter(files))

    async def update(
        self, adapter: NamedAdapter, *, scores: Sequence[float], seeds: Sequence[int], max_sigma: float
    ) -> None:
        """Give an adapter the weights of its search's next generation.

        Raises:
            AdapterError: `adapter-not-found`; `adapter-unusable` if it has no search or the lists do not fit it.
        """

        async def make() -> AdapterInfo:
            weights = _weights_of(adapter)
            return await self._device.update_adapter(weights.number, scores=scores, seeds=seeds, max_sigma=max_sigma)

        await self._change(adapter, make)

    async def dump(self, adapter: NamedAdapter) -> bytes:
        """The file of an adapter's weights.

        Raises:
            AdapterError: `adapter-not-found`; `adapter-unusable` if it has no weights.
        """
        _check_open(adapter)
        weights = _weights_of(adapter)
        self.weights.retain(weights.number)
        try:
            return await self._device.dump_adapter(weights.number)
        finally:
            self.weights.release(weights.number)

    def destroy(self, adapter: NamedAdapter) -> None:
        """Give a name back, with its file; passes under way keep the weights. Nothing happens if it is gone."""
        if adapter.is_open:
            self._store.delete(adapter.user, adapter.name)
            self._forget(adapter)

    def close(self, adapter: NamedAdapter) -> None:
        """One holder less."""
        adapter.holders -= 1
        if not adapter.holders and adapter.is_open:
            self._forget(adapter)

    def use(self, adapter: NamedAdapter, seed: int | None) -> AdapterUse | None:
        """What a pass with this adapter applies now; None if it has no weights yet.

        Raises:
            AdapterError: `adapter-not-found`; `adapter-unusable` for a seed without a search.
        """
        _check_open(adapter)
        if seed is not None and (adapter.weights is None or adapter.weights.population is None):
            raise AdapterError(
                "adapter-unusable",
                f"adapter {adapter.name!r} was not made for evolution strategies, yet a seed was given",
                remedy="Use zo.initialize on a new adapter, or leave the seed out.",
            )
        if adapter.weights is None:
            return None
        return AdapterUse(adapter.weights.number, adapter.weights.version, seed)

    async def finish(self) -> None:
        """Wait for the changes under way."""
        await asyncio.gather(*self._changes, return_exceptions=True)

    async def _create(self, key: _Key, content: bytes, weights: AdapterInfo | None) -> NamedAdapter:
        async with self._lock(key):
            if key in self._opened or await asyncio.to_thread(self._store.read, *key) is not None:
                raise AdapterError(
                    "adapter-exists", f"there is an adapter {key[1]!r} already", remedy="Open it, or take another name."
                )
            await asyncio.to_thread(self._store.write, *key, content)
            return self._enter(key, weights)

    async def _open(self, key: _Key) -> NamedAdapter | None:
        async with self._lock(key):
            if key in self._opened:
                found = self._opened[key]
                found.holders += 1
                return found
            content = await asyncio.to_thread(self._store.read, *key)
            if content is None:
                return None
            return self._enter(key, await self._device.load_adapter(AdapterFiles(content)) if content else None)

    async def _fork(self, adapter: NamedAdapter, weights: AdapterInfo | None, name: str) -> NamedAdapter:
        if weights is None:
            return await self._create((adapter.user, name), b"", None)
        self.weights.retain(weights.number)
        try:
            content = await self._device.dump_adapter(weights.number)
            return await self._create((adapter.user, name), content, weights)
        finally:
            self.weights.release(weights.number)

    async def _change(self, adapter: NamedAdapter, make: Callable[[], Awaitable[AdapterInfo]]) -> None:
        _check_open(adapter)
        adapter.holders += 1
        task = self._spawn(self._replace(adapter, make))
        task.add_done_callback(lambda _task: self.close(adapter))
        await asyncio.shield(task)

    async def _replace(self, adapter: NamedAdapter, make: Callable[[], Awaitable[AdapterInfo]]) -> None:
        """Write the new weights' file, then let the name stand for them."""
        async with self._lock((adapter.user, adapter.name)):
            _check_open(adapter)
            made = await make()
            self.weights.retain(made.number)
            try:
                content = await self._device.dump_adapter(made.number)
                _check_open(adapter)
                await asyncio.to_thread(self._store.write, adapter.user, adapter.name, content)
                if not adapter.is_open:  # destroyed meanwhile: what was written is nobody's
                    self._store.delete(adapter.user, adapter.name)
                _check_open(adapter)
                self._set(adapter, made)
            finally:
                self.weights.release(made.number)

    def _set(self, adapter: NamedAdapter, weights: AdapterInfo | None) -> None:
        before, adapter.weights = adapter.weights, weights
        if weights is not None:
            self.weights.retain(weights.number)
        if before is not None:
            self.weights.release(before.number)

    def _enter(self, key: _Key, weights: AdapterInfo | None) -> NamedAdapter:
        adapter = self._opened[key] = NamedAdapter(*key, None)
        adapter.holders = 1
        self._set(adapter, weights)
        return adapter

    def _forget(self, adapter: NamedAdapter) -> None:
        adapter.is_open = False
        del self._opened[adapter.user, adapter.name]
        self._set(adapter, None)

    async def _held(self, make: Coroutine[Any, Any, T]) -> T:
        """Do it to its end; if the caller is gone by then, nobody holds what was made."""
        task = self._spawn(make)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._close_unheld)
            raise

    def _close_unheld(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is None and task.result() is not None:
            self.close(task.result())

    def _spawn(self, change: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._changed)
        return task

    def _changed(self, task: asyncio.Task[Any]) -> None:
        self._changes.discard(task)
        if not task.cancelled():
            task.exception()  # it is told to whoever asked, if that one is still there

    def _lock(self, key: _Key) -> asyncio.Lock:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock


def _check_name(name: str) -> None:
    if not (0 < len(name) <= _MAX_NAME and name.isprintable()):
        raise AdapterError(
            "bad-adapter-name",
            f"{name[:_MAX_NAME]!r} is no name of an adapter",
            remedy=f"Give it 1 to {_MAX_NAME} printable characters.",
        )


def _check_open(adapter: NamedAdapter) -> None:
    if not adapter.is_open:
        raise AdapterError(
            "adapter-not-found",
            f"adapter {adapter.name!r} was destroyed, or its handle was dropped before a pass that uses it ran",
            remedy="Create it again, or open it again.",
        )


def _weights_of(adapter: NamedAdapter) -> AdapterInfo:
    if adapter.weights is None:
        raise AdapterError(
            "adapter-unusable",
            f"adapter {adapter.name!r} has no weights yet",
            remedy="Load some, or use zo.initialize.",
        )
    return adapter.weights
