"""The order in which passes get their turn.

Turns go round robin over owners and first come, first served within an owner; passes short enough for one step stand
in a line of their own, so that they do not wait behind long ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from pie.scheduler.passes import Pass

__all__ = ["Lane", "PassQueue"]


class Lane:
    """Passes of one kind, by owner."""

    def __init__(self) -> None:
        """Start empty."""
        self._owners: OrderedDict[str, dict[int, Pass]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, item: Pass) -> None:
        """Put a pass at the end of its owner's line."""
        self._owners.setdefault(item.owner, {})[item.sequence] = item
        self._count += 1

    def discard(self, item: Pass) -> None:
        """Take a pass out, if it is there."""
        line = self._owners.get(item.owner, {})
        if line.pop(item.sequence, None) is not None:
            self._count -= 1
            if not line:
                del self._owners[item.owner]

    def lines(self) -> list[Iterator[Pass]]:
        """One line of passes per owner, the owner whose turn it is first."""
        return [iter(line.values()) for line in self._owners.values()]

    def rotate(self) -> None:
        """Let the next owner go first."""
        if len(self._owners) > 1:
            self._owners.move_to_end(next(iter(self._owners)))


class PassQueue:
    """All passes that may start or go on; those behind another pass of the same context are not in it."""

    def __init__(self, *, short_tokens: int) -> None:
        """Passes of at most `short_tokens` tokens go in the short lane."""
        self.short = Lane()
        self.long = Lane()
        self._short_tokens = short_tokens

    def __len__(self) -> int:
        return len(self.short) + len(self.long)

    def __iter__(self) -> Iterator[Pass]:
        for lane in (self.short, self.long):
            for line in lane.lines():
                yield from line

    def add(self, item: Pass) -> None:
        """Enter a pass."""
        self._lane(item).add(item)

    def discard(self, item: Pass) -> None:
        """Take a pass out, if it is there."""
        self._lane(item).discard(item)

    def rotate(self) -> None:
        """Let the next owners go first."""
        self.short.rotate()
        self.long.rotate()

    def _lane(self, item: Pass) -> Lane:
        return self.short if item.num_tokens <= self._short_tokens else self.long
