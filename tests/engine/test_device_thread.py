"""The device thread answers in order, hands errors to who asked, and ends when closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.engine.batches import Draw, Feed, Held, greedy, make_batch

from pie.engine.device_thread import DeviceThread
from pie.engine.engine import Engine
from pie.errors import ContextError, RequestError
from pie.forward import Batch, Device


@pytest.fixture
def device(engine: Engine) -> Iterator[DeviceThread]:
    device = DeviceThread(engine)
    yield device
    device.close()


def batch_of(held: Held, *tokens: int) -> Batch:
    return make_batch([Feed(held, tokens, [Draw()])], vocab_size=320)


async def test_steps_in_flight_run_in_the_order_of_their_calls(engine: Engine, device: Device) -> None:
    held = Held([0, 1])
    batches = [batch_of(held, token) for token in range(10, 30)]
    finished: list[int] = []

    async def run(index: int) -> int:
        result = await device.step(batches[index])
        finished.append(index)
        return int(result.tokens[0, 0])

    tokens = await asyncio.gather(*(run(index) for index in range(20)))
    assert finished == list(range(20))
    assert tokens[-1] == greedy(engine, Held([5, 6]), list(range(10, 30)), 1)[0]


async def test_an_error_reaches_its_caller_and_nobody_else(device: DeviceThread) -> None:
    bad = batch_of(Held([10_000]), 1)
    good = batch_of(Held([0]), 1)
    first, second, third = await asyncio.gather(
        device.step(good), device.step(bad), device.step(good), return_exceptions=True
    )
    assert isinstance(second, RequestError)
    assert not isinstance(first, BaseException)
    assert not isinstance(third, BaseException)
    np.testing.assert_array_equal(first.tokens, third.tokens)


async def test_a_cancelled_caller_leaves_the_device_working(device: DeviceThread) -> None:
    task = asyncio.ensure_future(device.step(batch_of(Held([0]), 1)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await device.step(batch_of(Held([0]), 1))).num_tokens.tolist() == [1]


async def test_pages_are_saved_and_loaded_on_the_thread(device: DeviceThread, tmp_path: Path) -> None:
    await device.step(batch_of(Held([0]), 1, 2, 3))
    await device.save_pages(tmp_path / "pages", [0], metadata={})
    await device.load_pages(tmp_path / "pages", [7])
    with pytest.raises(ContextError):
        await device.load_pages(tmp_path / "missing", [7])


async def test_closing_finishes_what_was_asked_for_and_ends_the_thread(engine: Engine) -> None:
    others = set(threading.enumerate())
    device = DeviceThread(engine)
    waiting = [asyncio.ensure_future(device.step(batch_of(Held([0]), 1))) for _ in range(5)]
    await asyncio.sleep(0)
    device.close()
    device.close()
    assert [step.num_tokens.tolist() for step in await asyncio.gather(*waiting)] == [[1]] * 5
    assert not set(threading.enumerate()) - others
    with pytest.raises(RuntimeError, match="closed"):
        await device.step(batch_of(Held([0]), 1))


async def test_a_thread_that_takes_memory_ahead_answers_meanwhile_and_leaves_pages_as_they_are(engine: Engine) -> None:
    expected = greedy(engine, Held([5, 6]), list(range(10, 30)), 1)[0]
    device = DeviceThread(engine, takes_memory=True)
    held = Held([0, 1])
    results = [await device.step(batch_of(held, token)) for token in range(10, 29)]
    device.close()
    while engine.take_memory():  # what the thread has left
        pass
    device = DeviceThread(engine, takes_memory=True)
    results.append(await device.step(batch_of(held, 29)))
    device.close()
    assert int(results[-1].tokens[0, 0]) == expected


async def test_the_device_tells_the_facts_of_its_engine(engine: Engine, device: DeviceThread) -> None:
    assert device.info is engine.info
