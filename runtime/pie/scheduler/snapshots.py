"""Saved contexts by user and name: in memory, sharing pages with what they were saved from, and as one file each.

The copy in memory makes opening free of work; it is dropped when pages run short and the file holds the content.
Without a directory there are only the copies in memory.
"""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from pie.durable import make_folder
from pie.errors import ContextError
from pie.forward import Device
from pie.scheduler import faults
from pie.scheduler.context import Context
from pie.scheduler.contexts import ContextTable
from pie.scheduler.snapshot_file import (
    decode_metadata,
    encode_metadata,
    model_of_other,
    read_metadata,
    remove_leftovers,
    snapshot_path,
)
from pie.scheduler.snapshot_index import SnapshotIndex

__all__ = ["SnapshotStore"]

_Key = tuple[str, str]
BEGUN = ".begun-"
"""How the names of files begin that are written before they take their place."""


class SnapshotStore:
    """The saved contexts of one device."""

    def __init__(
        self,
        device: Device,
        contexts: ContextTable,
        directory: Path | None,
        reserve: Callable[[Context, int], Awaitable[None]],
    ) -> None:
        """Use what lies in `directory` already.

        Args:
            device: writes and reads pages.
            contexts: where saved contexts live while in memory.
            directory: where the files lie; None keeps saved contexts in memory only.
            reserve: gives a context pages, waiting for them if need be.
        """
        self._device = device
        self._contexts = contexts
        self._reserve = reserve
        self._kept: dict[_Key, Context] = {}
        self._index = SnapshotIndex(directory) if directory is not None else None
        if self._index is not None:
            remove_leftovers(self._index.folder)
            with suppress(OSError):  # who uses a folder that cannot be read is told so
                self._index.mend()
        self._locks: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()

    async def names(self, user: str) -> list[str]:
        """What the user has saved of this model, in alphabetical order."""
        names = {name for owner, name in self._kept if owner == user}
        if self._index is not None:
            names.update(await asyncio.to_thread(self._index.names, user, self._device.info.fingerprint))
        return sorted(names)

    async def save(self, frozen: Context, *, user: str, name: str, overwrite: bool) -> None:
        """Keep a context, which becomes this store's, under a name; returns when its file is durable.

        Raises:
            ContextError: `snapshot-exists` if the name is taken and must not be overwritten; `snapshot-not-saved`.
        """
        key = (user, name)
        try:
            async with self._lock(key):
                if not overwrite and await self._exists(key):
                    raise faults.snapshot_exists(user, name)
                await _to_its_end(self._keep(frozen, key))
        except BaseException:
            if self._kept.get(key) is not frozen and self._contexts.find(frozen.id) is not None:
                self._contexts.destroy(frozen)
            raise

    async def open(self, *, user: str, name: str, owner: str, salt: str) -> Context:
        """Make a context of a saved one, which stays as it is.

        Raises:
            ContextError: `snapshot-not-found`, `snapshot-unusable`, `out-of-pages`.
        """
        key = (user, name)
        async with self._lock(key):
            if key not in self._kept:
                await self._load(key, owner=owner, salt=salt)
            context = self._contexts.fork(self._kept[key], owner=owner)
            self._contexts.rebase(context, salt=salt)
            return context

    async def delete(self, *, user: str, name: str) -> None:
        """Forget a saved context, in memory and on disk.

        Raises:
            ContextError: `snapshot-not-found`.
        """
        key = (user, name)
        async with self._lock(key):
            if not await self._exists(key):
                raise faults.snapshot_not_found(user, name)
            self._forget(key)
            if self._index is not None:
                await _to_its_end(asyncio.to_thread(self._index.remove, self._path(self._index, key)))

    def shed(self) -> bool:
        """Give back the pages of every saved context that a file holds as well; whether any page came free by it."""
        if self._index is None:
            return False
        before = self._contexts.pool.num_available
        for context in self._kept.values():
            self._contexts.destroy(context)
        self._kept.clear()
        return self._contexts.pool.num_available > before

    async def _exists(self, key: _Key) -> bool:
        if key in self._kept:
            return True
        return self._index is not None and await asyncio.to_thread(self._path(self._index, key).exists)

    async def _keep(self, frozen: Context, key: _Key) -> None:
        if self._index is not None:
            await self._write(frozen, key, self._index)
        self._forget(key)
        self._kept[key] = frozen

    async def _write(self, frozen: Context, key: _Key, index: SnapshotIndex) -> None:
        """Write a context beside its place, then its row, then give the file its place."""
        (user, name), path = key, self._path(index, key)
        metadata = encode_metadata(frozen, self._device.info, user=user, name=name)
        temporary = path.with_name(f"{BEGUN}{uuid.uuid4().hex}")
        try:
            await asyncio.to_thread(make_folder, path.parent)
            await self._device.save_pages(temporary, frozen.pages, metadata=metadata)
            await asyncio.to_thread(index.put, temporary, path)
        except (OSError, sqlite3.Error) as error:
            raise faults.snapshot_not_saved(name, error) from error
        finally:
            with suppress(OSError):  # the folder could not be made, or the next start removes it
                await asyncio.to_thread(temporary.unlink, missing_ok=True)

    async def _load(self, key: _Key, *, owner: str, salt: str) -> None:
        """Read a file into fresh pages and keep them."""
        user, name = key
        path = self._path(self._index, key) if self._index is not None else None
        metadata = await asyncio.to_thread(read_metadata, path) if path is not None else None
        if path is None or metadata is None:
            await self._refuse_of_other(key)
            raise faults.snapshot_not_found(user, name)
        context = self._contexts.create(owner, salt=salt)
        context.held = True  # its pages are filled outside of steps, so they must stay
        try:
            lineage = decode_metadata(metadata, self._device.info, name=name, root=context.root)
            await self._reserve(context, -(-lineage.num_tokens // context.page_size))
            # The file is read into the pages at once; what they held may not be copied by then.
            self._contexts.host_prefixes.give_up(context.pages)
            await self._fill(context, path, name)
            if self._contexts.find(context.id) is None:
                raise faults.context_gone(context.id)
            context.copy_lineage_from(lineage)
            for number in lineage.discarded:
                self._contexts.discard(context, number, 1)
            self._contexts.publish(context)
            self._kept[key] = self._contexts.fork(context, owner=None)
        finally:
            if self._contexts.find(context.id) is not None:
                self._contexts.destroy(context)

    async def _fill(self, context: Context, path: Path, name: str) -> None:
        """Read a file into a context's pages; what does not fit is told by the names that its user knows."""
        try:
            await self._device.load_pages(path, context.pages)
        except ContextError as error:
            if error.code != "snapshot-unusable":
                raise
            raise faults.snapshot_unusable(name, self._device.info.model, error.cause) from error

    async def _refuse_of_other(self, key: _Key) -> None:
        """Raise ContextError(`snapshot-unusable`) if the name is that of another model's context."""
        if self._index is None:
            return
        info, (user, name) = self._device.info, key
        other = await asyncio.to_thread(model_of_other, self._index.folder, user, name, fingerprint=info.fingerprint)
        if other is not None:
            raise faults.snapshot_unusable(name, info.model, f"it was made by model {other!r}")

    def _path(self, index: SnapshotIndex, key: _Key) -> Path:
        return snapshot_path(index.folder, *key, fingerprint=self._device.info.fingerprint)

    def _forget(self, key: _Key) -> None:
        context = self._kept.pop(key, None)
        if context is not None:
            self._contexts.destroy(context)

    def _lock(self, key: _Key) -> asyncio.Lock:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock


async def _to_its_end(write: Coroutine[Any, Any, None]) -> None:
    """Wait for a file also if the caller is cancelled: until it is written, nobody else may write or delete it."""
    task = asyncio.ensure_future(write)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # nobody waits for it any more
        raise
