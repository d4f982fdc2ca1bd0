"""wasi:cli: standard streams, arguments, environment and exit. There is never a terminal."""

from __future__ import annotations

from typing import Any

from pie.wasm.errors import GuestExit
from pie.wasm.imports import Imports
from pie.wasm.values import Ok
from pie.wasm.wasi.streams import BytesInput, OutputStream, ReadyInput

__all__ = ["define"]


class TerminalInput:
    """wasi:cli/terminal-input.terminal-input; a guest never gets one."""


class TerminalOutput:
    """wasi:cli/terminal-output.terminal-output; a guest never gets one."""


def _exit(_guest: Any, status: object) -> None:
    raise GuestExit(ok=isinstance(status, Ok))


def _exit_with_code(_guest: Any, code: int) -> None:
    raise GuestExit(ok=code == 0)


def define(imports: Imports) -> None:
    """Offer wasi:cli."""
    function = imports.function
    function("wasi:cli/environment", "get-environment", lambda guest: list(guest.wasi.env.items()))
    function("wasi:cli/environment", "get-arguments", lambda guest: list(guest.wasi.args))
    function("wasi:cli/environment", "initial-cwd", lambda _guest: None)
    function("wasi:cli/exit", "exit", _exit)
    function("wasi:cli/exit", "exit-with-code", _exit_with_code)
    function("wasi:cli/stdin", "get-stdin", lambda guest: ReadyInput(BytesInput(guest.wasi.stdin)))
    function("wasi:cli/stdout", "get-stdout", lambda guest: OutputStream(guest.wasi.stdout, guest.writes))
    function("wasi:cli/stderr", "get-stderr", lambda guest: OutputStream(guest.wasi.stderr, guest.writes))
    imports.resource("wasi:cli/terminal-input", "terminal-input", TerminalInput)
    imports.resource("wasi:cli/terminal-output", "terminal-output", TerminalOutput)
    for stream in ("stdin", "stdout", "stderr"):
        function(f"wasi:cli/terminal-{stream}", f"get-terminal-{stream}", lambda _guest: None)
