"""Every error a user can meet: a stable code, what happened, and what to do about it.

PieError
 ├─ ProgramError      the program cannot be found, built, loaded or linked
 ├─ ProcessError      the running program failed or met one of its limits
 ├─ ModelError        the model directory cannot be used
 ├─ ContextError      a context or its pages cannot do what was asked
 ├─ AdapterError      an adapter cannot be found, made, loaded or applied
 ├─ GrammarError      a grammar cannot be parsed or is too large
 ├─ RequestError      a forward pass or generation is not well formed, or the device failed in it
 └─ UsageError        the command line or the input is wrong

`str(error)` is `code: cause. remedy`, one line, the form in which a guest sees it.
"""

from __future__ import annotations

__all__ = [
    "AdapterError",
    "ContextError",
    "DeviceOutOfMemory",
    "GrammarError",
    "ModelError",
    "PieError",
    "ProcessError",
    "ProgramError",
    "RequestError",
    "UsageError",
    "unreadable",
]


class PieError(Exception):
    """Base of all errors that are somebody's to mend: carries a code, a cause and a remedy."""

    def __init__(self, code: str, cause: str, *, remedy: str = "") -> None:
        """Make an error.

        Args:
            code: stable, kebab-case, one per kind of fault (`out-of-pages`).
            cause: one line without a full stop: what happened, with the names and numbers involved.
            remedy: one line: what the reader can do; empty only where nothing can be done.
        """
        super().__init__(f"{code}: {cause}. {remedy}" if remedy else f"{code}: {cause}")
        self.code = code
        self.cause = cause
        self.remedy = remedy


class ProgramError(PieError):
    """The program cannot be found, built, loaded or linked."""


class ProcessError(PieError):
    """The running program failed or met one of its limits."""


class ModelError(PieError):
    """The model directory cannot be used."""


class ContextError(PieError):
    """A context or its pages cannot do what was asked."""


class AdapterError(PieError):
    """An adapter cannot be found, made, loaded or applied."""


class GrammarError(PieError):
    """A grammar cannot be parsed or is too large."""


class RequestError(PieError):
    """A forward pass or a generation is not well formed."""


class DeviceOutOfMemory(RequestError):
    """A step needs more memory than there is: nothing of it counts, and a smaller one may fit."""

    def __init__(self, cause: str) -> None:
        """Make the error of a step that does not fit."""
        super().__init__(
            "device-out-of-memory",
            cause,
            remedy="Try again when less is running, use shorter prompts, or give the server more memory.",
        )


class UsageError(PieError):
    """The command line or the input is wrong."""


def unreadable(path: object, error: OSError) -> ProgramError:
    """The error of a program's file that cannot be read, which may be that it is not there."""
    code = "program-not-found" if isinstance(error, FileNotFoundError) else "io-error"
    return ProgramError(code, f"{path}: {error.strerror}", remedy="Check its path and rights.")
