"""The face of the scheduler: what the host asks of contexts, passes and decodes.

Everything runs on one event loop. A plain function answers at once; a coroutine waits for pages, for the device or for
the end of a step that extends its context. Every request is answered, with a result or with a `PieError`.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import replace
from pathlib import Path

from pie.config import BatchPolicy
from pie.forward import ContextId, DecodeRequest, Device, ForwardRequest, ForwardResult, TokenSink
from pie.scheduler import faults
from pie.scheduler.context import Context, ContextInfo
from pie.scheduler.contexts import ContextTable
from pie.scheduler.decode_handle import DecodeHandle
from pie.scheduler.gathering import Gathering
from pie.scheduler.loop import StepLoop
from pie.scheduler.owners import Owners
from pie.scheduler.pages import Ledger
from pie.scheduler.passes import Decode, Pass
from pie.scheduler.plan import Limits
from pie.scheduler.residency import ContextState
from pie.scheduler.snapshots import SnapshotStore
from pie.scheduler.stats import Load, Stats
from pie.scheduler.stepper import Stepper
from pie.scheduler.timings import TimedSink
from pie.scheduler.validation import at_least_zero, check_decode, check_forward
from pie.scheduler.weights import AdapterWeights

__all__ = ["Scheduler"]

_MAX_RUN_STEPS = 32
_RUN_S = 0.010


class Scheduler:
    """Contexts, their pages and the running batch of one device.

    Attributes:
        weights: who needs which adapter weights of the device.
        owners: who is let in, with which credits and token budgets.
    """

    def __init__(  # noqa: PLR0913 - all but one by keyword, each with a default
        self,
        device: Device,
        *,
        snapshot_dir: Path | None,
        max_batch_tokens: int = 512,
        max_batch_rows: int = 256,
        prefix_reuse: bool = True,
        page_timeout_s: float = 30.0,
        prompt_step_s: float | None = None,
        batch_policy: BatchPolicy = "greedy",
    ) -> None:
        """Start with every page free; nothing runs before `run`.

        Args:
            device: where steps run.
            snapshot_dir: where saved contexts lie; None keeps them in memory only.
            max_batch_tokens: tokens of one step, >= 4; prompts longer than what is left of it are computed in chunks.
            max_batch_rows: decodes that one step extends; if there are more, they take turns.
            prefix_reuse: whether prefixes that are in KV already are attached instead of computed.
            page_timeout_s: how long somebody waits for pages while nothing runs and others hold them idly.
            prompt_step_s: about how long a step with prompts may last while decodes run; None is as long as it takes.
            batch_policy: whether a step waits for more requests, see `pie.scheduler.gathering`.
        """
        if max_batch_tokens < 4 or max_batch_rows < 1:
            raise faults.bad_request(
                f"a batch of {max_batch_tokens} tokens and {max_batch_rows} rows",
                remedy="Set max_batch_tokens to at least 4 and max_batch_rows to at least 1.",
            )
        info = device.info
        limits = Limits(
            max_batch_tokens=max_batch_tokens,
            max_batch_rows=max_batch_rows,
            max_run_steps=_MAX_RUN_STEPS,
            run_s=_RUN_S,
            max_positions=info.max_positions,
            prompt_step_s=prompt_step_s,
        )
        self._device = device
        self._info = info
        self.weights = AdapterWeights(device.free_adapter)
        self._contexts = ContextTable(info, self.weights, keep_evicted=prefix_reuse)
        self.owners = Owners(num_pages=info.num_pages, page_size=info.page_size, wave=max_batch_rows)
        self._stepper = Stepper(self._contexts, info, limits, self.owners.budgets, prefix_reuse=prefix_reuse)
        self._snapshots = SnapshotStore(device, self._contexts, snapshot_dir, self._reserve)
        self._loop = StepLoop(
            device,
            self._contexts,
            self._stepper,
            self.owners.market,
            page_timeout_s=page_timeout_s,
            gathering=Gathering(batch_policy, most_requests=max_batch_rows),
            shed=self._snapshots.shed,
        )

    def __repr__(self) -> str:
        return f"<Scheduler {len(self._contexts)} contexts, {self._stepper!r}, {self._contexts.pool!r}>"

    @property
    def page_size(self) -> int:
        """Tokens per page."""
        return self._contexts.page_size

    # Owners --------------------------------------------------------------------------------------------------------

    def release_owner(self, owner: str) -> None:
        """End everything that belongs to an owner: contexts, and with them passes, decodes and reservations."""
        for context in self._contexts.of_owner(owner):
            self.destroy(context)
        self.owners.leave(owner)

    # Contexts ------------------------------------------------------------------------------------------------------

    def create(self, owner: str, *, salt: str = "") -> ContextId:
        """Make an empty context that ends with its owner; contexts of one salt share equal prefixes."""
        return self._seat(self._contexts.create(owner, salt=salt), owner)

    async def fork(self, context: ContextId, *, owner: str) -> ContextId:
        """Make a context of the same content; pages are shared until one of the two writes.

        Raises:
            ContextError: `context-destroyed`.
        """
        source = self._contexts.get(context)
        fork = await self._loop.when_quiet(source, lambda: self._contexts.fork(source, owner=owner))
        return self._seat(fork, owner)

    def destroy(self, context: ContextId) -> None:
        """End a context with all that waits for it. Nothing happens if it is gone already."""
        found = self._contexts.find(context)
        if found is not None:
            self._loop.destroy(found)

    def describe(self, context: ContextId) -> ContextInfo:
        """Count a context's pages and tokens.

        Of a running decode the tokens count as they are delivered, and the pages as if it ended now.

        Raises:
            ContextError: `context-destroyed`.
        """
        found = self._contexts.get(context)
        self._stepper.working.settle(found)
        return found.info(num_pages=self._stepper.working.num_own(found))

    def token_ids(self, context: ContextId) -> list[int]:
        """The tokens in a context's KV; of a running decode those that were delivered.

        Raises:
            ContextError: `context-destroyed`.
        """
        found = self._contexts.get(context)
        self._stepper.working.settle(found)
        return found.token_ids()

    async def reserve(self, context: ContextId, num_pages: int) -> None:
        """Add `num_pages` empty working pages, waiting until others give enough back.

        Raises:
            ContextError: `context-destroyed`; `out-of-pages` if there never can be so many, or nobody gives any back.
        """
        await self._loop.reserve(self._contexts.get(context), at_least_zero(num_pages))

    def release(self, context: ContextId, num_pages: int) -> None:
        """Give the last `num_pages` working pages back, or as many as are empty when no step extends the context.

        Raises:
            ContextError: `context-destroyed`.
        """
        found = self._contexts.get(context)
        at_least_zero(num_pages)
        if self._stepper.residency.is_here(found):
            self._loop.soon(found, lambda: self._stepper.working.release(found, num_pages))
        else:
            self._stepper.working.release(found, num_pages)

    async def commit(self, context: ContextId, num_pages: int) -> None:
        """Make the first `num_pages` working pages committed ones; equal pages of others are shared.

        Raises:
            ContextError: `context-destroyed`; `not-committable` if they are not full or positions do not increase.
        """
        found = self._contexts.get(context)
        at_least_zero(num_pages)
        await self._loop.when_quiet(found, lambda: self._contexts.commit(found, num_pages))

    async def discard(self, context: ContextId, first: int, num_pages: int) -> None:
        """Give back the memory of committed pages; every later row must be masked from all of their keys.

        Raises:
            ContextError: `context-destroyed`; `not-discardable`; `context-busy` while a decode extends it.
        """
        found = self._contexts.get(context)
        at_least_zero(num_pages)

        def act() -> None:
            if self._stepper.is_decoding(found):
                raise faults.context_busy(context, "discard pages")
            self._contexts.discard(found, first, num_pages)

        await self._loop.when_quiet(found, act)

    async def truncate(self, context: ContextId, num_tokens: int) -> None:
        """Drop the last `num_tokens` working tokens, or all if there are fewer; the pages stay.

        Raises:
            ContextError: `context-destroyed`; `context-busy` while a decode extends it.
        """
        found = self._contexts.get(context)
        at_least_zero(num_tokens)

        def act() -> None:
            if self._stepper.is_decoding(found):
                raise faults.context_busy(context, "drop tokens")
            self._contexts.truncate(found, num_tokens)

        await self._loop.when_quiet(found, act)

    async def suspend(self, context: ContextId) -> None:
        """Take a context off the device as soon as no pass extends it; it comes back when it is used again.

        Raises:
            ContextError: `context-destroyed`.
        """
        found = self._contexts.get(context)

        def act() -> None:
            if not found.held and self._stepper.residency.suspension.can_leave(found):
                self._stepper.suspend(found)

        if found.away is None:
            await self._loop.when_quiet(found, act)

    def state(self, context: ContextId) -> ContextState:
        """Where the pages of a context are.

        Raises:
            ContextError: `context-destroyed`.
        """
        found = self._contexts.get(context)
        return self._stepper.residency.state_of(found, pinned=self._stepper.is_pinned(found))

    def set_bid(self, context: ContextId, bid: float) -> None:
        """Say what a page of the context on the device is worth to its owner, in credits per step; 0 at first.

        Raises:
            ContextError: `context-destroyed`; `bad-bid` if it is not a number of 0 or more.
        """
        if not 0 <= bid < float("inf"):
            raise faults.bad_bid(bid)
        self._contexts.get(context).bid = bid
        if self._stepper.residency.is_waited_for:
            self._loop.wake()

    # Saved contexts --------------------------------------------------------------------------------------------------

    async def save(self, context: ContextId, *, user: str, name: str, overwrite: bool = True) -> None:
        """Save a context under a name; it is on disk when this returns, and opens again in a later process.

        Raises:
            ContextError: `context-destroyed`; `snapshot-exists` if the name is taken and `overwrite` is False;
                `snapshot-not-saved` if the file cannot be written.
        """
        source = self._contexts.get(context)

        def act() -> Context:
            frozen = self._contexts.fork(source, owner=None)
            self._contexts.trim(frozen, keep=0)
            return frozen

        frozen = await self._loop.when_quiet(source, act)
        await self._snapshots.save(frozen, user=user, name=name, overwrite=overwrite)

    async def snapshot(self, context: ContextId, *, user: str) -> str:
        """Save a context under a fresh name, which is returned."""
        name = f"__snapshot_{uuid.uuid4().hex}"
        await self.save(context, user=user, name=name, overwrite=False)
        return name

    async def open(self, *, user: str, name: str, owner: str, salt: str = "") -> ContextId:
        """Make a context of a saved one, which stays as it is.

        Raises:
            ContextError: `snapshot-not-found`, `snapshot-unusable`, `out-of-pages`.
        """
        return self._seat(await self._snapshots.open(user=user, name=name, owner=owner, salt=salt), owner)

    async def take(self, *, user: str, name: str, owner: str, salt: str = "") -> ContextId:
        """Make a context of a saved one and delete the latter; errors as in `open`."""
        context = await self.open(user=user, name=name, owner=owner, salt=salt)
        await self.delete(user=user, name=name)
        return context

    async def delete(self, *, user: str, name: str) -> None:
        """Delete a saved context.

        Raises:
            ContextError: `snapshot-not-found`.
        """
        await self._snapshots.delete(user=user, name=name)
        self._loop.wake()

    async def list_snapshots(self, user: str) -> list[str]:
        """The names under which a user has saved contexts, in alphabetical order."""
        return await self._snapshots.names(user)

    # Passes ----------------------------------------------------------------------------------------------------------

    async def forward(self, request: ForwardRequest) -> ForwardResult:
        """Run a forward pass (see `submit`)."""
        return await self.submit(request)

    def submit(self, request: ForwardRequest) -> asyncio.Future[ForwardResult]:
        """Ask for a forward pass; passes of one context run in the order of asking.

        If the pass fails, or the future is cancelled before its last step is over, none of its tokens are in the
        context.

        Raises:
            RequestError: the request is not well formed; the future raises it if a readout or the device failed.
            ContextError: `context-destroyed`, which the future raises too; so it does `no-room`, `out-of-pages`.
            ProcessError: `token-budget-spent`, here or by the future.
        """
        check_forward(request, self._info)
        context = self._contexts.get(request.context)
        self.owners.budgets.check(context.owner or "")
        future: asyncio.Future[ForwardResult] = asyncio.get_running_loop().create_future()
        item = Pass(context, request, sequence=self._loop.ticket(), future=future)
        self._stepper.submit(item)
        self._loop.wake()

        def settled(future: asyncio.Future[ForwardResult]) -> None:
            if future.cancelled():
                self._stepper.abandon(item)
                self._loop.wake()
            else:
                future.exception()  # who asked may look at it or not; nobody else warns of it

        future.add_done_callback(settled)
        return future

    def decode(self, request: DecodeRequest, sink: TokenSink) -> DecodeHandle:
        """Begin a whole generation; the sink hears of its tokens and its end.

        Raises:
            RequestError: the request is not well formed.
            ContextError: `context-destroyed`.
            ProcessError: `token-budget-spent`; the sink hears of it if it is spent later.
        """
        check_decode(request, self._info)
        context = self._contexts.get(request.context)
        self.owners.budgets.check(context.owner or "")
        sequence = self._loop.ticket()
        if request.adapter is not None:
            self._contexts.keep_adapter(context, request.adapter.number)
        timed = TimedSink(sink, self._stepper.stats.timings, time.monotonic)
        self._stepper.stats.timings.prompt_tokens += len(request.token_ids)
        item = Pass(context, request, sequence=sequence, decode=Decode(context, request, timed, sequence=sequence))
        self._stepper.submit(item)
        self._loop.wake()

        def cancel() -> None:
            timed.cancelled()
            self._stepper.abandon(item)
            self._loop.wake()

        return DecodeHandle(cancel)

    # Observation -----------------------------------------------------------------------------------------------------

    def ledger(self) -> Ledger:
        """Count the device's pages by where they are."""
        return replace(self._contexts.ledger(), stashed=self._stepper.residency.suspension.num_stashed)

    def stats(self) -> Stats:
        """What was done since the start."""
        return self._stepper.stats

    @property
    def busy_s(self) -> float:
        """How long the step in progress has taken; 0 while there is nothing to do."""
        return self._loop.heartbeat.busy_s

    def load(self) -> Load:
        """What runs and what waits now."""
        running, waiting = self._stepper.load()
        return Load(running=running, waiting=waiting)

    def check(self) -> None:
        """Verify every invariant of pages, contexts and credits, and that nobody who waits is forgotten.

        Raises:
            RuntimeError: something does not add up; this is a bug of the scheduler.
        """
        residency = self._stepper.residency
        self._contexts.check(borrowed=[*self._stepper.borrowed_pages(), residency.fetching.pages])
        residency.suspension.check()
        residency.check(waited_for=[*(one.context for one in self._stepper.reservations), *self._loop.waited_for()])
        self.owners.market.check()

    async def run(self) -> None:
        """Run steps until cancelled; what waits then fails with `shutting-down`."""
        await self._loop.run()

    def _seat(self, context: Context, owner: str) -> ContextId:
        """Let a new context stand with its owner."""
        context.seniority = self.owners.market.join(owner)
        return context.id

    async def _reserve(self, context: Context, num_pages: int) -> None:
        await self._loop.reserve(context, num_pages)
