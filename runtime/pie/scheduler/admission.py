"""Who is let in: programs that could hold more pages together than there are wait for others to end.

Each owner claims as many pages as a device that is shared by a full batch has for it, or its endowment if that is less.
As long as the claims do not exceed the pages and a little slack, owners come in; others wait, first come, first served.
Knows neither contexts nor credits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

__all__ = ["Admission"]

_SLACK_PART = 16


@dataclass(frozen=True, slots=True, eq=False)
class _Applicant:
    """Somebody who waits to be let in."""

    owner: str
    claim: int
    future: asyncio.Future[None]


class Admission:
    """The claims of those who are in, and the line of those who are not.

    No claim is larger than what may be claimed in all, so whoever waits comes in once those before it have ended.
    """

    def __init__(self, *, num_pages: int, wave: int) -> None:
        """Start with nobody in.

        Args:
            num_pages: pages of the device.
            wave: how many decodes one step extends.
        """
        self._most = num_pages + min(wave, max(1, -(-num_pages // _SLACK_PART)))
        self._share = max(1, num_pages // wave)
        self._claims: dict[str, int] = {}
        self._line: deque[_Applicant] = deque()

    @property
    def num_waiting(self) -> int:
        """How many wait to be let in."""
        return len(self._line)

    async def enter(self, owner: str, *, endowment: int) -> None:
        """Wait in line until there is room for an owner; whoever is cancelled leaves the line."""
        claim = min(endowment, self._share)
        if not self._line and self._fits(claim):
            self._claims[owner] = claim
            return
        applicant = _Applicant(owner, claim, asyncio.get_running_loop().create_future())
        self._line.append(applicant)
        try:
            await applicant.future
        except asyncio.CancelledError:
            if applicant in self._line:
                self._line.remove(applicant)
            self.leave(owner)
            self._let_in()
            raise

    def enter_now(self, owner: str, *, endowment: int) -> None:
        """Let an owner in for whom somebody waits who is in already; who comes later waits longer for it."""
        self._claims[owner] = min(endowment, self._share)

    def leave(self, owner: str) -> None:
        """Give the place of an owner to those who wait; nothing happens if it has none."""
        if self._claims.pop(owner, None) is not None:
            self._let_in()

    def _let_in(self) -> None:
        while self._line and self._fits(self._line[0].claim):
            applicant = self._line.popleft()
            if not applicant.future.done():
                self._claims[applicant.owner] = applicant.claim
                applicant.future.set_result(None)

    def _fits(self, claim: int) -> bool:
        return sum(self._claims.values()) + claim <= self._most
