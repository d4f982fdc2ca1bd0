"""Token budgets: how many tokens programs may still put into their contexts.

A budget is looked at before a pass and charged after it, with the tokens that the pass left in its context; it stops at
0, and passes fail from then on. What is computed again for a context that was suspended costs nothing. A program and
those it launches share one budget. Knows neither contexts nor passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pie.errors import PieError
from pie.scheduler import faults

__all__ = ["Budgets", "TokenBudget"]


class TokenBudget:
    """So many tokens, for one program or several.

    Attributes:
        total: what it began with.
        left: what is left of it.
    """

    __slots__ = ("left", "total")

    def __init__(self, total: int) -> None:
        """Begin with `total` tokens.

        Raises:
            UsageError: `bad-token-budget` if it is less than one.
        """
        if total < 1:
            raise faults.bad_token_budget(total)
        self.total = total
        self.left = total

    def charge(self, num_tokens: int) -> None:
        """Take off what a pass has put into its context."""
        self.left = max(0, self.left - num_tokens)


class Budgets:
    """The budgets of those owners that have one."""

    def __init__(self) -> None:
        """Start without any."""
        self._budgets: dict[str, TokenBudget] = {}

    def __bool__(self) -> bool:
        return bool(self._budgets)

    def give(self, owner: str, budget: TokenBudget) -> None:
        """Let an owner spend from a budget."""
        self._budgets[owner] = budget

    def forget(self, owner: str) -> None:
        """Drop the budget of an owner that has ended, if it had one."""
        self._budgets.pop(owner, None)

    def charge(self, owner: str, num_tokens: int) -> None:
        """Charge an owner, if it has a budget."""
        budget = self._budgets.get(owner)
        if budget is not None:
            budget.charge(num_tokens)

    def check(self, owner: str) -> None:
        """See whether an owner may begin a pass.

        Raises:
            ProcessError: `token-budget-spent`.
        """
        budget = self._budgets.get(owner)
        if budget is not None and not budget.left:
            raise faults.token_budget_spent(budget.total)

    def refusals(self) -> list[tuple[str, PieError]]:
        """The owners that may begin no pass any more, and why."""
        budgets = self._budgets.items()
        return [(owner, faults.token_budget_spent(budget.total)) for owner, budget in budgets if not budget.left]

    def most_steps(self, owners: Iterable[str]) -> int | None:
        """How many steps these decodes, given by their owners, may run before somebody looks; None without a limit.

        A budget is overdrawn by steps that run side by side, never by one step after another.
        """
        if not self._budgets:
            return None
        counts = Counter(budget for owner in owners if (budget := self._budgets.get(owner)) is not None)
        return min((max(1, budget.left // count) for budget, count in counts.items()), default=None)
