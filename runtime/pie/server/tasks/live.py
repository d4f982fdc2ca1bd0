"""A task that has not ended: what it has said so far, for any number of readers, each at its own place."""

from __future__ import annotations

import asyncio

from pie.server.tasks.record import End
from pie.server.users import Holder

__all__ = ["Live"]


class Live:
    """One waiting or running task.

    Attributes:
        task_id: a UUID.
        holder: whose it is; of a task that an earlier server has left it is not known by which token it came.
        texts: what was generated, in pieces.
        canceled: set when nobody wants it any more.
        after: set when the task before it has been launched, or need not be waited for.
        turned: the same of this one.
        has_launched: whether its program was started.
        end: how it ended; None before.
        is_left: whether the server stops before it ends.
        news: set when there is more; take it before you look, since another one follows.
    """

    def __init__(self, task_id: str, holder: Holder) -> None:
        """Nothing has been said."""
        self.task_id = task_id
        self.holder = holder
        self.texts: list[str] = []
        self.canceled = asyncio.Event()
        self.after: asyncio.Event | None = None
        self.turned = asyncio.Event()
        self.has_launched = False
        self.end: End | None = None
        self.is_left = False
        self.news = asyncio.Event()

    @property
    def owner(self) -> str:
        """The user."""
        return self.holder.user

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.texts)

    def say(self, text: str) -> None:
        """Add a piece."""
        self.texts.append(text)
        self._tell()

    def finish(self, end: End) -> None:
        """Say how it ended."""
        self.end = end
        self._tell()

    def leave(self) -> None:
        """Say that the server stops first."""
        self.is_left = True
        self._tell()

    def _tell(self) -> None:
        told, self.news = self.news, asyncio.Event()
        told.set()
