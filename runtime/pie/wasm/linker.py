"""Links a component: finds what it imports in the host's offer and hands it to wasmtime.

A component's type does not say which interface owns a resource that several of them mention, so the host's declarations
do (`Imports.resource`); an alias is recognised because its type equals the owner's.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from ctypes import c_void_p
from dataclasses import dataclass
from typing import Any

from wasmtime.component import Component, Linker, ResourceType

from pie.errors import ProgramError
from pie.wasm.codec import ResourceKind, Signature, TypeCompiler
from pie.wasm.externs import imports_of
from pie.wasm.hostcalls import Caller, HostCalls
from pie.wasm.imports import HostFunction, Imports
from pie.wasm.library import (
    address_of,
    component_types,
    linker_add_func,
    linker_add_func_async,
    linker_add_resource,
    take_error,
)

__all__ = ["Linked", "link"]


@dataclass(frozen=True, slots=True, eq=False)
class Linked:
    """A component's imports, defined.

    Attributes:
        linker: wasmtime's linker.
        compiler: compiles types of the component.
        functions: the imported functions' types by interface and name.
        calls: the host functions; they must live as long as the linker.
    """

    linker: Linker
    compiler: TypeCompiler
    functions: dict[str, dict[str, Any]]
    calls: HostCalls


def link(native: Any, component: Component, imports: Imports, callers: Mapping[int, Caller]) -> Linked:
    """Define all imports of a component.

    Args:
        native: wasmtime's engine.
        component: what to link.
        imports: what the host offers.
        callers: the engine's open guests.

    Raises:
        ProgramError: `missing-import` names everything that the host does not offer; `program-too-large`.
    """
    wanted = _Wanted(native, component, imports)
    wanted.require_all()
    compiler = TypeCompiler(wanted.find_resource)
    calls = HostCalls(callers)
    linker = Linker(native)
    with linker.root() as root:
        for interface, functions in wanted.functions.items():
            if not interface:
                _define(root, interface, functions, (imports, compiler, calls))
                continue
            with root.add_instance(interface) as instance:
                for name, kind in wanted.resources.get(interface, {}).items():
                    _define_resource(instance, name, kind, calls)
                _define(instance, interface, functions, (imports, compiler, calls))
    return Linked(linker, compiler, wanted.functions, calls)


class _Wanted:
    """What a component imports: functions by interface, and the resources that the host owns."""

    def __init__(self, native: Any, component: Component, imports: Imports) -> None:
        self._imports = imports
        self.functions: dict[str, dict[str, Any]] = {}
        self.resources: dict[str, dict[str, ResourceKind]] = {}
        self._owned: list[tuple[Any, ResourceKind]] = []
        self._unowned: list[tuple[str, str, Any]] = []
        for name, (item, inner) in imports_of(component, native).items():
            if isinstance(item, component_types.FuncType):
                self.functions.setdefault("", {})[name] = item
            elif isinstance(item, component_types.ComponentInstanceType):
                self._add_interface(name, inner)

    def _add_interface(self, interface: str, externs: Mapping[str, Any]) -> None:
        functions = self.functions.setdefault(interface, {})
        for name, item in externs.items():
            if isinstance(item, component_types.FuncType):
                functions[name] = item
            elif isinstance(item, ResourceType):
                kind = self._imports.find_resource(interface, name)
                if kind is None:
                    self._unowned.append((interface, name, item))
                else:
                    self.resources.setdefault(interface, {})[name] = kind
                    self._owned.append((item, kind))

    def find_resource(self, ty: Any) -> ResourceKind | None:
        """The host's resource behind a type, by whatever name the component reached it."""
        return next((kind for owned, kind in self._owned if owned == ty), None)

    def require_all(self) -> None:
        """Raise ProgramError(`missing-import`) if the host lacks something."""
        missing = [
            f"{interface}#{name}" if interface else name
            for interface, functions in self.functions.items()
            for name in functions
            if self._imports.find_function(interface, name) is None
        ]
        missing += [f"{interface}.{name}" for interface, name, ty in self._unowned if self.find_resource(ty) is None]
        if missing:
            more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
            raise ProgramError(
                "missing-import",
                f"the program imports {', '.join(missing[:8])}{more}, which is not offered here",
                remedy="Build it against the interfaces in wit/, or update the server.",
            )


def _define(
    instance: Any, interface: str, functions: Mapping[str, Any], context: tuple[Imports, TypeCompiler, HostCalls]
) -> None:
    imports, compiler, calls = context
    for name, function_type in functions.items():
        function = imports.find_function(interface, name)
        if function is not None:  # `require_all` has seen to it
            _define_function(instance, name, function, (Signature(function_type, compiler), calls))


def _define_function(instance: Any, name: str, function: HostFunction, made: tuple[Signature, HostCalls]) -> None:
    signature, calls = made
    number = calls.add(function, signature)
    encoded = name.encode()
    if function.any_thread:
        add, callback = linker_add_func, calls.on_call_at_once
    else:
        add, callback = linker_add_func_async, calls.on_call
    _check(add(address_of(instance), encoded, len(encoded), ctypes.cast(callback, c_void_p), number, None))


def _define_resource(instance: Any, name: str, kind: ResourceKind, calls: HostCalls) -> None:
    encoded = name.encode()
    host_type = ResourceType.host(kind.type_id)  # must outlive the call, so it needs a name
    destructor = ctypes.cast(calls.on_drop, c_void_p)
    _check(
        linker_add_resource(
            address_of(instance), encoded, len(encoded), address_of(host_type), destructor, kind.type_id, None
        )
    )


def _check(error: int | None) -> None:
    if error:
        raise ProgramError("link-failed", take_error(error), remedy="Build the program against the interfaces in wit/.")
