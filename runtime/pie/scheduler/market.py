"""Credits: who has how many, who pays rent for pages in a crowded step, and who receives it.

Every owner has a wallet and an endowment, in pages. When pages are short, each context of a step pays the lowest bid
on the device for each of its pages, a shared page being paid for by parts; what is collected goes to all owners in
proportion to their endowments. Amounts are whole millionths of a credit, so that nothing is lost to rounding. Knows
neither queues nor steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pie.scheduler.context import Context

__all__ = ["DEFAULT_ENDOWMENT", "Market", "Payer"]

DEFAULT_ENDOWMENT = 64
_MICRO = 1_000_000
# Bids are made for many steps, so nobody needs to see every single price.
_TICKS_PER_NOTICE = 5


@dataclass(slots=True, eq=False)
class _Wallet:
    """What one owner has, in millionths; `told_` is what was last published."""

    seniority: int
    endowment: int
    balance: int
    told_balance: int
    told_dividend: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Payer:
    """A context that took part in a step.

    Attributes:
        context: which one.
        num_pages: its pages, those that n contexts share counted as 1 / n.
    """

    context: Context
    num_pages: float


class Market:
    """The wallets of all owners of one device."""

    def __init__(self) -> None:
        """Start without owners."""
        self._wallets: dict[str, _Wallet] = {}
        self._num_joined = 0
        self._brought = 0
        self._taken = 0
        self._num_ticks = 0
        self._dividends: dict[str, int] = {}
        self._price = 0.0
        self._told_price = 0.0
        self._is_told = (
            True  # nothing changed since the last notice, so that steps with room for everybody cost nothing
        )

    def join(self, owner: str, *, endowment: int = DEFAULT_ENDOWMENT) -> int:
        """Give an owner a wallet of so many credits if it has none.

        Returns:
            Its seniority, which grows with the time of joining.
        """
        wallet = self._wallets.get(owner)
        if wallet is None:
            self._num_joined += 1
            amount = endowment * _MICRO
            self._brought += amount
            wallet = self._wallets[owner] = _Wallet(self._num_joined, amount, amount, amount)
        return wallet.seniority

    def leave(self, owner: str) -> None:
        """Take an owner's wallet away, with what is in it."""
        wallet = self._wallets.pop(owner, None)
        if wallet is not None:
            self._taken += wallet.balance
        self._dividends.pop(owner, None)

    def check(self) -> None:
        """Verify that all that owners brought is in their wallets, or was taken along by those who left.

        Raises:
            RuntimeError: credits appeared or vanished; this is a bug of the market.
        """
        if self.total + self._taken != self._brought:
            raise RuntimeError(f"{self.total} in wallets and {self._taken} taken along are not {self._brought}")
        if any(wallet.balance < 0 for wallet in self._wallets.values()):
            raise RuntimeError("a wallet holds less than nothing")

    def balance(self, owner: str) -> float:
        """Credits of an owner, as last published; 0 if it has no wallet."""
        wallet = self._wallets.get(owner)
        return wallet.told_balance / _MICRO if wallet else 0.0

    def dividend(self, owner: str) -> float:
        """Credits an owner received in the last published step."""
        wallet = self._wallets.get(owner)
        return wallet.told_dividend / _MICRO if wallet else 0.0

    @property
    def rent(self) -> float:
        """Credits that each page cost in the last published step."""
        return self._told_price

    @property
    def total(self) -> int:
        """Millionths of a credit in all wallets."""
        return sum(wallet.balance for wallet in self._wallets.values())

    def tick(self, payers: Sequence[Payer], *, price: float, steps: int = 1) -> None:
        """Settle a step: collect rent, hand it out, and publish every fifth time.

        Args:
            payers: the contexts of the step; one that cannot pay is `defaulted` until it has paid again.
            price: credits per page and step, 0 if there was room for everybody.
            steps: how many steps of the model it was.
        """
        if self._is_told and not price:
            return
        self._price, self._is_told = price, False
        if price > 0:
            self._hand_out(sum(self._collect(payer, price * steps) for payer in payers))
        else:
            self._dividends = {}
        self._num_ticks += 1
        if self._num_ticks % _TICKS_PER_NOTICE == 0:
            self._publish()

    def _collect(self, payer: Payer, price: float) -> int:
        wallet = self._wallets.get(payer.context.owner or "")
        if wallet is None:
            return 0
        due = payer.num_pages * price * _MICRO
        payer.context.defaulted = due > wallet.balance
        paid = wallet.balance if due >= wallet.balance else int(due)
        wallet.balance -= paid
        return paid

    def _hand_out(self, collected: int) -> None:
        """Share an amount by endowment; each share is a difference of rounded sums, so that they add up to it."""
        total = sum(wallet.endowment for wallet in self._wallets.values())
        self._dividends, before, counted = {}, 0, 0
        for owner, wallet in self._wallets.items():
            counted += wallet.endowment
            until = collected * counted // total
            self._dividends[owner] = until - before
            wallet.balance += until - before
            before = until

    def _publish(self) -> None:
        self._told_price = self._price
        self._is_told = not self._price
        for owner, wallet in self._wallets.items():
            wallet.told_balance = wallet.balance
            wallet.told_dividend = self._dividends.get(owner, 0)
