"""The loop that runs the device, and who waits for it: for pages, for a step to be over, for something to do.

A context that a step in flight extends is *pinned*; what concerns its pages is done right after the step. Nothing waits
for ever: when pages run short contexts are suspended and restored, and if that does not help the newest is refused.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pie.errors import DeviceOutOfMemory, PieError
from pie.forward import Device, FinishReason, StepResult, TokenSink
from pie.scheduler import faults
from pie.scheduler.context import Context
from pie.scheduler.contexts import ContextTable
from pie.scheduler.flight import Flight
from pie.scheduler.gathering import Gathering
from pie.scheduler.heartbeat import Heartbeat
from pie.scheduler.market import Market
from pie.scheduler.open_run import OpenRun
from pie.scheduler.plan import Plan
from pie.scheduler.relief import Relief
from pie.scheduler.reservations import Reservation
from pie.scheduler.stepper import Stepper

__all__ = ["StepLoop"]

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

# Somebody who was answered needs a moment before he gives pages or memory back.
_GRACE_S = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class _Deferred:
    """Something to do with a context once no step extends it."""

    context: Context
    act: Callable[[], None]
    refuse: Callable[[PieError], None]


class StepLoop:
    """Runs one step after another, and lets others change contexts between steps.

    Attributes:
        heartbeat: beats with each turn.
    """

    def __init__(  # noqa: PLR0913 - the parts that it drives, most by keyword
        self,
        device: Device,
        contexts: ContextTable,
        stepper: Stepper,
        market: Market,
        *,
        page_timeout_s: float,
        gathering: Gathering,
        shed: Callable[[], bool],
    ) -> None:
        """Prepare; nothing runs before `run`.

        Args:
            device: where steps run.
            contexts: whose pages are given out.
            stepper: decides and does the steps.
            market: settles the rent of each step.
            page_timeout_s: how long somebody waits for pages while nothing runs and others hold them idly.
            gathering: how long a step waits for more requests.
            shed: gives back pages that are held for convenience only; whether there were any.
        """
        self.heartbeat = Heartbeat()
        self._device = device
        self._contexts = contexts
        self._stepper = stepper
        self._page_timeout_s = page_timeout_s
        self._shed = shed
        self._gathering = gathering
        self._landed_s = 0.0
        self._market = market
        self._relief = Relief(stepper)
        self._residency = stepper.residency
        self._deferred: list[_Deferred] = []
        self._wake = asyncio.Event()
        self._sequence = 0
        self._closed = False
        self._open_run: OpenRun | None = None

    async def run(self) -> None:
        """Run steps until cancelled; what waits then fails with `shutting-down`."""
        try:
            while True:
                self.heartbeat.turn()
                self._wake.clear()
                decided = await self._decide()
                if await self._waits_for_more(decided):
                    continue
                flight = self._stepper.apply(decided)
                self._tell()
                if flight is not None:
                    await self._fly(flight)
                elif not decided.changes:
                    await self._rest()
        finally:
            self._closed = True
            self.heartbeat.rest()
            self._stepper.fail_all(faults.shutting_down())
            deferred, self._deferred = self._deferred, []
            for waiting in deferred:
                waiting.refuse(faults.shutting_down())
            self._tell()

    def waited_for(self) -> list[Context]:
        """The contexts with which somebody wants to do something once no step extends them."""
        return [deferred.context for deferred in self._deferred]

    def wake(self) -> None:
        """Say that there may be something to do."""
        self._wake.set()
        if self._open_run is not None:
            self._open_run.want()

    def ticket(self) -> int:
        """The next number in the order of asking.

        Raises:
            RequestError: `shutting-down` if the loop has ended.
        """
        if self._closed:
            raise faults.shutting_down()
        self._sequence += 1
        return self._sequence

    async def reserve(self, context: Context, num_pages: int) -> None:
        """Add working pages to a context, waiting until there are so many.

        Raises:
            ContextError: `out-of-pages` if there never can be so many, or nobody gives any back.
        """
        pool, total = self._contexts.pool, self._contexts.num_pages
        if context.num_held_pages + num_pages > total:
            raise faults.out_of_pages(wanted=context.num_held_pages + num_pages, free=total, total=total)
        ticket, waiting = self.ticket(), self._stepper.reservations
        others_wait = bool(waiting) or self._residency.is_waited_for or self._residency.has_moves
        can_be_had = num_pages <= pool.num_available and not others_wait
        if (can_be_had or not num_pages) and not self._stepper.is_pinned(context):
            self._stepper.working.grant(context, num_pages)
            return
        reservation = Reservation(ticket, context, num_pages, asyncio.get_running_loop().create_future())
        waiting.add(reservation)
        self._residency.want(context)
        self.wake()
        try:
            await reservation.future
        finally:
            waiting.drop(reservation)

    async def when_quiet(self, context: Context, act: Callable[[], _Result]) -> _Result:
        """Do something with a context as soon as it is on the device and no step extends it, its tokens all known.

        Raises:
            PieError: whatever `act` raises; `context-destroyed` if the context ended before.
        """
        if not self._stepper.is_pinned(context):
            return self._act(context, act)
        future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()

        def act_then() -> None:
            if future.done():
                return
            try:
                future.set_result(self._act(context, act))
            except PieError as error:
                future.set_exception(error)

        def refuse(error: PieError) -> None:
            if not future.done():
                future.set_exception(error)

        self._deferred.append(_Deferred(context, act_then, refuse))
        self._residency.want(context)
        self.wake()
        return await future

    def soon(self, context: Context, act: Callable[[], None]) -> None:
        """Do something with a context as soon as no step extends it; nobody waits for it."""
        if self._stepper.is_pinned(context):
            self._deferred.append(_Deferred(context, lambda: self._act(context, act), lambda error: None))
            self._residency.want(context)
            self.wake()
        else:
            self._act(context, act)

    def destroy(self, context: Context) -> None:
        """End a context with everything that waits for it."""
        error = faults.context_gone(context.id)
        for deferred in [deferred for deferred in self._deferred if deferred.context is context]:
            self._deferred.remove(deferred)
            deferred.refuse(error)
        self._stepper.destroy(context)
        self.wake()

    def _act(self, context: Context, act: Callable[[], _Result]) -> _Result:
        self._stepper.working.settle(context)
        context.used_s = time.monotonic()
        result = act()
        self._stepper.working.refresh(context)
        self.wake()
        return result

    async def _decide(self) -> Plan:
        """The plan of the next step, when who must leave has left and what comes back from host memory is there."""
        decided, has_fetched = self._stepper.plan(), False
        if self._relief.is_needed(decided):
            decided = self._relief.make_way(decided)
        while True:
            # Once in a step is enough, if there is one: those who run must not wait for all who come.
            fetches = () if has_fetched and decided.changes else decided.fetches
            if not fetches and not self._residency.has_moves:
                return decided
            self._residency.fetching.begin(fetches)
            has_fetched = has_fetched or bool(fetches)
            self.heartbeat.turn()
            await self._move()
            decided = self._stepper.plan()

    async def _move(self) -> None:
        """Let the device do the copies of contexts and prefixes that leave and come back."""
        outward, homeward = self._contexts.host.take_moves()
        failed = bool(outward or homeward)
        try:
            if failed:
                await self._device.move_pages(outward, homeward)
            failed = False
        except Exception as error:  # noqa: BLE001 - what a device raises costs time, not content: it is replayed
            _log.warning("the device failed to copy %d pages", len(outward) + len(homeward), exc_info=error)
        finally:
            self._residency.fetching.finish(failed=failed)
        for context in self._residency.moved(outward, failed=failed):
            self.destroy(context)
        self._act_deferred()

    def _act_deferred(self) -> None:
        waiting, self._deferred = self._deferred, []
        for deferred in waiting:
            if self._stepper.is_pinned(deferred.context):
                self._residency.want(deferred.context)
                self._deferred.append(deferred)
            else:
                deferred.act()

    async def _waits_for_more(self, decided: Plan) -> bool:
        """Whether the step that was decided is put off, and something new has come or the wait is over."""
        num_requests = decided.num_rows + len(decided.chunks)
        wait_s = self._gathering.wait_s(num_requests, time.monotonic() - self._landed_s)
        if num_requests and wait_s > 0:
            self._wake.clear()
            await self._is_woken(wait_s)
        return bool(num_requests) and wait_s > 0

    async def _fly(self, flight: Flight) -> None:
        """Let the device do a step; one that does not fit into its memory is halved until it does."""
        self._gathering.began(flight.plan.num_rows + len(flight.chunks))
        if self._residency.has_moves:  # the step writes over evicted prefixes
            await self._move()
        while True:
            begun = time.perf_counter()
            try:
                result = await self._step(flight)
            except DeviceOutOfMemory as error:
                smaller = await self._make_fit(flight, error)
                if smaller is None:
                    break
                flight = smaller
            except Exception as error:  # noqa: BLE001 - what a device raises ends the requests of its step, not the loop
                _log.warning("the device failed in a step of %d tokens", flight.batch.num_rows, exc_info=error)
                self._stepper.fail(flight, error if isinstance(error, PieError) else faults.step_failed(error))
                break
            else:
                self._deliver(flight, result, seconds=time.perf_counter() - begun)
                break
        self._act_deferred()
        self._tell()
        # Whoever was answered runs now, so that its next pass is part of the next step.
        await asyncio.sleep(0)

    async def _step(self, flight: Flight) -> StepResult:
        """What the device makes of a step; what an open run draws is told meanwhile, and it lands if it is wanted."""
        run = flight.open_run
        if run is None:
            return await self._device.step(flight.batch)
        self._open_run = run
        step = asyncio.ensure_future(self._device.step(flight.batch, run.progress))
        try:
            while not step.done():
                await asyncio.wait((step,), timeout=run.pause_s(self._stepper.stats.step_s or 0.0))
                if self._wake.is_set():
                    run.want()
                if run.has_moved:
                    self.heartbeat.turn()
                self._tell()
            return step.result()
        finally:
            self._open_run = None
            run.land()
            step.cancel()

    async def _make_fit(self, flight: Flight, error: DeviceOutOfMemory) -> Flight | None:
        """What to try in place of a step that does not fit: half of it, or the same when who asked last has failed."""
        if any(flight.told or ()):  # other tokens could come, and these have been heard
            self._stepper.fail(flight, error)
            return None
        smaller = self._stepper.split(flight)
        if smaller is not None:
            _log.warning("a step does not fit into memory: %d tokens are tried", smaller.batch.num_rows)
            return smaller
        _log.warning("not even a single token fits into memory; whoever asked last fails")
        if self._relief.fail_newer(flight, error):
            self._tell()
            await asyncio.sleep(_GRACE_S)  # its program may end, and give memory back
            return flight
        self._stepper.fail(flight, error)
        return None

    def _deliver(self, flight: Flight, result: StepResult, *, seconds: float) -> None:
        if self._relief.is_crowded:
            payers, price = self._relief.payers(flight), self._relief.price()
            self._market.tick(payers, price=price, steps=flight.steps_of(result))
        else:
            self._market.tick((), price=0.0)
        self._stepper.deliver(flight, result, seconds=seconds)
        self._gathering.ended(seconds if flight.open_run is None else seconds / flight.steps_of(result))
        self._landed_s = time.monotonic()

    async def _rest(self) -> None:
        """Wait until something changes; if somebody waits for pages, contexts in which nothing is to be done leave."""
        self._wake.clear()
        self.heartbeat.rest()
        if not self._relief.somebody_waits() and not self._deferred:
            await self._wake.wait()
            return
        if self._shed() or await self._is_woken(_GRACE_S) or self._relief.unblock():
            return
        if not await self._is_woken(self._page_timeout_s):
            self._refuse_newest()

    async def _is_woken(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _refuse_newest(self) -> None:
        if not self._relief.refuse_newest() and self._deferred:
            deferred, total = self._deferred.pop(), self._contexts.num_pages
            free = self._contexts.pool.num_available
            deferred.refuse(faults.out_of_pages(wanted=deferred.context.num_pages, free=free, total=total))

    def _tell(self) -> None:
        """Let sinks hear what happened; one that raises ends its own decode."""
        while notes := self._stepper.take_notes():
            for decode, token_ids, end in notes:
                if decode.cancelled:
                    continue
                try:
                    if token_ids:
                        decode.sink.tokens(token_ids)
                    if end is not None and not decode.cancelled:
                        _tell_end(decode.sink, end)
                except Exception:  # noqa: BLE001 - a sink is foreign code: it ends its own decode, nothing else
                    _log.exception("the receiver of a decode's tokens failed; the decode ends")
                    decode.cancelled = True
                    self._stepper.abandon_decode(decode)
                    self.wake()


def _tell_end(sink: TokenSink, end: FinishReason | PieError) -> None:
    if isinstance(end, PieError):
        sink.failed(end)
    else:
        sink.finished(end)
