"""The wasm engine of a process: its configuration, compile cache, epoch clock, CPU workers and open guests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import wasmtime
from wasmtime.component import Component

from pie.errors import ProgramError, unreadable
from pie.wasm.cache import CompileCache
from pie.wasm.codec import check_layout
from pie.wasm.compiler import CompileLimits, compile_in_child
from pie.wasm.component import Program
from pie.wasm.configuration import compile_component, fingerprint, make_engine, not_a_component
from pie.wasm.fiber import Machinery
from pie.wasm.imports import Imports
from pie.wasm.library import address_of
from pie.wasm.shared_work import SharedWork
from pie.wasm.ticker import Ticker
from pie.wasm.turns import Turns
from pie.wasm.workers import Workers

if TYPE_CHECKING:
    from pie.wasm.guest import Guest

__all__ = ["Wasm", "WasmEngine"]

Wasm = bytes | Path | str
"""A component: its bytes, the path of its file, or its text (WAT) in a `str`."""

MAX_COMPILING = 2
"""Processes that compile, at a time; further components wait."""

_COMPONENT_HEADER = b"\0asm\x0d\0\x01\0"
_MODULE_HEADER = b"\0asm\x01\0\0\0"


class WasmEngine:
    """Compiles and links programs; shared by all programs and guests of a process. Close it on the loop's thread.

    Args:
        cache_dir: where compiled components are kept; owner-only.
        tick_s: length of a time slice in seconds.
        cpu_workers: threads for guests that compute for long; 0 leaves them on the event loop.

    Attributes:
        guests: the open guests by the address of their store context.
        machinery: what their fibers share.
        address: address of the C engine.
    """

    def __init__(self, cache_dir: Path, *, tick_s: float = 0.001, cpu_workers: int = 2) -> None:
        check_layout()
        self._engine = make_engine()
        self._cache = CompileCache(cache_dir, fingerprint())
        self._compiling: dict[str, SharedWork] = {}
        self._room = asyncio.Semaphore(MAX_COMPILING)
        self.guests: dict[int, Guest] = {}
        self.address = address_of(self._engine)
        # The thread must keep the engine alive: a bound method does.
        ticker = Ticker(self._engine.increment_epoch, tick_s)
        self.machinery = Machinery(ticker, Turns(), Workers(cpu_workers), int(tick_s * 1e9))

    def __enter__(self) -> WasmEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all guests and stop all threads; may be called more than once."""
        for shared in self._compiling.values():
            shared.cancel()
        self.machinery.workers.close()
        for guest in list(self.guests.values()):
            guest.fiber.settle()
            guest.close()
        self.machinery.ticker.close()

    def is_compiled(self, wasm: Wasm) -> bool:
        """Whether `load` will find the component in the cache, and so take milliseconds instead of seconds."""
        return self._cache.has(self._cache.key(_binary(wasm)))

    async def compile(
        self, wasm: Wasm, limits: CompileLimits | None = None, *, starting: Callable[[], object] = lambda: None
    ) -> None:
        """Bring a component into the cache, in a process of its own: the event loop stays free and the host safe.

        For components from outside. Those that come in at the same moment are compiled once; the process is killed
        when nobody waits for it any more.

        Args:
            wasm: the component.
            limits: what compiling it may take; None goes by its size.
            starting: called if it is not in the cache.

        Raises:
            ProgramError: `not-a-component`, `program-not-found`, `io-error`, `compile-timeout`, `compile-limit`,
                `compile-failed`.
        """
        binary, key = await asyncio.to_thread(self._read, wasm)
        await self._compile(binary, key, limits, starting)

    async def open(self, wasm: Wasm, imports: Imports, *, starting: Callable[[], object] = lambda: None) -> Program:
        """Link a component from outside; if it is not in the cache it is compiled, as `compile` does.

        Raises:
            ProgramError: as `compile`, and `missing-import`, `unsupported-type`, `link-failed`.
        """
        binary, key = await asyncio.to_thread(self._read, wasm)
        for _ in range(2):  # the first time, what is in the cache may turn out to be damaged
            await self._compile(binary, key, None, starting)
            component = await asyncio.to_thread(self._cached, key)
            if component is not None:
                return Program(self, self._engine, component, imports)
        raise ProgramError(
            "compile-failed",
            f"what was compiled does not stay whole in {self._cache.folder}",
            remedy="Check that disk, or choose another cache folder.",
        )

    async def _compile(
        self, binary: bytes, key: str, limits: CompileLimits | None, starting: Callable[[], object]
    ) -> None:
        if self._cache.has(key):
            return
        shared = self._compiling.get(key)
        if shared is None or shared.is_over:
            starting()
            shared = SharedWork(self._compile_in_turn(binary, key, limits or CompileLimits.for_size(len(binary))))
            self._compiling[key] = shared
        try:
            await shared.wait()
        finally:
            if shared.is_over and self._compiling.get(key) is shared:
                del self._compiling[key]

    async def _compile_in_turn(self, binary: bytes, key: str, limits: CompileLimits) -> None:
        async with self._room:
            await compile_in_child(binary, self._cache.folder, key, limits)

    def load(self, wasm: Wasm, imports: Imports) -> Program:
        """Compile a component within this process, or take it from the cache, and link it.

        For components of our own: nothing bounds what hostile ones take. Those from outside are for `open`.

        Raises:
            ProgramError: `not-a-component`, `missing-import`, `unsupported-type`, `program-not-found`, `io-error`.
        """
        binary = _binary(wasm)
        return Program(self, self._engine, self._component(binary, self._cache.key(binary)), imports)

    def _read(self, wasm: Wasm) -> tuple[bytes, str]:
        binary = _binary(wasm)
        return binary, self._cache.key(binary)

    def _component(self, binary: bytes, key: str) -> Component:
        component = self._cached(key)
        if component is None:
            component = compile_component(self._engine, binary)
            self._cache.store(key, bytes(component.serialize()))
        return component

    def _cached(self, key: str) -> Component | None:
        path = self._cache.find(key)
        if path is None:
            return None
        try:
            return Component.deserialize_file(self._engine, str(path))
        except wasmtime.WasmtimeError:
            self._cache.discard(path)
            return None


def _binary(wasm: Wasm) -> bytes:
    if isinstance(wasm, Path):
        try:
            return _checked(wasm.read_bytes())
        except OSError as error:
            raise unreadable(wasm, error) from error
    if isinstance(wasm, str):
        try:
            return _checked(bytes(wasmtime.wat2wasm(wasm)))
        except wasmtime.WasmtimeError as error:
            raise not_a_component(str(error).strip()) from error
    return _checked(wasm)


def _checked(wasm: bytes) -> bytes:
    if wasm.startswith(_MODULE_HEADER):
        raise not_a_component("it is a core module")
    if not wasm.startswith(_COMPONENT_HEADER):
        raise not_a_component(f"it begins with {wasm[:8].hex(' ') or 'nothing'}")
    return wasm
