"""How a guest ends before it is done: each way is a `ProcessError` with its own class and code.

GuestEnd
 ├─ GuestTrap     the wasm code trapped, or called abort
 ├─ GuestExit     the program called `exit`
 ├─ HostError     a host function failed in a way that its type has no room for
 ├─ GuestClosed   the guest was closed while it ran
 └─ LimitReached
     ├─ CpuLimit, MemoryLimit, HostCallLimit, CallTooLarge
TooManyHandles is not an end: a function whose error is a string returns it to the guest.
"""

from __future__ import annotations

from pie.errors import PieError, ProcessError

__all__ = [
    "CallTooLarge",
    "CpuLimit",
    "GuestClosed",
    "GuestEnd",
    "GuestExit",
    "GuestTrap",
    "HostCallLimit",
    "HostError",
    "LimitReached",
    "MemoryLimit",
    "TooManyHandles",
    "explain_trap",
]


class GuestEnd(ProcessError):
    """The guest is over; its instance cannot be entered again."""


class GuestTrap(GuestEnd):
    """The wasm code trapped.

    Attributes:
        backtrace: the full text of wasmtime, wasm frames included.
    """

    def __init__(self, backtrace: str) -> None:
        """Make the error from wasmtime's text, whose last line says what happened."""
        lines = [line.strip() for line in backtrace.splitlines() if line.strip()]
        cause = lines[-1] if lines else "the program trapped"
        remedy = "The program's stderr usually tells why; a program that ran out of memory ends like this too."
        super().__init__("guest-trapped", cause, remedy=remedy)
        self.backtrace = backtrace


class GuestExit(GuestEnd):
    """The program called `exit`; `ok` tells whether with success."""

    def __init__(self, *, ok: bool) -> None:
        """Make the error; `ok` is the status the program gave."""
        super().__init__(
            "guest-exited", f"the program called exit({0 if ok else 1})", remedy="Return from run instead."
        )
        self.ok = ok


class GuestClosed(GuestEnd):
    """The guest was closed, or its engine was, while a call was running."""

    def __init__(self) -> None:
        """Make the error."""
        super().__init__("terminated", "the program was closed while it ran", remedy="Start it again.")


class HostError(GuestEnd):
    """A host function raised; `__cause__` is what it raised."""

    def __init__(self, function: str, error: BaseException) -> None:
        """Make the error of a host function, named `interface#function`."""
        code = error.code if isinstance(error, PieError) else "host-error"
        cause = error.cause if isinstance(error, PieError) else f"{function} raised {type(error).__name__}: {error}"
        remedy = (
            error.remedy if isinstance(error, PieError) else "This is a fault of the server: report it with its log."
        )
        super().__init__(code, cause, remedy=remedy)
        self.function = function


class LimitReached(GuestEnd):
    """The guest used up one of its limits."""


class CpuLimit(LimitReached):
    """The guest computed for longer than it may."""

    def __init__(self, *, spent_s: float, limit_s: float, without_host_call: bool) -> None:
        """Make the error; times are seconds of CPU."""
        kind = " without a host call" if without_host_call else ""
        super().__init__(
            "cpu-limit",
            f"the program computed for {spent_s:.3f} s{kind}, the limit is {limit_s:g} s",
            remedy="Make the program do less, or raise the limit.",
        )


class MemoryLimit(LimitReached):
    """The program's memory does not fit its limit."""

    def __init__(self, *, limit_bytes: int, detail: str) -> None:
        """Make the error; `detail` is wasmtime's line with the numbers."""
        super().__init__(
            "memory-limit",
            f"the program does not fit in {limit_bytes} bytes of memory ({detail})",
            remedy="Raise the memory limit.",
        )


class HostCallLimit(LimitReached):
    """The guest made more host calls than it may."""

    def __init__(self, limit: int) -> None:
        """Make the error; `limit` is the number of calls allowed."""
        super().__init__(
            "host-call-limit",
            f"the program made more than {limit} host calls",
            remedy="Make the program do less, or raise the limit.",
        )


class CallTooLarge(LimitReached):
    """The guest handed more to a host function than wasmtime copies in one call: 128 MiB, 32 bytes a list entry."""

    def __init__(self) -> None:
        """Make the error."""
        super().__init__(
            "too-large",
            "the program handed more than 4 Mi list entries or 128 MiB of text to the server in one call",
            remedy="Hand it over in parts.",
        )


def explain_trap(backtrace: str) -> GuestEnd:
    """The error behind a trap that no host function caused, from wasmtime's text."""
    return CallTooLarge() if "fuel allocated for hostcalls" in backtrace else GuestTrap(backtrace)


class TooManyHandles(ProcessError):
    """The guest holds as many handles as it may."""

    def __init__(self, limit: int) -> None:
        """Make the error; `limit` is the number of live handles allowed."""
        super().__init__(
            "too-many-handles",
            f"the program holds {limit} handles, as many as it may",
            remedy="Close (dispose of) resources that are no longer needed.",
        )
