"""Evicted prefixes in host memory: which host page holds which, so that they come back instead of being computed.

A full page that only the prefix index knew moves here when its room is needed. Suspended contexts go first: their
copies take host pages from prefixes, never the other way round, but are found here as well while they lie there. A
prefix's last pages are evicted first, so the oldest host page is that of a page no other one follows. Knows digests
and host pages, no contexts. Books only: the copies are noted in `HostPages`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence

from pie.forward import HostPageId, PageId
from pie.scheduler.host_pages import HostPages

__all__ = ["HostPrefixes"]


class HostPrefixes:
    """Digest to host page; what is here of evicted prefixes is not on the device."""

    def __init__(self, host: HostPages, *, enabled: bool) -> None:
        """Start empty; stay so unless `enabled`."""
        self._host = host
        self._enabled = enabled
        self._slots: OrderedDict[bytes, HostPageId] = OrderedDict()  # oldest first
        self._going: dict[bytes, None] = {}  # kept since copies were handed over for the last time, oldest first
        self._num_handed = 0
        self._stashed: dict[bytes, HostPageId] = {}
        self._digests: dict[HostPageId, bytes] = {}  # of what is stashed

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._slots

    @property
    def num_droppable(self) -> int:
        """Host pages that are free as soon as their prefixes are dropped."""
        return sum(not self._host.is_read(slot) for slot in self._slots.values())

    def find(self, digest: bytes) -> HostPageId | None:
        """The host page that holds this prefix's last page, or None."""
        return self._slots.get(digest, self._stashed.get(digest))

    def get(self, digest: bytes) -> HostPageId:
        """The host page that holds this prefix's last page, which is here."""
        slot = self.find(digest)
        if slot is None:
            raise RuntimeError("a prefix to be brought back is not in host memory")
        return slot

    def num_leading(self, digests: Sequence[bytes]) -> int:
        """How many digests at the beginning of a chain are here."""
        return next((n for n, digest in enumerate(digests) if self.find(digest) is None), len(digests))

    def keep(self, digest: bytes, page: PageId) -> None:
        """Let an evicted page be copied here, if a host page is free or holds an older prefix.

        If too many are to be copied at once, the oldest are not.
        """
        if not self._enabled or self.find(digest) is not None:
            return
        if self._num_handed != self._host.num_handed:
            self._num_handed = self._host.num_handed
            self._going.clear()
        if len(self._going) >= self._host.most_moved:
            self.forget(next(iter(self._going)))
        if not self._host.num_free and self._slots:
            self._drop_oldest()
        if self._host.num_free:
            self._slots[digest] = self._host.take(page)
            self._going[digest] = None

    def withdraw(self, digest: bytes) -> HostPageId:
        """The host page of a prefix that is here, for `HostPages.bring_back`; what is not stashed is forgotten."""
        slot = self.get(digest)
        self._host.hold(slot)
        self.forget(digest)
        return slot

    def forget(self, digest: bytes) -> None:
        """Drop a prefix that is on the device again, if it is here."""
        slot = self._slots.pop(digest, None)
        if slot is not None:
            self._going.pop(digest, None)
            self._host.give_back([slot])

    def make_room(self, num_pages: int) -> None:
        """Drop the oldest prefixes until so many host pages are free, or none is left."""
        while self._slots and self._host.num_free < num_pages:
            self._drop_oldest()

    def give_up(self, pages: Collection[PageId]) -> None:
        """Drop what was to be copied from pages that somebody writes before the device is handed the copies."""
        lost = {slot for slot, page in self._host.outward.items() if page in pages}
        for digest in [digest for digest, slot in self._slots.items() if slot in lost]:
            self.forget(digest)

    def stash(self, digest: bytes, slot: HostPageId) -> None:
        """Note that the copy of a suspended context's page is there, where others find it until `unstash`."""
        if self._enabled and self.find(digest) is None:
            self._stashed[digest] = slot
            self._digests[slot] = digest

    def unstash(self, slot: HostPageId) -> None:
        """Forget that a suspended context keeps something there."""
        digest = self._digests.pop(slot, None)
        if digest is not None:
            del self._stashed[digest]

    def clear(self) -> None:
        """Forget everything: a device that failed to copy is not asked for the same copies again."""
        self._host.give_back(self._slots.values())
        self._slots.clear()
        self._going.clear()
        self._stashed.clear()
        self._digests.clear()

    def slots(self) -> list[HostPageId]:
        """The host pages that hold prefixes, without those of suspended contexts."""
        return list(self._slots.values())

    def stashed_slots(self) -> set[HostPageId]:
        """The host pages of suspended contexts in which others find prefixes."""
        return set(self._digests)

    def _drop_oldest(self) -> None:
        self.forget(next(iter(self._slots)))
