# Generated from wit/ by `python -m pie.build.stubs`; do not edit.
# ruff: noqa
# fmt: off
from typing import Union, Self
from types import TracebackType
from dataclasses import dataclass
from wit_world.imports import poll
from wit_world.imports import error

@dataclass
class StreamError_LastOperationFailed:
    value: error.Error

@dataclass
class StreamError_Closed:
    ...
StreamError = Union[StreamError_LastOperationFailed, StreamError_Closed]

class InputStream:

    def read(self, len: int) -> bytes:
        ...

    def subscribe(self) -> poll.Pollable:
        ...

    def __enter__(self) -> Self:
        ...

    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None) -> bool | None:
        ...

class OutputStream:

    def check_write(self) -> int:
        ...

    def write(self, contents: bytes) -> None:
        ...

    def flush(self) -> None:
        ...

    def subscribe(self) -> poll.Pollable:
        ...

    def __enter__(self) -> Self:
        ...

    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None) -> bool | None:
        ...
