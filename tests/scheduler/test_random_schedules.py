"""Many guests do whatever they like at once; every token they get is the one their own history demands."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
from tests.scheduler.fake_device import FakeDevice, make_info
from tests.scheduler.harness import GREEDY, Collector, feed, masked_pass, running, window
from tests.scheduler.oracle import History
from tests.scheduler.virtual_time import run_in_virtual_time

from pie.config import BatchPolicy
from pie.errors import PieError
from pie.forward import AdapterUse, ContextId, DecodeRequest, ForwardRequest, Readout
from pie.scheduler.residency import ContextState
from pie.scheduler.scheduler import Scheduler

POLICIES: tuple[BatchPolicy, ...] = get_args(BatchPolicy)
ADAPTERS = [None, None, AdapterUse(1, "one"), AdapterUse(2, "two", seed=5)]


class Echo:
    """Guesses what the text said after the same token before."""

    def __init__(self) -> None:
        self.token_ids: list[int] = []

    def feed(self, token_ids: Sequence[int]) -> None:
        self.token_ids += token_ids

    def propose(self, most: int) -> Sequence[int]:
        last, before = self.token_ids[-1], self.token_ids[:-1]
        if last not in before:
            return []
        start = len(before) - before[::-1].index(last)
        return self.token_ids[start : start + min(most, 4)]


class Guest:
    """One owner with one context at a time, and the history it should have."""

    def __init__(self, scheduler: Scheduler, name: str, rng: random.Random) -> None:
        self.scheduler = scheduler
        self.name = name
        self.rng = rng
        self.context: ContextId = scheduler.create(name, salt=rng.choice(["red", "blue"]))
        self.history = History()
        self.room = scheduler._info.max_positions
        self.refused = 0
        self.saved: History | None = None
        self.is_done = False

    async def run(self, num_actions: int) -> None:
        try:
            await self.act(num_actions)
        finally:
            self.is_done = True

    async def act(self, num_actions: int) -> None:
        actions = [self.feed, self.feed, self.decode, self.decode, self.cut_decode, self.cut_pass]
        actions += [self.fork, self.truncate, self.save, self.restart, self.reserve_and_release, self.double]
        actions += [self.suspend, self.bid, self.masked, self.window]
        for _ in range(num_actions):
            try:
                await self.rng.choice(actions)()
                info = self.scheduler.describe(self.context)
                assert info.num_tokens == len(self.history)
                assert self.known_tokens() == self.history.token_ids
            except PieError as error:
                if error.code != "prompt-too-long":
                    raise
                self.refused += 1
                await self.restart()
        self.scheduler.release_owner(self.name)

    @property
    def has_origins(self) -> bool:
        """Whether tokens of the context were made with masks or adapters."""
        context = self.scheduler._contexts.get(self.context)
        return bool(context.working_origins) or any(page.masks for page in context.committed())

    def known_tokens(self) -> list[int]:
        """What the scheduler believes the context holds."""
        context = self.scheduler._contexts.get(self.context)
        committed = [token for page in context.committed() for token in page.token_ids.tolist()]
        return [*committed, *context.working_tokens]

    def some_tokens(self) -> list[int]:
        if self.rng.random() < 0.5:  # so that guests share prefixes
            length = self.rng.choice([4, 9, 23])
            return [(index * 5 + 1) % 97 for index in range(length)]
        return [self.rng.randrange(97) for _ in range(self.rng.randrange(1, 30))]

    async def feed(self) -> None:
        tokens = self.some_tokens()
        drawn = await feed(self.scheduler, self.context, tokens)
        self.history.extend(tokens)
        assert drawn == self.history.next_token()

    def begin(self, max_tokens: int | None) -> tuple[list[int], Collector, DecodeRequest]:
        tokens = self.some_tokens()
        stop_ids = frozenset(self.rng.sample(range(97), self.rng.choice([0, 3])))
        request = DecodeRequest(
            self.context,
            tuple(tokens),
            GREEDY,
            max_tokens,
            stop_ids,
            0,
            drafter=Echo() if self.rng.random() < 0.3 else None,
            adapter=self.rng.choice(ADAPTERS),
        )
        return tokens, Collector(), request

    def check_decoded(self, tokens: list[int], sink: Collector, request: DecodeRequest) -> None:
        self.history.extend(tokens, request.adapter)
        in_kv = self.scheduler.describe(self.context).num_tokens - len(self.history)
        for token in sink.token_ids:
            assert token == self.history.next_token()
            self.history.append(token, adapter=request.adapter)
        if sink.reason == "stop":
            assert self.history.next_token() in request.stop_ids
        elif sink.reason == "length" and request.max_tokens is not None and len(self.history) < self.room - 12:
            assert len(sink.token_ids) == request.max_tokens
        assert len(sink.token_ids) - 1 <= in_kv <= len(sink.token_ids)
        self.history.drop(len(sink.token_ids) - in_kv)

    async def decode(self) -> None:
        tokens, sink, request = self.begin(self.rng.randrange(1, 40))
        self.scheduler.decode(request, sink)
        await sink.done.wait()
        if sink.error:
            raise sink.error
        self.check_decoded(tokens, sink, request)

    async def cut_decode(self) -> None:
        tokens, sink, request = self.begin(None if self.rng.random() < 0.3 else 30)
        before = len(self.history)
        handle = self.scheduler.decode(request, sink)
        for _ in range(self.rng.randrange(30)):
            await asyncio.sleep(0)
        handle.cancel()
        if sink.error:
            raise sink.error
        if self.scheduler.describe(self.context).num_tokens > before:
            self.check_decoded(tokens, sink, request)
        else:
            assert not sink.token_ids

    async def cut_pass(self) -> None:
        before = self.scheduler.describe(self.context).num_tokens
        tokens = self.some_tokens()
        await self.scheduler.reserve(self.context, -(-len(tokens) // 4))
        positions = tuple(range(before, before + len(tokens)))
        request = ForwardRequest(self.context, tuple(tokens), positions, (Readout(len(tokens) - 1, GREEDY),))
        task = asyncio.ensure_future(self.scheduler.forward(request))
        for _ in range(self.rng.randrange(8)):
            await asyncio.sleep(0)
        task.cancel()
        try:
            result = await task
        except asyncio.CancelledError:
            # The pass was over already, or it left nothing behind.
            if self.scheduler.describe(self.context).num_tokens > before:
                self.history.extend(tokens)
            return
        self.history.extend(tokens)
        assert result.slots[0].tokens[0] == self.history.next_token()

    async def fork(self) -> None:
        old = self.context
        self.context = await self.scheduler.fork(old, owner=self.name)
        if self.rng.random() < 0.5:
            await feed(self.scheduler, old, self.some_tokens())  # what the other one writes is none of our business
        if self.rng.random() < 0.8:
            self.scheduler.destroy(old)

    async def double(self) -> None:
        """Fork in the middle of a decode; both go on."""
        tokens, sink, request = self.begin(25)
        handle = self.scheduler.decode(request, sink)
        for _ in range(self.rng.randrange(12)):
            await asyncio.sleep(0)
        twin = await self.scheduler.fork(self.context, owner=self.name)
        at_fork = self.scheduler.describe(twin).num_tokens - len(self.history) - len(tokens)
        twin_history = self.history.copy()
        if at_fork >= 0:
            twin_history.extend([*tokens, *sink.token_ids[:at_fork]], request.adapter)
        await sink.done.wait()
        handle.cancel()
        if sink.error:
            raise sink.error
        more = self.some_tokens()
        drawn = await feed(self.scheduler, twin, more)
        if at_fork >= 0:
            twin_history.drop(len(twin_history))
            twin_history = self.history.copy()
            twin_history.extend([*tokens, *sink.token_ids[:at_fork]], request.adapter)
        twin_history.extend(more)
        assert drawn == twin_history.next_token()
        self.scheduler.destroy(twin)
        self.check_decoded(tokens, sink, request)

    async def truncate(self) -> None:
        count = self.rng.randrange(self.scheduler.describe(self.context).working_tokens + 1)
        await self.scheduler.truncate(self.context, count)
        self.history.drop(count)

    async def save(self) -> None:
        # What comes from a file with masks or adapters may be unable to leave, so that others are refused rightly.
        if self.scheduler.ledger().total < 100 and self.has_origins:
            return
        if self.saved is not None and self.rng.random() < 0.6:
            self.scheduler.destroy(self.context)
            self.context = await self.scheduler.open(user=self.name, name="x", owner=self.name, salt="red")
            self.history = self.saved.copy()
        else:
            await self.scheduler.save(self.context, user=self.name, name="x")
            self.saved = self.history.copy()

    async def suspend(self) -> None:
        """Leave the device, perhaps in the middle of a decode."""
        tokens, sink, request = self.begin(12)
        self.scheduler.decode(request, sink)
        for _ in range(self.rng.randrange(9)):
            await asyncio.sleep(0)
        await self.scheduler.suspend(self.context)
        await sink.done.wait()
        if sink.error:
            raise sink.error
        self.check_decoded(tokens, sink, request)
        await self.scheduler.suspend(self.context)
        assert self.scheduler.state(self.context) in (ContextState.STASHED, ContextState.SUSPENDED)

    async def masked(self) -> None:
        """A pass that does not see everything, perhaps with an adapter."""
        visible = window(self.rng.randrange(1, 20), self.rng.randrange(4))
        tokens, adapter = self.some_tokens(), self.rng.choice(ADAPTERS)
        await masked_pass(self.scheduler, self.context, self.history, tokens, visible, adapter=adapter)

    async def window(self) -> None:
        """A text in a context of its own, which gives back the pages that its window leaves behind."""
        context, history = self.scheduler.create(self.name), History()
        size, sink, adapter = self.rng.randrange(4, 12), self.rng.randrange(6), self.rng.choice(ADAPTERS)
        tokens = self.some_tokens()
        for _ in range(self.rng.randrange(2, 8)):
            token = await masked_pass(self.scheduler, context, history, tokens, window(size, sink), adapter=adapter)
            first, end = -(-sink // 4), (len(history) + 1 - size) // 4
            end = min(end, self.scheduler.describe(context).committed_pages)
            if end > first:
                await self.scheduler.discard(context, first, end - first)
            if self.rng.random() < 0.3:
                await self.scheduler.suspend(context)
            tokens = [token]
        self.scheduler.destroy(context)

    async def bid(self) -> None:
        self.scheduler.set_bid(self.context, self.rng.choice([0.0, 0.5, 3.0]))

    async def reserve_and_release(self) -> None:
        count = self.rng.randrange(1, 5)
        await self.scheduler.reserve(self.context, count)
        self.scheduler.release(self.context, self.rng.randrange(count + 1))

    async def restart(self) -> None:
        self.scheduler.release_owner(self.name)
        self.context = self.scheduler.create(self.name, salt=self.rng.choice(["red", "blue"]))
        self.history = History()


async def run_guests(
    seed: int, folder: Path, *, sizes: Sequence[int], num_guests: int, num_actions: int, step_s: float = 0.0
) -> FakeDevice:
    """Guests with so many actions each, on a device with one of these numbers of pages; returns the device."""
    rng = random.Random(seed)
    num_pages = rng.choice(sizes)
    info = make_info(
        num_pages=num_pages, max_positions=min(512, 4 * num_pages - 60), num_host_pages=rng.choice([0, 20, 300])
    )
    device = FakeDevice(info)
    device.step_s = step_s
    device.room = [None, 1, 7, 30][seed // 2 % 4]  # larger steps do not fit into its memory
    async with running(
        device,
        snapshot_dir=folder,
        max_batch_tokens=rng.choice([4, 9, 48, 512]),
        max_batch_rows=rng.choice([2, 256]),
        prefix_reuse=bool(seed % 2),
        page_timeout_s=2.0,
        prompt_step_s=[None, 1e-4][seed // 8 % 2],
        batch_policy=POLICIES[seed // 16 % 3],
    ) as scheduler:
        guests = [Guest(scheduler, f"guest{number}", random.Random(rng.random())) for number in range(num_guests)]
        async with asyncio.TaskGroup() as tasks:
            for guest in guests:
                tasks.create_task(guest.run(num_actions))
            tasks.create_task(check_often(scheduler, guests))
        scheduler.check()
        ledger = scheduler.ledger()
        assert ledger.free + ledger.cached + ledger.held == ledger.total
        assert ledger.stashed == 0
        assert ledger.host_cached + ledger.host_free == ledger.host_total
        assert scheduler._contexts.owners_with_pages() <= {None}
    assert device.batches
    return device


async def check_often(scheduler: Scheduler, guests: Sequence[Guest]) -> None:
    """Look at the books at any moment, also while a step is in flight."""
    while not all(guest.is_done for guest in guests):
        scheduler.check()
        for _ in range(7):
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("seed", range(12))
async def test_every_token_is_the_one_the_history_demands(seed: int, tmp_path: Path) -> None:
    await run_guests(seed, tmp_path, sizes=[45, 60, 150, 1500], num_guests=10, num_actions=12)


@pytest.mark.parametrize("seed", range(6))
async def test_everybody_ends_on_a_device_that_is_always_full(seed: int, tmp_path: Path) -> None:
    await run_guests(seed, tmp_path, sizes=[45, 46, 50], num_guests=14, num_actions=8)


@pytest.mark.parametrize("seed", range(451, 454))
def test_so_it_is_whatever_the_order_of_events(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_seed(seed, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 500))
def test_so_it_is_with_any_seed(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_seed(seed, tmp_path, monkeypatch)


def test_so_it_is_while_runs_go_on_until_somebody_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(open_runs(seed, tmp_path / str(seed), monkeypatch) for seed in range(6)) > 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_so_it_is_with_any_seed_while_runs_go_on(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_runs(seed, tmp_path, monkeypatch)


def open_runs(seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many few guests have on a device whose steps take long, which has pages enough for them most of the time."""
    devices: list[FakeDevice] = []
    step_s = [0.004, 0.05][seed % 2]

    async def main() -> None:
        sizes = [90, 150, 1500]
        devices.append(
            await run_guests(seed, folder, sizes=sizes, num_guests=1 + seed % 4, num_actions=12, step_s=step_s)
        )

    run_in_virtual_time(main, seed=seed, monkeypatch=monkeypatch)
    return sum(len(device.runs) for device in devices)


def run_seed(seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guests on a device that is full, in an order of events that the seed gives: it is the same in each run."""

    async def main() -> None:
        await run_guests(seed, folder, sizes=[45, 46, 50, 60], num_guests=3 + seed % 12, num_actions=8)

    run_in_virtual_time(main, seed=seed, monkeypatch=monkeypatch)
