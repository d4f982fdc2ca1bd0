"""Compiles component types to converters, and function types to signatures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pie.errors import ProgramError
from pie.wasm.codec.compound import flags, option, record, result, tuple_of, variant
from pie.wasm.codec.layout import VAL_SIZE, Converter
from pie.wasm.codec.lists import list_of, list_of_numbers
from pie.wasm.codec.resources import ResourceKind, borrow, own
from pie.wasm.codec.scalars import SCALARS, char, enum, scalar, string
from pie.wasm.library import component_types as types

__all__ = ["MAX_TYPE_PARTS", "Signature", "TypeCompiler"]

MAX_TYPE_PARTS = 10_000
"""Of all functions of a component; our whole contract has some 1300. A few bytes can name a type of a million."""


class TypeCompiler:
    """Compiles the types of one component.

    Args:
        find_resource: the host's resource behind a resource type of the component; None if it is not the host's.
    """

    def __init__(self, find_resource: Callable[[Any], ResourceKind | None]) -> None:
        self._find_resource = find_resource
        self._num_parts = 0
        self._compilers: dict[type, Callable[[Any], Converter]] = {
            types.Char: lambda _: char(),
            types.String: lambda _: string(),
            types.EnumType: lambda ty: enum(ty.names),
            types.FlagsType: lambda ty: flags(ty.names),
            types.ListType: self._list,
            types.RecordType: lambda ty: record([(name, self.compile(field)) for name, field in ty.fields]),
            types.TupleType: lambda ty: tuple_of([self.compile(element) for element in ty.elements]),
            types.VariantType: lambda ty: variant([(name, self._maybe(case)) for name, case in ty.cases]),
            types.OptionType: self._option,
            types.ResultType: lambda ty: result(self._maybe(ty.ok), self._maybe(ty.err)),
            types.OwnType: lambda ty: own(self._resource(ty.ty)),
            types.BorrowType: lambda ty: borrow(self._resource(ty.ty)),
        }

    def compile(self, ty: Any) -> Converter:
        """Compile a type; raises ProgramError(`unsupported-type`) for futures, streams and a guest's own resources."""
        self._num_parts += 1
        if self._num_parts > MAX_TYPE_PARTS:
            raise _unsupported(f"the types of its functions have more than {MAX_TYPE_PARTS} parts")
        kind = SCALARS.get(type(ty))
        if kind is not None:
            return scalar(kind)
        compiler = self._compilers.get(type(ty))
        if compiler is None:
            raise _unsupported(f"{type(ty).__name__} values cannot cross")
        return compiler(ty)

    def _maybe(self, ty: Any) -> Converter | None:
        return None if ty is None else self.compile(ty)

    def _list(self, ty: Any) -> Converter:
        element = ty.element
        kind = SCALARS.get(type(element))
        return list_of(self.compile(element)) if kind is None else list_of_numbers(kind)

    def _option(self, ty: Any) -> Converter:
        payload = ty.payload
        return option(self.compile(payload), nested=isinstance(payload, types.OptionType))

    def _resource(self, ty: Any) -> ResourceKind:
        kind = self._find_resource(ty)
        if kind is None:
            raise _unsupported("a resource crosses that the host does not define")
        return kind


class Signature:
    """The compiled converters of one function type.

    Attributes:
        num_params: how many parameters there are.
        lifts, lowers: per parameter, the converter's half and the offset of the value.
        lift_result, lower_result: of the result, None if there is none.
        has_err: whether the result is a `result<...>`, so that the function may fail without ending the guest.
        err_is_text: whether its error is a string.
    """

    __slots__ = ("err_is_text", "has_err", "lift_result", "lifts", "lower_result", "lowers", "num_params")

    def __init__(self, function_type: Any, compiler: TypeCompiler) -> None:
        """Compile a function type; raises ProgramError(`unsupported-type`)."""
        params = [compiler.compile(ty) for _, ty in function_type.params]
        self.num_params = len(params)
        self.lifts = [(param.lift, i * VAL_SIZE) for i, param in enumerate(params)]
        self.lowers = [(param.lower, i * VAL_SIZE) for i, param in enumerate(params)]
        returned = function_type.result
        converter = None if returned is None else compiler.compile(returned)
        self.lift_result = converter.lift if converter else None
        self.lower_result = converter.lower if converter else None
        self.has_err = isinstance(returned, types.ResultType)
        self.err_is_text = self.has_err and isinstance(returned.err, types.String)


def _unsupported(cause: str) -> ProgramError:
    return ProgramError("unsupported-type", cause, remedy="Build the program against the interfaces in wit/.")
