"""Drives the call of one guest: polls its fiber, waits for what it waits for, ends it when it must.

wasmtime runs a call on a stack of its own and hands out a future that has to be polled. It offers no waker, so this
module decides when to poll: when the awaitable that the guest waits for is done, and again and again while the guest
computes, one time slice per poll. A guest that has computed for many slices is polled on a worker thread, where wasm
runs without the GIL. Host functions are called on the event loop's thread in either case.

What makes it sound: one poll of a guest at a time, on whatever thread; no Python frame is alive across a switch of
stacks; the memory that a call writes to (`CallMemory`) lives until its future is deleted. Knows nothing of values.
"""

from __future__ import annotations

import asyncio
import ctypes
import struct
import time
from collections.abc import Callable
from ctypes import addressof, c_void_p, create_string_buffer
from dataclasses import dataclass
from typing import Any, Protocol

from pie.errors import ProcessError
from pie.wasm.errors import GuestClosed, explain_trap
from pie.wasm.library import (
    CONTINUATION_SIZE,
    future_delete,
    future_poll,
    set_epoch_deadline,
    take_error,
    yield_at_epoch,
)
from pie.wasm.limits import Meter
from pie.wasm.ticker import Ticker
from pie.wasm.turns import Turns
from pie.wasm.workers import Workers

__all__ = ["CONTINUE_AT_ONCE", "CallMemory", "Fiber", "Machinery"]

_SLICES_BEFORE_WORKER = 10
_SLICES_PER_VISIT = 8

# The continuation of a host call is native code, `atoi` on a one-digit text, so that asking it enters no Python.
_ATOI = ctypes.cast(ctypes.CDLL(None).atoi, c_void_p).value or 0
_CONTINUATION = struct.Struct("<QQQ")
_YES = create_string_buffer(b"1")
CONTINUE_AT_ONCE = create_string_buffer(_CONTINUATION.pack(_ATOI, addressof(_YES), 0), CONTINUATION_SIZE)
"""The continuation of a host call that has been answered already."""


class CallMemory(Protocol):
    """The C memory that a call reads and writes while its future exists."""

    def read(self) -> Any:
        """The result, once the call is done."""
        ...

    def free(self) -> None:
        """Give it back; the future is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Machinery:
    """What all fibers of an engine share."""

    ticker: Ticker
    turns: Turns
    workers: Workers
    tick_ns: int


class Fiber:
    """The calls of one guest, one at a time.

    Attributes:
        meter: what the guest has used.
        on_worker: whether a worker thread drives the guest right now.
        deferred: what a worker leaves to the loop's thread to do when the guest comes back.
        error: why the host ended the guest from inside a host call; it explains the trap that follows.
        continuation: the continuation of a host call that waits, to be copied to where wasmtime asks for it.
    """

    __slots__ = (
        "_abandoned",
        "_call",
        "_context",
        "_flag",
        "_left_alone",
        "_loop",
        "_machinery",
        "_memory",
        "_on_idle",
        "_over",
        "_pending",
        "_polling",
        "_posted",
        "_resume",
        "_slices",
        "_visit_ns",
        "_waiter",
        "continuation",
        "deferred",
        "error",
        "meter",
        "on_worker",
    )

    def __init__(self, machinery: Machinery, meter: Meter, context: int) -> None:
        """Make an idle fiber on the running event loop; `context` is the address of the guest's store context."""
        self._context = context
        yield_at_epoch(context, 1)  # re-arms itself at every yield
        set_epoch_deadline(context, 1)
        self.meter = meter
        self.on_worker = False
        self.deferred: list[Callable[[], None]] = []
        self.error: BaseException | None = None
        self._machinery = machinery
        self._loop = asyncio.get_running_loop()
        self._flag = create_string_buffer(b"0")  # read by native code: lives as long as the fiber
        self.continuation = create_string_buffer(_CONTINUATION.pack(_ATOI, addressof(self._flag), 0), CONTINUATION_SIZE)
        self._call = 0
        self._memory: CallMemory | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._pending: asyncio.Future[object] | None = None
        self._resume: Callable[[asyncio.Future[object]], None] | None = None
        self._posted: Callable[[], bool] | None = None
        self._on_idle: Callable[[], None] | None = None
        self._polling = self._abandoned = self._over = False
        self._slices = 0
        self._visit_ns = 0
        self._left_alone: asyncio.Future[None] | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that drives the guest."""
        return self._loop

    @property
    def suspended(self) -> bool:
        """Whether the guest waits for a host function."""
        return self._pending is not None

    # ------------------------------------------------------------------ for whoever calls the guest

    async def run(self, start: Callable[[int], int], memory: CallMemory) -> Any:
        """Run a call to its end and return what `memory` holds then.

        Cancelling it unwinds the guest's stack and cancels the host function that the guest waits for. However it ends,
        neither that function nor a worker thread is at it any more, so what the guest holds can be given back.

        Args:
            start: begins the call: takes the address for its error, returns that of its future.
            memory: what the call writes to; freed by the fiber.

        Raises:
            GuestEnd: the guest trapped or reached a limit.
            ProcessError: `guest-busy`, `guest-over`: it cannot be called.
        """
        if self._call or self._over:
            memory.free()
            raise _not_callable(over=self._over)
        failure = c_void_p()
        self._memory = _Kept(memory, failure)
        self._waiter = self._loop.create_future()
        self._call = start(addressof(failure))
        self._slices = 0
        self.meter.new_call()
        set_epoch_deadline(self._context, 1)
        try:
            self._poll()
            await self._waiter
            if failure.value:
                raise self._explain(take_error(failure.value))
            result = memory.read()
        except GeneratorExit:  # nobody awaits this any more, so nothing can be awaited here
            self._over = True
            self._drop()
            raise
        except BaseException:
            self._over = True
            await self._unwind()
            raise
        else:
            self._drop()
            return result

    async def _unwind(self) -> None:
        pending = self._pending
        self._drop()
        if isinstance(pending, asyncio.Task):
            await asyncio.wait([pending])
        if self._polling:
            self._left_alone = self._loop.create_future()
            await self._left_alone

    def abort(self, on_idle: Callable[[], None]) -> None:
        """End the guest for good; `on_idle` is called once no thread drives it any more, possibly at once."""
        self._over = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(GuestClosed())
        self._on_idle = on_idle
        self._drop()

    def settle(self) -> None:
        """Take the guest back from workers that are no more."""
        if self.on_worker:
            self._polling = self.on_worker = False
            self._abandoned = True
            self._release()

    # ------------------------------------------------------------------ for host calls

    def wait_for(self, future: asyncio.Future[object], resume: Callable[[asyncio.Future[object]], None]) -> None:
        """Suspend the guest until `future` is done; `resume(future)` then writes the answer, or raises to end it."""
        self._flag[0] = b"0"
        self._slices = 0
        self._pending = future
        self._resume = resume
        future.add_done_callback(self._on_done)

    def post(self, begin: Callable[[], bool]) -> None:
        """Suspend the guest until the loop's thread has called `begin`, which tells whether it answered at once."""
        self._flag[0] = b"0"
        self._posted = begin

    def _on_done(self, future: asyncio.Future[object]) -> None:
        if future is not self._pending:  # the guest is gone; nobody else will look at the outcome
            if not future.cancelled():
                future.exception()
            return
        self._pending = None
        resume, self._resume = self._resume, None
        if self._guarded(resume, future):
            self._go_on()

    def _guarded(self, action: Callable[..., object] | None, *arguments: object) -> bool:
        try:
            if action is not None:
                action(*arguments)
        except BaseException as error:  # noqa: BLE001 - delivered to whoever called the guest
            self._fail(error)
            return False
        return True

    # ------------------------------------------------------------------ polling

    def _poll(self) -> None:
        if not self._call or self._over:
            return
        machinery = self._machinery
        if not machinery.ticker.used:
            machinery.ticker.wake()
        self._polling = True
        started = time.perf_counter_ns()
        done = future_poll(self._call)
        spent = time.perf_counter_ns() - started
        self._polling = False
        # Elapsed time is cheap to read but counts what other processes took; a slice is about a tick.
        limit = self.meter.spend(min(spent, 2 * machinery.tick_ns))
        if self._abandoned:
            self._release()
        elif done:
            self._finish()
        elif limit is not None:
            self._fail(limit)
        elif self._pending is None:
            self._yielded()

    def _yielded(self) -> None:
        self.meter.slice_over()
        if self.meter.spin_slices >= _SLICES_BEFORE_WORKER and self._machinery.workers:
            self._offload()
        else:
            self._slices += 1
            self._machinery.turns.add(self._loop, self._slices, self._poll)

    def _offload(self) -> None:
        if not self._call or self._over:
            return
        self._polling = self.on_worker = True
        self._machinery.workers.submit(self.meter.spin_slices, self._visit)

    def _visit(self) -> None:
        """Drive the guest for a few slices; runs on a worker thread."""
        started = time.thread_time_ns()
        ticker, meter, done = self._machinery.ticker, self.meter, False
        for _ in range(_SLICES_PER_VISIT):
            if self._abandoned:
                break
            if not ticker.used:
                ticker.wake()
            done = future_poll(self._call)
            if done or self._posted is not None:
                break
            meter.slice_over()
        self._visit_ns = time.thread_time_ns() - started
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._come_back, done)

    def _come_back(self, done: bool) -> None:  # noqa: FBT001 - called by the loop with positional arguments
        if not self.on_worker:
            return  # settled meanwhile
        self._polling = self.on_worker = False
        begin, self._posted = self._posted, None
        limit = self.meter.spend(self._visit_ns)
        deferred, self.deferred = self.deferred, []
        tidy = [self._guarded(action) for action in deferred]
        if self._abandoned:
            self._release()
        elif not all(tidy):
            return
        elif done:
            self._finish()
        elif limit is not None:
            self._fail(limit)
        elif begin is None:
            self._offload()
        else:
            self._answer(begin)

    def _answer(self, begin: Callable[[], bool]) -> None:
        try:
            answered = begin()
        except BaseException as error:  # noqa: BLE001 - delivered to whoever called the guest
            self._fail(error)
            return
        if answered:
            self._go_on()

    def _go_on(self) -> None:
        """Let the guest have its answer, and a whole time slice: the one it had ran out while it waited."""
        self._flag[0] = b"1"
        set_epoch_deadline(self._context, 1)
        self._poll()

    # ------------------------------------------------------------------ ends

    def _finish(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: BaseException) -> None:
        self._over = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    def _explain(self, text: str) -> BaseException:
        error, self.error = self.error, None
        return explain_trap(text) if error is None else error

    def _drop(self) -> None:
        pending, self._pending = self._pending, None
        self._resume = None
        if pending is not None:
            pending.cancel()
        if self._polling:
            self._abandoned = True  # whoever returns from the poll lets go
        else:
            self._release()

    def _release(self) -> None:
        call, self._call = self._call, 0
        if call:
            future_delete(call)  # unwinds a suspended stack
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.free()
        on_idle, self._on_idle = self._on_idle, None
        if on_idle is not None:
            on_idle()
        if self._left_alone is not None and not self._left_alone.done():
            self._left_alone.set_result(None)


class _Kept:
    """A call's memory together with the slot of its error."""

    __slots__ = ("_failure", "_memory")

    def __init__(self, memory: CallMemory, failure: c_void_p) -> None:
        self._memory, self._failure = memory, failure

    def read(self) -> Any:
        return self._memory.read()

    def free(self) -> None:
        self._memory.free()


def _not_callable(*, over: bool) -> ProcessError:
    if over:
        return ProcessError("guest-over", "the program has ended and cannot be called again", remedy="Start it again.")
    return ProcessError(
        "guest-busy", "the program is in a call already", remedy="Wait for its end, or start another one."
    )
