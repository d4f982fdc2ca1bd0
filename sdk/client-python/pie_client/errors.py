"""What can go wrong for a client. Each error has a stable code and a cause of one line."""

from __future__ import annotations

import re

__all__ = ["ClientError", "ConnectionLost", "ProcessFailed", "Refused"]

CODED = re.compile(r"(?P<code>[a-z][a-z0-9]*(?:-[a-z0-9]+)*): (?P<cause>.+)", re.DOTALL)


class ClientError(Exception):
    """Base of all errors of the client.

    Attributes:
        code: stable, one per kind of fault.
        cause: what happened.
    """

    def __init__(self, code: str, cause: str) -> None:
        """Make an error that reads `code: cause`."""
        super().__init__(f"{code}: {cause}")
        self.code = code
        self.cause = cause


class ConnectionLost(ClientError):
    """There is no connection to the server, or it has ended."""


class Refused(ClientError):
    """The server answered a request with an error; its code is the server's, or `refused` if it names none."""

    def __init__(self, text: str) -> None:
        """Read the server's text."""
        own = CODED.fullmatch(text)
        if own is not None:
            super().__init__(own["code"], own["cause"])
        else:
            super().__init__("refused", text)


class ProcessFailed(ClientError):
    """A process ended with an error; its code is the process's, or `process-failed` if it names none."""

    def __init__(self, text: str) -> None:
        """Read the value of the process's last event."""
        own = CODED.fullmatch(text)
        if own is not None:
            super().__init__(own["code"], own["cause"])
        else:
            super().__init__("process-failed", text)
