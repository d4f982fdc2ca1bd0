"""Components made to hurt whoever compiles or loads them, as bytes."""

from __future__ import annotations

__all__ = ["deep_core_blocks", "deep_types", "huge_function", "many_functions"]

COMPONENT = b"\0asm\x0d\0\x01\0"
MODULE = b"\0asm\x01\0\0\0"
CORE_MODULE, COMPONENT_TYPE, IMPORT = 1, 7, 10
EMPTY_BODY = b"\x02\x00\x0b"  # its size, no locals, end
LIST, FUNCTION_TYPE = b"\x70", b"\x40"
U8 = b"\x7d"


def many_functions(count: int) -> bytes:
    """So many functions with a little to compile in each."""
    body = _sized(b"\x00" + b"\x41\x07\x41\x03\x6a\x1a" * 4 + b"\x0b")  # i32.const, i32.const, i32.add, drop
    return _component([body] * count)


def huge_function(size_bytes: int) -> bytes:
    """One function that adds and drops for ever."""
    return _component([_sized(b"\x00" + b"\x41\x07\x41\x03\x6a\x1a" * (size_bytes // 6) + b"\x0b")])


def deep_core_blocks(depth: int) -> bytes:
    """Blocks in blocks."""
    return _component([_sized(b"\x00" + b"\x02\x40" * depth + b"\x0b" * depth + b"\x0b")])


def deep_types(depth: int) -> bytes:
    """An imported function that takes a list of lists of lists ..."""
    types = [LIST + U8, *(LIST + _sleb(index) for index in range(depth - 1))]
    types.append(FUNCTION_TYPE + b"\x01\x01x" + _sleb(depth - 1) + b"\x01\x00")
    imported = _vector([b"\x00\x01f" + b"\x01" + _leb(depth)])
    return COMPONENT + _section(COMPONENT_TYPE, _vector(types)) + _section(IMPORT, imported)


def _component(bodies: list[bytes]) -> bytes:
    """A component of one core module with these functions, none of which takes or gives anything."""
    types = _section(1, _vector([b"\x60\x00\x00"]))
    functions = _section(3, _vector([b"\x00"] * len(bodies)))
    module = MODULE + types + functions + _section(10, _vector(bodies))
    return COMPONENT + _section(CORE_MODULE, module)


def _section(number: int, content: bytes) -> bytes:
    return bytes([number]) + _sized(content)


def _vector(items: list[bytes]) -> bytes:
    return _leb(len(items)) + b"".join(items)


def _sized(content: bytes) -> bytes:
    return _leb(len(content)) + content


def _leb(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _sleb(number: int) -> bytes:
    """A positive number where a negative one would mean something else: its sign bit stays free."""
    encoded = bytearray()
    while number > 0x3F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
