"""Who goes on when guests compute: newcomers soon, and everybody in the end, however many newcomers there are."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pie.wasm.turns import AHEAD, Turns
from pie.wasm.workers import Workers


async def test_a_newcomer_goes_before_a_guest_that_had_slices() -> None:
    turns, order = Turns(), list[str]()
    loop = asyncio.get_running_loop()
    turns.add(loop, 3, lambda: order.append("busy"))
    turns.add(loop, 0, lambda: order.append("new"))
    while len(order) < 2:
        await asyncio.sleep(0)
    assert order == ["new", "busy"]


@pytest.mark.parametrize("slices", [1, 9, 100])
async def test_newcomers_that_never_stop_do_not_keep_a_guest_from_going_on(slices: int) -> None:
    turns, went = Turns(), asyncio.Event()
    loop, newcomers = asyncio.get_running_loop(), 0

    def another() -> None:
        nonlocal newcomers
        newcomers += 1
        if not went.is_set():
            turns.add(loop, 1, another)

    turns.add(loop, 1, another)
    turns.add(loop, slices, went.set)
    while not went.is_set():
        await asyncio.sleep(0)
        assert newcomers <= slices * AHEAD + 1


def test_newcomers_that_never_stop_do_not_keep_work_from_a_worker() -> None:
    workers, went = Workers(1), threading.Event()
    newcomers = 0

    def another() -> None:
        nonlocal newcomers
        newcomers += 1
        if newcomers > 1000:
            went.set()
        if not went.is_set():
            workers.submit(10, another)

    def go() -> None:
        order.append(newcomers)
        went.set()

    order: list[int] = []
    workers.submit(10, another)
    workers.submit(500, go)
    assert went.wait(60)
    workers.close()
    assert order
    assert 1 < order[0] <= 500
