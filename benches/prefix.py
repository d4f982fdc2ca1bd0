"""What do requests cost that share a long beginning?

One engine and one scheduler: 64 requests arrive at once, each of a program of its own, with a beginning of 2,000
tokens that all share and an ending of 32 tokens of its own, after which one token is drawn. `overhead` is their time
over that of what must be computed at least: the beginning once, and then 64 endings at once, in forks of the context
that holds it. The target is 1.15. `computed_per_needed` says the same in tokens. Each round has texts that nobody has
seen; the two are interleaved; medians. The model has the shape of Qwen3-0.6B with random weights, then it is the
embedded one (`embedded_overhead`), where a step takes less time than the host needs to begin 64 requests.

    python -m benches.prefix --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from benches.decode import random_model
from benches.peers.ours import PAGES
from pie.config import Settings, embedded_model
from pie.engine.device_thread import DeviceThread
from pie.engine.engine import Engine
from pie.forward import ContextId, DecodeRequest, FinishReason, Sampler
from pie.scheduler.scheduler import Scheduler

REQUESTS = 64
BEGINNING = 2000
ENDING = 32
TARGET = 1.15


class End:
    """A sink that waits for the end."""

    def __init__(self) -> None:
        """Begin to wait."""
        self._over: asyncio.Future[FinishReason] = asyncio.get_running_loop().create_future()

    def tokens(self, token_ids: Sequence[int]) -> None:
        """Nothing is done with them."""

    def finished(self, reason: FinishReason) -> None:
        """It has ended."""
        self._over.set_result(reason)

    def failed(self, error: BaseException) -> None:
        """It has failed."""
        self._over.set_exception(error)

    async def wait(self) -> None:
        """Return when it has ended."""
        await self._over


async def draw_one(scheduler: Scheduler, context: ContextId, tokens: Sequence[int]) -> None:
    """Read a text and draw one token."""
    end = End()
    scheduler.decode(DecodeRequest(context, tuple(tokens), Sampler(temperature=0), 1, frozenset(), 0), end)
    await end.wait()


async def together(scheduler: Scheduler, beginning: list[int], endings: Sequence[list[int]]) -> float:
    """Seconds until all requests are answered, each of which has the whole text."""
    start = time.perf_counter()
    await asyncio.gather(
        *(
            draw_one(scheduler, scheduler.create(f"program {number}"), beginning + ending)
            for number, ending in enumerate(endings)
        )
    )
    return _over(scheduler, start, len(endings))


async def at_least(scheduler: Scheduler, beginning: list[int], endings: Sequence[list[int]]) -> float:
    """Seconds for the beginning once, and then the endings in forks."""
    start = time.perf_counter()
    first = scheduler.create("program 0")
    await draw_one(scheduler, first, beginning)
    forks = [await scheduler.fork(first, owner=f"program {number}") for number in range(len(endings))]
    await asyncio.gather(*(draw_one(scheduler, fork, ending) for fork, ending in zip(forks, endings, strict=True)))
    return _over(scheduler, start, len(endings))


def _over(scheduler: Scheduler, start: float, count: int) -> float:
    seconds = time.perf_counter() - start
    for number in range(count):
        scheduler.release_owner(f"program {number}")
    return seconds


async def measure(model: Path, rounds: int) -> dict[str, float]:
    """All figures of one model, after a round that warms up."""
    settings, chance = Settings.from_environment(os.environ), random.Random(1)
    device = DeviceThread(Engine(model, num_pages=PAGES, num_host_pages=0, cache_dir=settings.cache / "kernels"))
    scheduler = Scheduler(device, snapshot_dir=None)
    seconds: dict[str, list[float]] = {"together": [], "at_least": []}
    computed = 0

    def text(count: int) -> list[int]:
        return [chance.randrange(300, device.info.vocab_size) for _ in range(count)]

    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(scheduler.run())
        for number in range(rounds + 1):
            for name, way in (("together", together), ("at_least", at_least)):
                before = scheduler.stats().computed_tokens
                took_s = await way(scheduler, text(BEGINNING), [text(ENDING) for _ in range(REQUESTS)])
                if number:
                    seconds[name].append(took_s)
                    computed += (name == "together") * (scheduler.stats().computed_tokens - before)
        loop.cancel()
    device.close()
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "overhead": round(medians["together"] / medians["at_least"], 3),
        "computed_per_needed": round(computed / rounds / (BEGINNING + REQUESTS * ENDING), 3),
        "together_ms": round(medians["together"] * 1000, 1),
        "at_least_ms": round(medians["at_least"] * 1000, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    result = {"target": TARGET, "rounds": arguments.rounds} | asyncio.run(measure(random_model(), arguments.rounds))
    embedded = asyncio.run(measure(embedded_model(), arguments.rounds))
    result |= {f"embedded_{name}": value for name, value in embedded.items()}
    if not arguments.json:
        for name, value in result.items():
            print(f"{name:32} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
