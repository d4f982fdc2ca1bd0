"""A request as it has come in: its body, and what else tells of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Incoming"]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A whole request.

    Attributes:
        body: JSON that nobody has looked at.
        request_id: by which the response names it.
        model: what the path has in the place of a model; empty where a path has none.
    """

    body: bytes
    request_id: str
    model: str = ""
