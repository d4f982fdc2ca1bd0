"""The names that a component imports and exports, in bounded numbers.

wasmtime gives the n-th of them by counting from the first, so a list of 90,000, which fits into 1 MB of component,
would hold the event loop for minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wasmtime.component import Component

from pie.errors import ProgramError
from pie.wasm.library import component_types, ffi

__all__ = ["MAX_NAMES", "Externs", "exports_of", "imports_of"]

MAX_NAMES = 2000
"""Of imports, those inside of interfaces included, and as many of exports; our whole contract has some 300."""

Externs = dict[str, tuple[Any, Mapping[str, Any]]]
"""Name -> its type, and for an interface the types of what is in it by name."""


def imports_of(component: Component, native: Any) -> Externs:
    """What a component imports.

    Raises:
        ProgramError: `program-too-large` if that is more than may be.
    """
    ty = component.type
    num = ffi.wasmtime_component_type_import_count(ty.ptr(), native.ptr())
    return _read(num, lambda: ty.imports(native), native, "imports")


def exports_of(component: Component, native: Any) -> Externs:
    """What a component exports; raises as `imports_of`."""
    ty = component.type
    num = ffi.wasmtime_component_type_export_count(ty.ptr(), native.ptr())
    return _read(num, lambda: ty.exports(native), native, "exports")


def _read(num: int, names: Callable[[], Mapping[str, Any]], native: Any, what: str) -> Externs:
    total = num
    _check(total, what)
    externs: Externs = {}
    for name, extern in names().items():
        item, inner = extern.ty, {}
        if isinstance(item, component_types.ComponentInstanceType):
            total += ffi.wasmtime_component_instance_type_export_count(item.ptr(), native.ptr())
            _check(total, what)
            inner = {inner_name: inner_extern.ty for inner_name, inner_extern in item.exports(native).items()}
        externs[name] = (item, inner)
    return externs


def _check(total: int, what: str) -> None:
    if total > MAX_NAMES:
        raise ProgramError(
            "program-too-large",
            f"the program {what} at least {total} names, more than {MAX_NAMES}",
            remedy="Build it against the interfaces in wit/.",
        )
