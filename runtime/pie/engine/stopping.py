"""Whether loading goes on: another thread may have asked to have it given up."""

from __future__ import annotations

import threading

from pie.errors import ModelError

__all__ = ["check_stop"]


def check_stop(stop: threading.Event | None) -> None:
    """Raise if another thread wants that.

    Raises:
        ModelError: `stopped`.
    """
    if stop is not None and stop.is_set():
        raise ModelError("stopped", "loading was stopped before it was done", remedy="Start it again.")
