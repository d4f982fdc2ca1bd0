"""Those to whom contexts belong: who is let in, with how many credits, and how many tokens each may still compute.

An owner that was never let in has the default endowment and no budget. Knows no contexts.
"""

from __future__ import annotations

from pie.scheduler.admission import Admission
from pie.scheduler.budgets import Budgets, TokenBudget
from pie.scheduler.market import DEFAULT_ENDOWMENT, Market

__all__ = ["Owners"]


class Owners:
    """The owners of the contexts of one device.

    Attributes:
        market: their wallets.
        budgets: their token budgets.
    """

    def __init__(self, *, num_pages: int, page_size: int, wave: int) -> None:
        """Start with nobody in; see `Admission` for `wave`."""
        self.market = Market()
        self.budgets = Budgets()
        self._admission = Admission(num_pages=num_pages, wave=wave)
        self._page_size = page_size

    async def admit(self, owner: str, *, budget: TokenBudget | None = None, waits: bool = True) -> None:
        """Let an owner in, which must leave in the end; returns when there is room for it.

        Its endowment in credits, and the share of the pages that it is expected to use, follow from its budget.

        Args:
            owner: a new one.
            budget: tokens that it may put into its contexts; None is without a limit.
            waits: whether it waits until there is room; not so where somebody waits for it who is in.
        """
        left = None if budget is None else budget.left
        endowment = DEFAULT_ENDOWMENT if left is None else max(1, -(-left // self._page_size))
        if waits:
            await self._admission.enter(owner, endowment=endowment)
        else:
            self._admission.enter_now(owner, endowment=endowment)
        self.market.join(owner, endowment=endowment)
        if budget is not None:
            self.budgets.give(owner, budget)

    def leave(self, owner: str) -> None:
        """Forget an owner; its place goes to those who wait."""
        self.market.leave(owner)
        self.budgets.forget(owner)
        self._admission.leave(owner)

    def balance(self, owner: str) -> float:
        """Credits of an owner, as published every fifth step; whoever asks first has its endowment."""
        self.market.join(owner)
        return self.market.balance(owner)

    def dividend(self, owner: str) -> float:
        """Credits that an owner received in the last published step."""
        return self.market.dividend(owner)

    @property
    def rent(self) -> float:
        """Credits that each page cost in the last published step; 0 while there is room for everybody."""
        return self.market.rent
