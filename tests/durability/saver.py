"""Saves contexts and adapters without end, and tells each one when it is told as done; run as a process to be killed.

Usage: python -m tests.durability.saver HOME MODEL
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

import numpy as np
import torch

from pie.engine.device_thread import DeviceThread
from pie.engine.engine import Engine
from pie.forward import ForwardRequest, SearchStart
from pie.host.adapter_registry import AdapterRegistry
from pie.host.adapter_store import AdapterStore
from pie.scheduler.scheduler import Scheduler

__all__ = ["NAMES", "tokens_of"]

NAMES = 4
PAGES = 3


def tokens_of(number: int) -> tuple[int, ...]:
    """The tokens of the n-th save."""
    return tuple(int(token) for token in np.random.default_rng(number).integers(0, 90, 40))


async def main(home: Path, model: Path) -> None:
    """Save until killed."""
    device = DeviceThread(Engine(model, num_pages=64, backend="torch", threads=1))
    scheduler = Scheduler(device, snapshot_dir=home / "snapshots")
    adapters = AdapterRegistry(device, AdapterStore(home / "named-adapters" / "m", model="m"), scheduler.weights)
    stepping = asyncio.get_running_loop().create_task(scheduler.run())
    print("ready", flush=True)
    await asyncio.gather(stepping, save_contexts(scheduler), save_adapters(adapters))


async def save_contexts(scheduler: Scheduler) -> None:
    """Save the n-th tokens under one of a few names, again and again."""
    for number in itertools.count():
        context = scheduler.create("owner")
        await scheduler.reserve(context, PAGES)
        tokens = tokens_of(number)
        await scheduler.forward(ForwardRequest(context, tokens, tuple(range(len(tokens)))))
        await scheduler.save(context, user="u", name=f"n{number % NAMES}")
        print(f"context {number}", flush=True)
        scheduler.destroy(context)


async def save_adapters(adapters: AdapterRegistry) -> None:
    """Make adapters, each under its own name of a few that are used again."""
    for number in itertools.count():
        name = f"a{number % NAMES}"
        old = await adapters.open("u", name)
        if old is not None:
            adapters.destroy(old)
            print(f"destroyed {name}", flush=True)
        adapter = await adapters.create("u", name)
        await adapters.begin(adapter, SearchStart(2, 4.0, 2, 0.5, 0.1, number))
        print(f"adapter {number}", flush=True)
        adapters.close(adapter)


if __name__ == "__main__":
    torch.set_num_threads(1)
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
