"""An event loop on which no time passes but by chance, drawn from a seed: the same seed gives the same interleaving.

Whoever sleeps is woken as soon as nobody else can run, and what runs in a thread elsewhere runs on the loop, somewhat
later. The scheduler decides by how long steps take and how long contexts rest, so that its turns differ with the seed.
"""

from __future__ import annotations

import asyncio
import random
import selectors
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

__all__ = ["run_in_virtual_time"]

_TICKS_S = (1e-5, 1e-4, 1e-3)
_THREAD_S = 0.01


class _Clock:
    """Goes on by a random part of a tick whenever somebody looks."""

    def __init__(self, seed: int) -> None:
        self.now_s = 1000.0
        self.random = random.Random(seed)
        self._tick_s = _TICKS_S[seed % len(_TICKS_S)]

    def __call__(self) -> float:
        self.now_s += self.random.random() * self._tick_s
        return self.now_s


class _Selector(selectors.SelectSelector):
    """Does not wait; the clock jumps to the end of what would have been waited for."""

    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("everybody waits, and nobody will ever come")
        self._clock.now_s += 0.0 if ready else max(0.0, timeout or 0.0)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: _Clock) -> None:
        super().__init__(_Selector(clock))
        self._clock = clock

    def time(self) -> float:
        return self._clock.now_s


def run_in_virtual_time(main: Callable[[], Awaitable[None]], *, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run something to its end, in the interleaving that the seed stands for."""
    clock = _Clock(seed)

    async def to_thread(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        await asyncio.sleep(clock.random.random() * _THREAD_S)
        return function(*args, **options)

    async def run() -> None:
        await main()

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "to_thread", to_thread)
        patch.setattr(time, "monotonic", clock)
        patch.setattr(time, "perf_counter", clock)
        with asyncio.Runner(loop_factory=lambda: _Loop(clock)) as runner:
            runner.run(run())
