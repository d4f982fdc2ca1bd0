"""Adapters that clients wait for who would rather ask again: loaded beside their requests, and kept for the next one.

An adapter is in memory while somebody holds it, which is a program that uses it. A client that is told to ask again
must find it then, so it is held for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from pie.errors import AdapterError
from pie.host.adapter_registry import AdapterRegistry, NamedAdapter
from pie.host.served_model import ServedModel

__all__ = ["AdapterLoads"]

MAX_LOADS = 64
"""Adapters that are loaded or kept at a time; whoever wants one more waits for it."""

_Key = tuple[str, str, str]


class AdapterLoads:
    """Those of one server, by model, user and name."""

    def __init__(self, *, patience_s: float = 1.0, kept_s: float = 10.0) -> None:
        """Let clients wait for `patience_s`, and keep what was loaded for `kept_s`."""
        self._patience_s = patience_s
        self._kept_s = kept_s
        self._loads: dict[_Key, asyncio.Task[NamedAdapter | None]] = {}
        self._kept: dict[_Key, tuple[asyncio.TimerHandle, Callable[[], None]]] = {}

    @property
    def num_loads(self) -> int:
        """Adapters that are loaded or kept now."""
        return len(self._loads)

    async def wait(self, model: ServedModel, user: str, name: str) -> None:
        """Return when an adapter is in memory, or cannot be: whoever uses it then is told why.

        Raises:
            AdapterError: `adapter-loading` if that takes long.
        """
        key = (model.name, user, name)
        if key not in self._loads:
            if len(self._loads) >= MAX_LOADS:
                return
            loading = asyncio.get_running_loop().create_task(model.adapters.open(user, name))
            self._loads[key] = loading
            loading.add_done_callback(partial(self._loaded, key, model.adapters))
        done, _ = await asyncio.wait([self._loads[key]], timeout=self._patience_s)
        if not done:
            raise AdapterError("adapter-loading", f"adapter {name!r} is being loaded", remedy="Try again in a second.")

    def close(self) -> None:
        """Let all of them go."""
        for loading in tuple(self._loads.values()):
            loading.cancel()  # nothing happens to one that is done
        for timer, let_go in tuple(self._kept.values()):
            timer.cancel()
            let_go()

    def _loaded(self, key: _Key, registry: AdapterRegistry, loading: asyncio.Task[NamedAdapter | None]) -> None:
        found = None if loading.cancelled() or loading.exception() is not None else loading.result()
        if found is None:
            del self._loads[key]
        else:
            let_go = partial(self._let_go, key, registry, found)
            self._kept[key] = asyncio.get_running_loop().call_later(self._kept_s, let_go), let_go

    def _let_go(self, key: _Key, registry: AdapterRegistry, adapter: NamedAdapter) -> None:
        del self._loads[key], self._kept[key]
        registry.close(adapter)
