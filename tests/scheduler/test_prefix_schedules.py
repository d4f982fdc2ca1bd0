"""Random schedules on devices that are too small for what is asked: prefixes come and go, and every token is right.

Programs ask for texts that share their beginnings, are suspended, are killed at any moment; steps and copies fail. The
books are looked at all the time, also while copies are under way.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, Collector, feed, prompt, running
from tests.scheduler.oracle import History
from tests.scheduler.virtual_time import run_in_virtual_time

from pie.errors import PieError
from pie.forward import AdapterUse, Batch, DecodeRequest, HostPageId, PageId, Progress, StepResult
from pie.scheduler.scheduler import Scheduler
from pie.scheduler.stats import Stats

ADAPTERS = [None, None, None, AdapterUse(1, "one")]


@dataclass(frozen=True, slots=True)
class World:
    """What a schedule runs on.

    Attributes:
        num_pages, num_host_pages: of the device.
        num_programs: that run at once.
        max_batch_tokens, max_batch_rows: of the scheduler.
        failing_moves, failing_steps: share of those that fail.
    """

    num_pages: int
    num_host_pages: int
    num_programs: int = 6
    max_batch_tokens: int = 48
    max_batch_rows: int = 256
    failing_moves: float = 0.0
    failing_steps: float = 0.0


class FailingDevice(FakeDevice):
    """Fails now and then, before it has done anything or after."""

    def __init__(self, world: World, rng: random.Random) -> None:
        super().__init__(make_info(num_pages=world.num_pages, num_host_pages=world.num_host_pages, max_positions=140))
        self._world = world
        self._rng = rng
        self.is_sound = False

    async def step(self, batch: Batch, progress: Progress | None = None) -> StepResult:
        if not self.is_sound and self._rng.random() < self._world.failing_steps:
            self.fail_next = OSError("a step")
        return await super().step(batch, progress)

    async def move_pages(
        self, outward: Sequence[tuple[PageId, HostPageId]], homeward: Sequence[tuple[PageId, HostPageId]]
    ) -> None:
        if self._rng.random() < self._world.failing_moves:
            if self._rng.random() < 0.5:
                await super().move_pages(outward, ())
            raise OSError("a copy")
        await super().move_pages(outward, homeward)


class Program:
    """Asks for one text after another, each in a context of its own."""

    def __init__(self, scheduler: Scheduler, name: str, rng: random.Random) -> None:
        self.scheduler = scheduler
        self.name = name
        self.rng = rng
        self.is_done = False

    async def run(self, num_actions: int) -> None:
        try:
            for _ in range(num_actions):
                try:
                    await self.rng.choice([self.generate, self.generate, self.kill, self.fed, self.rest, self.grab])()
                except PieError as error:
                    if error.code != "step-failed":
                        raise
                self.scheduler.release_owner(self.name)
        finally:
            self.is_done = True

    def text(self) -> list[int]:
        """Some tokens that begin like those of others, with up to three pages of an own end."""
        root = prompt(self.rng.randrange(4), self.rng.choice([16, 33, 48]))
        return [*root, *prompt(self.rng.randrange(3), self.rng.randrange(1, 13))]

    def begin(self, count: int) -> tuple[History, Collector, DecodeRequest]:
        context = self.scheduler.create(self.name, salt=self.rng.choice(["red", "red", "blue"]))
        tokens, adapter, history = self.text(), self.rng.choice(ADAPTERS), History()
        history.extend(tokens, adapter)
        request = DecodeRequest(context, tuple(tokens), GREEDY, count, frozenset(), 0, adapter=adapter)
        return history, Collector(), request

    def check(self, history: History, sink: Collector, request: DecodeRequest) -> None:
        for token in sink.token_ids:
            assert token == history.next_token()
            history.append(token, adapter=request.adapter)

    async def generate(self) -> None:
        history, sink, request = self.begin(self.rng.randrange(1, 20))
        self.scheduler.decode(request, sink)
        await sink.done.wait()
        self.check(history, sink, request)
        if sink.error:
            raise sink.error
        assert len(sink.token_ids) == request.max_tokens

    async def kill(self) -> None:
        """End in the middle, perhaps while pages come back."""
        history, sink, request = self.begin(15)
        self.scheduler.decode(request, sink)
        for _ in range(self.rng.randrange(12)):
            await asyncio.sleep(0)
        self.scheduler.release_owner(self.name)
        self.check(history, sink, request)

    async def fed(self) -> None:
        """Passes with pages of their own."""
        context, history = self.scheduler.create(self.name, salt="red"), History()
        for _ in range(self.rng.randrange(1, 3)):
            tokens = self.text()[: 100 - len(history)]
            history.extend(tokens)
            assert await feed(self.scheduler, context, tokens) == history.next_token()

    async def rest(self) -> None:
        """Leave the device, with a fork perhaps, and go on."""
        context, history = self.scheduler.create(self.name, salt="red"), History()
        tokens = self.text()
        history.extend(tokens)
        assert await feed(self.scheduler, context, tokens) == history.next_token()
        fork = await self.scheduler.fork(context, owner=self.name)
        await self.scheduler.suspend(context)
        if self.rng.random() < 0.5:
            await self.scheduler.suspend(fork)
        for _ in range(self.rng.randrange(9)):
            await asyncio.sleep(0)
        history.extend([5])
        drawn = await asyncio.gather(*(feed(self.scheduler, each, [5]) for each in (context, fork)))
        assert drawn == [history.next_token()] * 2

    async def grab(self) -> None:
        """Take pages that nobody writes to, so that others are evicted."""
        context = self.scheduler.create(self.name)
        await self.scheduler.reserve(context, self.rng.randrange(1, self.scheduler.ledger().total // 2))


async def look(scheduler: Scheduler, programs: Sequence[Program]) -> None:
    """Look at the books at any moment."""
    while not all(program.is_done for program in programs):
        scheduler.check()
        ledger = scheduler.ledger()
        assert ledger.free + ledger.cached + ledger.held == ledger.total
        assert ledger.stashed + ledger.host_cached + ledger.host_free == ledger.host_total
        for _ in range(3):
            await asyncio.sleep(0)
        await asyncio.sleep(0.0005)


async def carry_out(world: World, seed: int, *, num_actions: int) -> Stats:
    rng = random.Random(seed)
    device = FailingDevice(world, random.Random(rng.random()))
    async with running(
        device, max_batch_tokens=world.max_batch_tokens, max_batch_rows=world.max_batch_rows, page_timeout_s=2.0
    ) as scheduler:
        for use in (use for use in ADAPTERS if use):
            scheduler.weights.retain(use.number)
        programs = [Program(scheduler, f"p{n}", random.Random(rng.random())) for n in range(world.num_programs)]
        async with asyncio.TaskGroup() as tasks:
            for program in programs:
                tasks.create_task(program.run(num_actions))
            tasks.create_task(look(scheduler, programs))
        while scheduler.ledger().held:  # of who was killed last
            await asyncio.sleep(0.001)
        assert scheduler.ledger().stashed == 0
        return scheduler.stats()


def run_schedule(world: World, seed: int, monkeypatch: pytest.MonkeyPatch, *, num_actions: int = 8) -> Stats:
    """Carry a schedule out in the order of events that the seed gives."""
    stats: list[Stats] = []

    async def main() -> None:
        stats.append(await carry_out(world, seed, num_actions=num_actions))

    run_in_virtual_time(main, seed=seed, monkeypatch=monkeypatch)
    return stats[0]


WORLDS = st.builds(
    World,
    num_pages=st.sampled_from([40, 41, 50, 70]),
    num_host_pages=st.sampled_from([1, 7, 30, 80, 300]),
    num_programs=st.integers(1, 9),
    max_batch_tokens=st.sampled_from([4, 9, 48, 512]),
    max_batch_rows=st.sampled_from([2, 256]),
    failing_moves=st.sampled_from([0.0, 0.0, 0.2, 1.0]),
    failing_steps=st.sampled_from([0.0, 0.0, 0.1]),
)


@given(world=WORLDS, seed=st.integers(0, 1 << 20))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_token_is_right_and_nothing_is_lost(world: World, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run_schedule(world, seed, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_so_it_is_in_longer_schedules(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    world = World(
        num_pages=rng.choice([40, 45, 60]),
        num_host_pages=rng.choice([7, 30, 80]),
        max_batch_tokens=rng.choice([9, 48, 512]),
        failing_moves=rng.choice([0.0, 0.1]),
        failing_steps=rng.choice([0.0, 0.05]),
    )
    run_schedule(world, seed, monkeypatch, num_actions=40)


@pytest.mark.parametrize("seed", range(4))
def test_these_schedules_bring_prefixes_back_and_compute_less(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this the tests above could hold for want of anything to bring back."""
    with_host, without = (
        run_schedule(World(num_pages=40, num_host_pages=number), seed, monkeypatch, num_actions=20)
        for number in (300, 0)
    )
    assert with_host.fetched_tokens > 0
    assert without.fetched_tokens == 0
    assert with_host.computed_tokens < without.computed_tokens
