# Generated from wit/ by `python -m pie.build.stubs`; do not edit.
# ruff: noqa
# fmt: off
from typing import Self
from types import TracebackType

class Error:

    def to_debug_string(self) -> str:
        ...

    def __enter__(self) -> Self:
        ...

    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None) -> bool | None:
        ...
