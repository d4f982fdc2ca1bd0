"""The clock of time slices ticks while guests run, sleeps when none does, and ends whenever it is told to."""

from __future__ import annotations

import threading
import time

import pytest

from pie.wasm.ticker import Ticker


class LateEvent(threading.Event):
    """One whose `clear` takes effect after somebody else had his turn."""

    def __init__(self, turn: threading.Event, done: threading.Event) -> None:
        super().__init__()
        self._turn, self._done = turn, done

    def clear(self) -> None:
        self._turn.set()
        self._done.wait(10)
        super().clear()


def test_it_ends_also_when_it_is_told_to_while_it_falls_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pie.wasm.ticker._IDLE_TICKS", 0)
    turn, done = threading.Event(), threading.Event()
    ticker = Ticker(lambda: None, 10.0)
    ticker._awake = LateEvent(turn, done)
    ticker._tick_s = 1e-4
    falls_asleep = threading.Thread(target=ticker._run, daemon=True)
    falls_asleep.start()
    assert turn.wait(10)
    ticker._stop.set()
    ticker._awake.set()
    done.set()
    falls_asleep.join(10)
    assert not falls_asleep.is_alive()
    ticker.close()


def test_it_sleeps_without_guests_and_wakes_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pie.wasm.ticker._IDLE_TICKS", 3)
    ticks: list[float] = []
    ticker = Ticker(lambda: ticks.append(time.monotonic()), 1e-3)
    ticker.wake()
    while ticker._awake.is_set():
        time.sleep(0.001)
    asleep = len(ticks)
    time.sleep(0.05)
    assert len(ticks) <= asleep + 1
    ticker.wake()
    while len(ticks) < asleep + 3:
        time.sleep(0.001)
    ticker.close()
    assert not ticker._thread.is_alive()
