"""What the scheduler's tests share: a running scheduler, sinks that remember, the step-by-step loop to compare with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tests.scheduler.fake_device import FakeDevice
from tests.scheduler.oracle import History

from pie.adjustment import Adjustment
from pie.config import BatchPolicy
from pie.forward import (
    AdapterUse,
    Constraint,
    ContextId,
    DecodeRequest,
    Device,
    Drafter,
    ForwardRequest,
    LogitMask,
    LogprobsWanted,
    Readout,
    Sampler,
    TokenLogprobs,
    Watch,
)
from pie.mask import Window, bools_to_brle
from pie.scheduler.scheduler import Scheduler

__all__ = [
    "GREEDY",
    "Collector",
    "Visible",
    "decode",
    "discard_unseen",
    "feed",
    "masked_pass",
    "prompt",
    "running",
    "stepwise",
    "window",
]

GREEDY = Sampler(temperature=0.0)
Visible = Callable[[int], npt.NDArray[np.bool_]]


class Collector:
    """A `TokenSink` that remembers."""

    def __init__(self) -> None:
        self.token_ids: list[int] = []
        self.logprobs: list[TokenLogprobs] = []
        self.reason: str | None = None
        self.error: BaseException | None = None
        self.done = asyncio.Event()

    def tokens(self, token_ids: Sequence[int]) -> None:
        if self.done.is_set():
            raise AssertionError("tokens after the end")
        self.token_ids.extend(token_ids)

    def finished(self, reason: str) -> None:
        if self.done.is_set():
            raise AssertionError("ended twice")
        self.reason = reason
        self.done.set()

    def failed(self, error: BaseException) -> None:
        if self.done.is_set():
            raise AssertionError("ended twice")
        self.error = error
        self.done.set()


@contextlib.asynccontextmanager
async def running(
    device: Device | None = None,
    *,
    snapshot_dir: Path | None = None,
    max_batch_tokens: int = 512,
    max_batch_rows: int = 256,
    prefix_reuse: bool = True,
    page_timeout_s: float = 30.0,
    prompt_step_s: float | None = None,
    batch_policy: BatchPolicy = "greedy",
) -> AsyncIterator[Scheduler]:
    """A scheduler whose loop runs; its books are checked at the end."""
    scheduler = Scheduler(
        device or FakeDevice(),
        snapshot_dir=snapshot_dir,
        max_batch_tokens=max_batch_tokens,
        max_batch_rows=max_batch_rows,
        prefix_reuse=prefix_reuse,
        page_timeout_s=page_timeout_s,
        prompt_step_s=prompt_step_s,
        batch_policy=batch_policy,
    )
    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(scheduler.run())
        try:
            yield scheduler
        finally:
            loop.cancel()
    scheduler.check()
    ledger = scheduler.ledger()
    assert ledger.free + ledger.cached + ledger.held == ledger.total
    assert ledger.stashed + ledger.host_cached + ledger.host_free == ledger.host_total


def prompt(seed: int, length: int, *, vocab_size: int = 97) -> tuple[int, ...]:
    """Some tokens that depend on the seed."""
    return tuple((seed * 31 + index * index * 7 + index * 13) % vocab_size for index in range(length))


async def feed(
    scheduler: Scheduler,
    context: ContextId,
    token_ids: Sequence[int],
    *,
    sampler: Sampler = GREEDY,
    seed: int = 0,
    counter: int = 0,
    mask: LogitMask | None = None,
    adapter: AdapterUse | None = None,
    window: Window | None = None,
) -> int:
    """Reserve, run one pass after the context's tokens, commit what is full; returns the token drawn at the end."""
    info = scheduler.describe(context)
    wanted = -(-(info.working_tokens + len(token_ids)) // info.page_size)
    if wanted > info.working_pages:
        await scheduler.reserve(context, wanted - info.working_pages)
    positions = tuple(range(info.num_tokens, info.num_tokens + len(token_ids)))
    readout = Readout(len(token_ids) - 1, sampler, mask)
    request = ForwardRequest(
        context=context,
        token_ids=tuple(token_ids),
        positions=positions,
        readouts=(readout,),
        seed=seed,
        counter=counter,
        attention_mask=None if window is None else tuple(attention_row(window, place) for place in positions),
        adapter=adapter,
    )
    result = await scheduler.forward(request)
    await scheduler.commit(context, scheduler.describe(context).working_tokens // info.page_size)
    return result.slots[0].tokens[0]


def attention_row(window: Window, place: int) -> tuple[int, ...]:
    """What a token sees under a window, key by key, as BRLE."""
    keys = np.arange(place + 1)
    return tuple(bools_to_brle((keys < window.sink) | (keys > place - window.size)))


async def discard_unseen(scheduler: Scheduler, context: ContextId, window: Window) -> None:
    """Give back the committed pages of which no later token sees a key."""
    info = scheduler.describe(context)
    for page in range(info.committed_pages):
        keys = range(page * info.page_size, (page + 1) * info.page_size)
        if all(window.sink <= key <= info.num_tokens - window.size for key in keys):
            await scheduler.discard(context, page, 1)


async def stepwise(
    scheduler: Scheduler,
    context: ContextId,
    token_ids: Sequence[int],
    *,
    max_tokens: int,
    stop_ids: frozenset[int] = frozenset(),
    sampler: Sampler = GREEDY,
    seed: int = 0,
    mask: LogitMask | None = None,
    constraint: Constraint | None = None,
    watch: Watch | None = None,
    adapter: AdapterUse | None = None,
    window: Window | None = None,
) -> list[int]:
    """The loop that a decode stands for, pass by pass."""
    made: list[int] = []
    pending = list(token_ids)
    options: dict[str, Any] = {"sampler": sampler, "seed": seed, "adapter": adapter, "window": window}
    while len(made) < max_tokens:
        moving = constraint.mask() if constraint else None
        allowed = mask if moving is None else moving if mask is None else mask & moving
        token = await feed(scheduler, context, pending, counter=len(made), mask=allowed, **options)
        if window is not None:
            await discard_unseen(scheduler, context, window)
        if token in stop_ids:
            break
        made.append(token)
        ends = [one.accept(token) for one in (constraint, watch) if one is not None]
        if any(ends):
            break
        pending = [token]
    return made


async def decode(
    scheduler: Scheduler,
    context: ContextId,
    token_ids: Sequence[int],
    *,
    max_tokens: int | None,
    stop_ids: frozenset[int] = frozenset(),
    sampler: Sampler = GREEDY,
    seed: int = 0,
    mask: LogitMask | None = None,
    constraint: Constraint | None = None,
    watch: Watch | None = None,
    drafter: Drafter | None = None,
    adapter: AdapterUse | None = None,
    window: Window | None = None,
    adjustment: Adjustment | None = None,
    num_top: int | None = None,
) -> Collector:
    """Run a decode to its end."""
    sink = Collector()
    request = DecodeRequest(
        context=context,
        token_ids=tuple(token_ids),
        sampler=sampler,
        max_tokens=max_tokens,
        stop_ids=stop_ids,
        seed=seed,
        mask=mask,
        constraint=constraint,
        watch=watch,
        drafter=drafter,
        adapter=adapter,
        window=window,
        adjustment=adjustment,
        logprobs=None if num_top is None else LogprobsWanted(num_top, sink.logprobs.extend),
    )
    scheduler.decode(request, sink)
    await sink.done.wait()
    return sink


def window(size: int, sink: int) -> Visible:
    """What the row at an index sees: the first `sink` keys and the last `size`, itself included."""

    def visible(index: int) -> npt.NDArray[np.bool_]:
        keys = np.arange(index + 1)
        return (keys < sink) | (keys > index - size)

    return visible


async def masked_pass(
    scheduler: Scheduler,
    context: ContextId,
    history: History,
    token_ids: Sequence[int],
    visible: Visible,
    *,
    adapter: AdapterUse | None = None,
) -> int:
    """Run a masked pass, commit what is full, and check the token drawn at its end."""
    info = scheduler.describe(context)
    wanted = -(-(info.working_tokens + len(token_ids)) // info.page_size)
    await scheduler.reserve(context, max(0, wanted - info.working_pages))
    places = range(info.num_tokens, info.num_tokens + len(token_ids))
    rows = tuple(tuple(bools_to_brle(visible(index))) for index in places)
    readout = Readout(len(token_ids) - 1, GREEDY)
    result = await scheduler.forward(
        ForwardRequest(context, tuple(token_ids), tuple(places), (readout,), attention_mask=rows, adapter=adapter)
    )
    await scheduler.commit(context, scheduler.describe(context).working_tokens // info.page_size)
    for index, token in zip(places, token_ids, strict=True):
        seen = visible(index)
        history.append(token, index, None if seen.all() else seen.tolist(), adapter)
    drawn = result.slots[0].tokens[0]
    assert drawn == history.next_token()
    return drawn
