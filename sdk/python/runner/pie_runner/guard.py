"""Checks what a program hands to the host, and that what it uses is not released.

The bindings abort the program where a value does not fit its type; here it gets an error that it can catch. What is
expected is read from the annotations of the bindings, once, while the component is made. They tell no sizes of numbers:
all are u32 but the few in `WIDE`.
"""

from __future__ import annotations

import ast
import importlib
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial, wraps
from types import FunctionType, ModuleType
from typing import Any, get_args

from inferlet.errors import Error

__all__ = ["MAX_BYTES", "MAX_ENTRIES", "WIDE", "install"]

MAX_ENTRIES = 2_000_000
"""Of one list. The engine that runs components copies at most 4 Mi entries in one call; a pass has two lists."""
MAX_BYTES = 4_000_000
"""Of one list of bytes, and of one text."""
_UNCHECKED = {"error", "source", "streams", "wait", "wasi_http_types"}
"""Modules that the runner and the event loop alone call, `wait` for every wait of a program."""

WIDE = {
    ("generation", "seed"): "u64",
    ("generation", "counter"): "u64",
    ("generation", "adapter_seed"): "u64",
    ("sampling", "seed"): "u64",
    ("sampling", "counter"): "u64",
    ("zo", "seed"): "s64",
    ("zo", "seeds"): "s64",
}
"""(module, parameter or field) -> type, of all numbers that are no u32."""

Check = Callable[[Any, str], Any]
"""(value, its name) -> the value, as the bindings take it."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """A type of whole numbers: its bounds, and the code that `array` has for it."""

    low: int
    high: int
    code: str


_WHOLE = {
    "u32": _Whole(0, 2**32 - 1, "I"),
    "u64": _Whole(0, 2**64 - 1, "Q"),
    "s64": _Whole(-(2**63), 2**63 - 1, "q"),
}


def install() -> None:
    """Put the checks before every function of the bindings."""
    for name, module in list(sys.modules.items()):
        package, _, short = name.rpartition(".")
        if package == "wit_world.imports" and short not in _UNCHECKED:
            _guard_module(module, short)


def _guard_module(module: ModuleType, short: str) -> None:
    for name, member in list(vars(module).items()):
        if isinstance(member, FunctionType) and member.__module__ == module.__name__:
            setattr(module, name, _guarded(member, _parameters(member, module, short)))
        elif _is_resource(member) and member.__module__ == module.__name__:
            for method, function in list(vars(member).items()):
                _guard_method(member, method, function, partial(_parameters, module=module, short=short))


def _guard_method(cls: type, name: str, function: Any, parameters: Callable[[Any], dict[str, Check]]) -> None:
    if isinstance(function, classmethod):
        setattr(
            cls, name, classmethod(_guarded(function.__func__, {"cls": _anything, **parameters(function.__func__)}))
        )
    elif name == "__exit__":
        setattr(cls, name, _exit_once(function))
    elif name == "__init__":
        setattr(cls, name, _guarded(function, {"self": _anything, **parameters(function)}))
    elif isinstance(function, FunctionType) and not name.startswith("_"):
        setattr(cls, name, _guarded(function, {"self": _resource(cls), **parameters(function)}))


def _guarded(function: Any, checks: dict[str, Check]) -> Any:
    pairs = tuple(checks.items())
    if len(pairs) == 1 and pairs[0][0] == "self":
        check_self = pairs[0][1]

        @wraps(function)
        def call_alone(self: Any) -> Any:
            return function(check_self(self, "it"))

        return call_alone

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        given = [check(value, name) for (name, check), value in zip(pairs, arguments, strict=False)]
        if len(arguments) > len(pairs) or named:
            named = {name: checks.get(name, _anything)(value, name) for name, value in named.items()}
            return function(*given, *arguments[len(pairs) :], **named)
        return function(*given)

    return call


def _exit_once(function: Any) -> Any:
    @wraps(function)
    def leave(self: Any, *exception: Any) -> Any:
        return None if self.handle is None else function(self, *exception)

    return leave


def _parameters(function: Any, module: ModuleType, short: str) -> dict[str, Check]:
    annotations = _annotations(function)
    return {
        name: _compile(ast.parse(text, mode="eval").body, module, (short, name))
        for name, text in annotations.items()
        if name != "return"
    }


def _annotations(thing: Any) -> dict[str, str]:
    # As text: `model.Model` cannot be evaluated where a method is called `model`. The module is one of newer Pythons
    # than the SDK is checked with, and what it imports itself is there while the component is made, but not later.
    annotationlib = importlib.import_module("annotationlib")
    texts: dict[str, str] = annotationlib.get_annotations(thing, format=annotationlib.Format.STRING)
    return texts


def _compile(node: ast.expr, module: ModuleType, place: tuple[str, str]) -> Check:
    """The check of a type as it is written in `module`."""
    match node:
        case ast.Name(id="int"):
            return partial(_number, _WHOLE[WIDE.get(place, "u32")])
        case ast.Name(id=name) if name in _PLAIN:
            return _PLAIN[name]
        case ast.Subscript(value=ast.Name(id="List"), slice=ast.Name(id="int")):
            return partial(_numbers, _WHOLE[WIDE.get(place, "u32")])
        case ast.Subscript(value=ast.Name(id="List"), slice=element):
            return partial(_list, _compile(element, module, place))
        case ast.Subscript(value=ast.Name(id="Optional"), slice=payload):
            return partial(_optional, _compile(payload, module, place))
        case ast.Subscript(value=ast.Name(id="Tuple"), slice=ast.Tuple(elts=elements)):
            return partial(_tuple, tuple(_compile(element, module, place) for element in elements))
        case ast.Attribute(value=ast.Name(id=short), attr=name):
            return _of_class(getattr(sys.modules[f"wit_world.imports.{short}"], name))
        case ast.Name(id=name):
            return _of_class(getattr(module, name))
    raise TypeError(f"{'.'.join(place)} has a type that is not foreseen: {ast.unparse(node)}")


def _of_class(kind: Any) -> Check:
    """The check of a record, a variant, an enum or a resource."""
    cases: tuple[type, ...] = get_args(kind) or (kind,)
    if _is_resource(kind):
        return _resource(kind)
    if issubclass(cases[0], Enum):
        return partial(_instance, cases)
    fields = {case: _fields(case) for case in cases}
    return partial(_record, fields)


def _fields(case: type) -> tuple[tuple[str, Check], ...]:
    module = sys.modules[case.__module__]
    short = case.__module__.rpartition(".")[2]
    return tuple(
        (name, _compile(ast.parse(text, mode="eval").body, module, (short, name)))
        for name, text in _annotations(case).items()
    )


def _is_resource(kind: Any) -> bool:
    return isinstance(kind, type) and "__exit__" in vars(kind)


def _resource(kind: type) -> Check:
    def check(value: Any, name: str) -> Any:
        if not isinstance(value, kind):
            raise _unfit(name, value, f"a {kind.__name__}")
        if getattr(value, "handle", None) is None:  # what the bindings keep of a resource
            raise Error("released", f"a {kind.__name__} is used after its release")
        return value

    return check


def _anything(value: Any, _name: str) -> Any:
    return value


def _number(kind: _Whole, value: Any, name: str) -> Any:
    if not isinstance(value, int) or not kind.low <= value <= kind.high:
        raise Error("bad-number", f"{name} is {_short(value)}, not a whole number from {kind.low} to {kind.high}")
    return value


def _numbers(kind: _Whole, values: Any, name: str) -> list[int]:
    numbers = _sized(values, name, MAX_ENTRIES)
    try:
        array(kind.code, numbers)
    except (OverflowError, TypeError):
        for number in numbers:
            _number(kind, number, name)
        raise
    return numbers


def _float(value: Any, name: str) -> Any:
    if not isinstance(value, int | float):
        raise Error("bad-number", f"{name} is {_short(value)}, not a number")
    return value


def _bool(value: Any, name: str) -> Any:
    return _instance((bool,), value, name)


def _text(value: Any, name: str) -> Any:
    if not isinstance(value, str):
        raise _unfit(name, value, "text")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise Error("bad-argument", f"{name} holds half a surrogate pair, which is no character") from None
    if size > MAX_BYTES:
        raise _too_large(name, size, MAX_BYTES, "bytes")
    return value


def _bytes(value: Any, name: str) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise _unfit(name, value, "bytes")
    if len(value) > MAX_BYTES:
        raise _too_large(name, len(value), MAX_BYTES, "bytes")
    return bytes(value)


_PLAIN: dict[str, Check] = {"float": _float, "bool": _bool, "str": _text, "bytes": _bytes}


def _list(element: Check, values: Any, name: str) -> list[Any]:
    checked = [element(value, name) for value in _sized(values, name, MAX_ENTRIES)]
    inner = sum(len(value) for value in checked if isinstance(value, list | str))
    if inner > MAX_ENTRIES:
        raise _too_large(name, inner, MAX_ENTRIES, "entries in all its lists")
    return checked


def _optional(payload: Check, value: Any, name: str) -> Any:
    return None if value is None else payload(value, name)


def _tuple(elements: tuple[Check, ...], value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, tuple) or len(value) != len(elements):
        raise _unfit(name, value, f"{len(elements)} values")
    return tuple(check(part, name) for check, part in zip(elements, value, strict=True))


def _record(cases: dict[type, tuple[tuple[str, Check], ...]], value: Any, name: str) -> Any:
    fields = cases.get(type(value))
    if fields is None:
        raise _unfit(name, value, " or ".join(case.__name__ for case in cases))
    for field, check in fields:
        given = getattr(value, field)
        checked = check(given, name if field == "value" else field)
        if checked is not given:
            setattr(value, field, checked)
    return value


def _instance(kinds: tuple[type, ...], value: Any, name: str) -> Any:
    if not isinstance(value, kinds):
        raise _unfit(name, value, f"a {kinds[0].__name__}")
    return value


def _sized(values: Any, name: str, limit: int) -> list[Any]:
    entries = values if isinstance(values, list) else list(values)
    if len(entries) > limit:
        raise _too_large(name, len(entries), limit, "entries")
    return entries


def _unfit(name: str, value: Any, wanted: str) -> Error:
    return Error("bad-argument", f"{name} is {_short(value)} ({type(value).__name__}), not {wanted}")


def _too_large(name: str, size: int, limit: int, unit: str) -> Error:
    return Error("too-large", f"{name} has {size} {unit}, at most {limit} can be handed over at once")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
