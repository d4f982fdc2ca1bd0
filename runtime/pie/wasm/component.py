"""A program ready to run: its compiled component linked to what the host offers. Immutable, shared by its guests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wasmtime.component import Component

from pie.errors import ProgramError
from pie.wasm.codec import Signature
from pie.wasm.externs import Externs, exports_of
from pie.wasm.guest import Guest
from pie.wasm.imports import Imports
from pie.wasm.library import address_of, component_types
from pie.wasm.limits import Limits
from pie.wasm.linker import link
from pie.wasm.wasi import WasiEnvironment
from pie.wasm.wit import describe_function

if TYPE_CHECKING:
    from pie.wasm.engine import WasmEngine

__all__ = ["Export", "Program"]


@dataclass(frozen=True, slots=True)
class Export:
    """A function that a program exports.

    Attributes:
        path: (interface, function) or (function,).
        signature: its converters.
        index: address of wasmtime's index of it.
    """

    path: tuple[str, ...]
    signature: Signature
    index: int

    @property
    def name(self) -> str:
        """`interface#function`."""
        return "#".join(self.path)


class Program:
    """A linked component; made by `WasmEngine.load`.

    Attributes:
        engine: the engine that it was compiled for.
        component_address, linker_address: addresses of the C objects.
    """

    def __init__(self, engine: WasmEngine, native: Any, component: Component, imports: Imports) -> None:
        """Link a component; raises ProgramError(`missing-import`, `unsupported-type`, `program-too-large`)."""
        self.engine = engine
        self._component = component
        self._native = native
        self._linked = link(native, component, imports, engine.guests)
        self.component_address = address_of(component)
        self.linker_address = address_of(self._linked.linker)
        self._function_types = dict(_functions(exports_of(component, native)))
        self._exports: dict[tuple[str, ...], Export] = {}
        self._indexes: list[Any] = []

    @property
    def exports(self) -> tuple[tuple[str, ...], ...]:
        """The functions it exports, as (interface, function) or (function,)."""
        return tuple(self._function_types)

    @property
    def imports(self) -> tuple[str, ...]:
        """The interfaces it imports, with their versions; the empty string stands for functions of the world."""
        return tuple(self._linked.functions)

    def imported(self, interface: str) -> dict[str, str]:
        """The functions it imports from an interface, each with its type in WIT's notation, names resolved."""
        return {name: describe_function(ty) for name, ty in self._linked.functions[interface].items()}

    def export(self, path: tuple[str, ...]) -> Export:
        """The exported function at a path; raises ProgramError(`missing-export`, `unsupported-type`)."""
        export = self._exports.get(path)
        if export is None:
            export = self._exports[path] = self._make_export(path)
        return export

    async def instantiate(
        self, *, data: Any = None, wasi: WasiEnvironment | None = None, limits: Limits | None = None
    ) -> Guest:
        """Make a guest, which the caller closes.

        Args:
            data: the host's own, found again as `guest.data`.
            wasi: what the program sees of the outside; by default nothing.
            limits: what it may use; by default as `Limits()`.

        Raises:
            GuestEnd: its start trapped, or its memory does not fit the limit.
        """
        guest = Guest(self, data, WasiEnvironment() if wasi is None else wasi, Limits() if limits is None else limits)
        try:
            await guest.instantiate()
        except BaseException:
            guest.close()
            raise
        return guest

    def _make_export(self, path: tuple[str, ...]) -> Export:
        function_type = self._function_types.get(path)
        if function_type is None:
            have = ", ".join("#".join(other) for other in self._function_types) or "nothing"
            raise ProgramError(
                "missing-export",
                f"the program does not export {'#'.join(path)} (it exports {have})",
                remedy="Build it against the world in wit/.",
            )
        index = None
        for part in path:
            index = self._component.get_export_index(part, index)
            self._indexes.append(index)  # the C object must outlive its address
        return Export(path, Signature(function_type, self._linked.compiler), address_of(index))


def _functions(externs: Externs) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, (item, inner) in externs.items():
        if isinstance(item, component_types.FuncType):
            yield (name,), item
        for inner_name, inner_item in inner.items():
            if isinstance(inner_item, component_types.FuncType):
                yield (name, inner_name), inner_item
