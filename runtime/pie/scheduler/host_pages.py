"""Pages of host memory: which are free, and which copies the device has not been handed yet.

A host page is an index into the device's host memory. This module does not know whose content a host page holds; it
keeps the order in which the device must copy: all copies out come before all copies back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pie.forward import HostPageId, PageId

__all__ = ["HostPages", "Moves"]

Moves = tuple[list[tuple[PageId, HostPageId]], list[tuple[PageId, HostPageId]]]
"""Copies to hand to the device: out, and then back."""


# Copying so much takes about a tenth of a second; the pages of a step of the usual size are always moved.
_MOST_BYTES = 128 << 20
_FEWEST_PAGES = 32


class HostPages:
    """All host pages of one device.

    Attributes:
        total: how many there are.
        outward: host page -> page to copy there, not handed to the device yet.
        most_moved: how many prefixes go out, and come home, in one call at most, so that a step need not wait for long.
        num_handed: how often copies were handed over.
    """

    def __init__(self, total: int, *, page_bytes: int) -> None:
        """Start with every host page free, each of so many bytes."""
        self.total = total
        self.most_moved = max(_FEWEST_PAGES, _MOST_BYTES // page_bytes)
        self.num_handed = 0
        self.outward: dict[HostPageId, PageId] = {}
        self._homeward: list[tuple[PageId, HostPageId]] = []
        self._free = list(range(total - 1, -1, -1))
        self._read: set[HostPageId] = set()
        self._leaving: list[HostPageId] = []  # given back while a copy back reads them; free when that is handed over

    @property
    def num_free(self) -> int:
        """Host pages that `take` can give now."""
        return len(self._free)

    @property
    def num_unused(self) -> int:
        """Host pages that hold nothing, or only what a copy back is about to read."""
        return len(self._free) + len(self._leaving)

    @property
    def has_moves(self) -> bool:
        """Whether there are copies to hand over."""
        return bool(self.outward or self._homeward)

    def is_read(self, slot: HostPageId) -> bool:
        """Whether a copy back reads the host page that is not handed over yet."""
        return slot in self._read

    def take(self, page: PageId) -> HostPageId:
        """Let a page be copied to a free host page, of which there is one."""
        slot = self._free.pop()
        self.outward[slot] = page
        return slot

    def hold(self, slot: HostPageId) -> None:
        """Say that `bring_back` follows, so that nobody writes there before."""
        self._read.add(slot)

    def bring_back(self, page: PageId, slot: HostPageId) -> None:
        """Let a host page, which is held, be copied to a page."""
        self._homeward.append((page, slot))

    def give_back(self, slots: Iterable[HostPageId]) -> None:
        """Take host pages back whose content nobody needs any more; one that is read is free after that."""
        for slot in slots:
            if slot in self._read:
                self._leaving.append(slot)
            else:
                self.outward.pop(slot, None)
                self._free.append(slot)

    def take_moves(self) -> Moves:
        """The copies to hand to the device now."""
        outward, homeward = [(page, slot) for slot, page in self.outward.items()], self._homeward
        self.outward, self._homeward = {}, []
        self._free += self._leaving
        self._leaving = []
        self._read.clear()
        self.num_handed += 1
        return outward, homeward

    def check(self, used: Sequence[HostPageId]) -> None:
        """Verify that each host page is free, is about to be, or is one of those in use.

        Raises:
            RuntimeError: something does not add up; this is a bug of the scheduler.
        """
        if sorted([*used, *self._free, *self._leaving]) != list(range(self.total)):
            raise RuntimeError("the host pages are not exactly the free ones, those of contexts and those of prefixes")
