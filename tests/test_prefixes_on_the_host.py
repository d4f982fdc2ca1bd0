"""Greedy tokens of the real engine are a prompt's own, whether its prefix is computed, known or back from host memory.

Ten prompts take three times the pages of the device. What must come out is computed step by step, with nobody else
there and nothing to reuse. Compared is bit for bit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.adapters import random_peft
from tests.scheduler.harness import GREEDY, Collector, decode, feed, running, stepwise

from pie.config import embedded_model
from pie.engine.adapters.adapter_file import read_adapter
from pie.engine.device_thread import DeviceThread
from pie.engine.engine import BackendName, Engine
from pie.forward import AdapterUse, DecodeRequest
from pie.scheduler.scheduler import Scheduler
from pie.scheduler.stats import Stats
from pie.testing import write_random_model

MADE = 6
NUM_PAGES, NUM_HOST_PAGES, PAGE_SIZE = 24, 96, 16
NUM_PROMPTS, LENGTH = 10, 7 * PAGE_SIZE + 1
COMMON = 3 * PAGE_SIZE
"""Tokens with which half of the prompts begin."""


def prompt(number: int) -> tuple[int, ...]:
    def token(index: int) -> int:
        own = 0 if number % 2 and index < COMMON else number + 1
        return (index * index * 7 + index * 13 + own * 31) % 263

    return tuple(token(index) for index in range(LENGTH))


@dataclass(frozen=True, slots=True)
class Served:
    """One model on two devices, one of which has host pages; and what prompts give, by number and adapter."""

    with_host: DeviceThread
    without: DeviceThread
    adapters: list[AdapterUse | None]
    known: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def alone(self, number: int, kind: int) -> list[int]:
        """Pass by pass, in a scheduler of its own that has nothing to reuse; computed once."""

        async def compute() -> list[int]:
            async with running(self.without, prefix_reuse=False) as scheduler:
                self.keep_adapters(scheduler)
                context = scheduler.create("alone")
                return await stepwise(scheduler, context, prompt(number), max_tokens=MADE, adapter=self.adapters[kind])

        if (number, kind) not in self.known:
            self.known[number, kind] = asyncio.run(compute())
        return self.known[number, kind]

    def keep_adapters(self, scheduler: Scheduler) -> None:
        for use in self.adapters:
            if use is not None:
                scheduler.weights.retain(use.number)


@contextlib.contextmanager
def serving(path: Path, backend: BackendName, cache_dir: Path) -> Iterator[Served]:
    options: dict[str, Any] = {"num_pages": NUM_PAGES, "backend": backend, "threads": 1, "cache_dir": cache_dir}
    engines = [Engine(path, num_host_pages=number, **options) for number in (NUM_HOST_PAGES, 0)]
    infos = [
        engine.adapters.put(read_adapter(random_peft(engine.config, 1).files, engine.config)) for engine in engines
    ]
    use = AdapterUse(infos[0].number, infos[0].version)
    with_host, without = map(DeviceThread, engines)
    with contextlib.closing(with_host), contextlib.closing(without):
        yield Served(with_host, without, [None, use])


MODELS = [(model, backend) for backend in ("native", "torch") for model in ("qwen3", "embedded")]


@pytest.fixture(scope="module", params=MODELS, ids="-".join)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cache_dir: Path
) -> Iterator[Served]:
    model, backend = request.param
    untied = {"tie_word_embeddings": False}  # a random model that is tied repeats what it reads
    path = embedded_model()
    if model != "embedded":
        path = write_random_model(tmp_path_factory.mktemp(model), model, config=dict(untied))
    with serving(path, backend, cache_dir / "kernels") as both:
        yield both


@dataclass(frozen=True, slots=True)
class Ask:
    """One generation: of which prompt, with which adapter, in which way, and when it ends if it is cut."""

    number: int
    kind: int
    way: str
    turns: int


async def answer(scheduler: Scheduler, served: Served, ask: Ask) -> list[int]:
    """What an ask gives, or as much as it gives until it is cut."""
    adapter, tokens = served.adapters[ask.kind], prompt(ask.number)
    owner = f"{ask}"
    context = scheduler.create(owner)
    try:
        if ask.way == "passes":
            return await stepwise(scheduler, context, tokens, max_tokens=MADE, adapter=adapter)
        if ask.way == "suspended":
            first = await feed(scheduler, context, tokens, adapter=adapter)
            await scheduler.suspend(context)
            for _ in range(ask.turns):
                await asyncio.sleep(0)
            return [first, *await stepwise(scheduler, context, [first], max_tokens=MADE - 1, adapter=adapter)]
        if ask.way == "cut":
            sink = Collector()
            scheduler.decode(DecodeRequest(context, tokens, GREEDY, MADE, frozenset(), 0, adapter=adapter), sink)
            for _ in range(ask.turns):
                await asyncio.sleep(0.0005)
            return sink.token_ids
        return (await decode(scheduler, context, tokens, max_tokens=MADE, adapter=adapter)).token_ids
    finally:
        scheduler.release_owner(owner)


async def carry_out(device: DeviceThread, served: Served, lines: Sequence[Sequence[Ask]]) -> Stats:
    """Let lines of asks run side by side; every answer is right, and everything is given back."""

    async def one_after_another(asks: Sequence[Ask]) -> None:
        for ask in asks:
            made, right = await answer(scheduler, served, ask), served.known[ask.number, ask.kind]
            assert made == (right[: len(made)] if ask.way == "cut" else right), ask

    async with running(device, max_batch_tokens=64) as scheduler:
        served.keep_adapters(scheduler)
        async with asyncio.TaskGroup() as tasks:
            for asks in lines:
                tasks.create_task(one_after_another(asks))
        while scheduler.ledger().held or scheduler.ledger().stashed:
            await asyncio.sleep(0.001)
        return scheduler.stats()


def test_a_working_set_of_three_times_the_pages_is_computed_once(served: Served) -> None:
    asks = [Ask(number, 0, "decode", 0) for number in range(NUM_PROMPTS)]
    for ask in asks:
        served.alone(ask.number, ask.kind)
    with_host = asyncio.run(carry_out(served.with_host, served, [asks * 2]))
    without = asyncio.run(carry_out(served.without, served, [asks * 2]))
    whole, drawn, end = NUM_PROMPTS * LENGTH, NUM_PROMPTS * (MADE - 1), NUM_PROMPTS * (LENGTH % PAGE_SIZE)
    shared = COMMON * (NUM_PROMPTS // 2 - 1)
    assert with_host.computed_tokens == (whole - shared + drawn) + (end + drawn)
    assert with_host.reused_tokens == shared + whole - end
    assert without.computed_tokens > 2 * (whole - shared)
    assert without.fetched_tokens == 0


ASKS = st.builds(
    Ask,
    number=st.integers(0, NUM_PROMPTS - 1),
    kind=st.sampled_from([0, 0, 1]),
    way=st.sampled_from(["decode", "passes", "suspended", "cut"]),
    turns=st.integers(0, 12),
)


@given(lines=st.lists(st.lists(ASKS, min_size=1, max_size=8), min_size=1, max_size=4))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tokens_are_the_same_with_host_pages_and_without_and_alone(served: Served, lines: list[list[Ask]]) -> None:
    for ask in (ask for asks in lines for ask in asks):
        served.alone(ask.number, ask.kind)
    for device in (served.with_host, served.without):
        asyncio.run(carry_out(device, served, lines))


def test_different_prompts_and_adapters_give_different_tokens(served: Served) -> None:
    """Without this the comparisons above could not fail."""
    asks = [(number, kind) for number in range(NUM_PROMPTS) for kind in (0, 1)]
    assert len({tuple(served.alone(*ask)) for ask in asks}) > len(asks) / 2
