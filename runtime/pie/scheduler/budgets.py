"""Token budgets: how many tokens programs may still put into their contexts.

A budget is looked at before a pass and charged after it, with the tokens that the pass left in its context; passes fail
when nothing is left. One without a total only counts. What is computed again for a context that was suspended costs
nothing. A program and those it launches share one budget. Knows neither contexts nor passes.
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
        total: what it began with; None is without a limit.
        spent: what was put into contexts.
    """

    __slots__ = ("spent", "total")

    def __init__(self, total: int | None) -> None:
        """Begin with `total` tokens.

        Raises:
            UsageError: `bad-token-budget` if it is less than one.
        """
        if total is not None and total < 1:
            raise faults.bad_token_budget(total)
        self.total = total
        self.spent = 0

    @property
    def left(self) -> int | None:
        """What is left of it; None is without a limit."""
        return None if self.total is None else max(0, self.total - self.spent)

    def charge(self, num_tokens: int) -> None:
        """Take off what a pass has put into its context."""
        self.spent += num_tokens


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
        if budget is not None and budget.total is not None and not budget.left:
            raise faults.token_budget_spent(budget.total)

    def refusals(self) -> list[tuple[str, PieError]]:
        """The owners that may begin no pass any more, and why."""
        return [
            (owner, faults.token_budget_spent(budget.total))
            for owner, budget in self._budgets.items()
            if budget.total is not None and not budget.left
        ]

    def most_steps(self, owners: Iterable[str]) -> int | None:
        """How many steps these decodes, given by their owners, may run before somebody looks; None without a limit.

        A budget is overdrawn by steps that run side by side, never by one step after another.
        """
        if not self._budgets:
            return None
        counts = Counter(budget for owner in owners if (budget := self._budgets.get(owner)) is not None)
        steps = (max(1, left // count) for budget, count in counts.items() if (left := budget.left) is not None)
        return min(steps, default=None)
