"""The clock that ends time slices: raises the engine's epoch at a fixed pace while guests run, and sleeps otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Ticker"]

_IDLE_TICKS = 200


class Ticker:
    """A daemon thread that calls `tick` every `tick_s` seconds as long as somebody calls `wake` now and then."""

    def __init__(self, tick: Callable[[], None], tick_s: float) -> None:
        """Start the thread; `tick` must stay callable until `close` has returned."""
        self._tick = tick
        self._tick_s = tick_s
        self._stop = threading.Event()
        self._awake = threading.Event()
        self.used = False
        self._thread = threading.Thread(target=self._run, name="wasm-epoch", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Tell that a guest is about to run. Callers may set `used` themselves and skip the call if it was True."""
        self.used = True
        self._awake.set()

    def close(self) -> None:
        """Stop the thread and wait for its end."""
        self._stop.set()
        self._awake.set()
        self._thread.join()

    def _run(self) -> None:
        idle = 0
        while not self._stop.wait(self._tick_s):
            self._tick()
            idle = 0 if self.used else idle + 1
            self.used = False
            if idle > _IDLE_TICKS:
                self._awake.clear()
                # Looked at after `clear`, which may have undone what `wake` or `close` did.
                if not self.used and not self._stop.is_set():
                    self._awake.wait()
                idle = 0
