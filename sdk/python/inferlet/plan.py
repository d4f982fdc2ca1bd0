"""How the tokens of a generation are made, as far as it does not change from token to token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inferlet import mask
from inferlet.adjustment import Adjustment
from inferlet.constraints import Constraint, Foresight, GrammarConstraint
from inferlet.output import ProbeHandle
from inferlet.sampler import Probe, Sampler

if TYPE_CHECKING:
    from inferlet.adapter import Adapter
    from inferlet.speculator import Speculator
    from inferlet.window import Window

__all__ = ["Plan"]


@dataclass(slots=True)
class Plan:
    """The settings of a generation. `system_drafts` alone changes: the server's guesses and their positions."""

    sampler: Sampler
    logit_mask: list[int] = field(default_factory=list)
    stop_texts: tuple[str, ...] = ()
    adjustment: Adjustment = field(default_factory=Adjustment)
    logprobs: int | None = None
    constraints: list[Constraint] = field(default_factory=list)
    speculator: Speculator | None = None
    system_speculation: bool = False
    adapter: Adapter | None = None
    zo_seed: int | None = None
    horizon: int | None = None
    seed: int | None = None
    window: Window | None = None
    probes: list[tuple[int, Probe, ProbeHandle]] = field(default_factory=list)
    system_drafts: list[tuple[int, int]] = field(default_factory=list)

    @property
    def fits_host(self) -> bool:
        """Whether the server can run it alone: no code of the program is needed between two tokens.

        Probes are no hindrance: what they read is told with each step, and who lets a generation run sees no steps.
        """
        return (
            self.speculator is None  # its guesses, and what it learns of the tokens, are code of the program
            and not self.customs  # so are the masks of a constraint that is not a grammar
            and self.sampler.draws == 1  # a step of several draws makes tokens that do not follow each other
        )

    @property
    def needs_host(self) -> str | None:
        """What the server alone can do, and only for a whole generation; None if nothing is."""
        if self.adjustment:
            return "a penalty or a logit bias"
        return None if self.logprobs is None else "logprobs"

    @property
    def grammars(self) -> list[GrammarConstraint]:
        """The constraints that the server can apply by itself."""
        return [one for one in self.constraints if type(one) is GrammarConstraint]

    @property
    def customs(self) -> list[Constraint]:
        """The constraints that are code of the program."""
        return [one for one in self.constraints if type(one) is not GrammarConstraint]

    def masks_ahead(self, tokens: list[int]) -> list[list[int]]:
        """What may be drawn after each of the guesses `tokens`, as far as the constraints allow and foresee them."""
        ahead = [[self.logit_mask] * len(tokens)]
        for constraint in self.constraints:
            ahead.append(constraint.masks_ahead(tokens) if isinstance(constraint, Foresight) else [])
        masks: list[list[int]] = []
        for together in zip(*ahead, strict=False):  # the shortest list counts
            both = mask.intersect(together)
            if both and not any(both[1::2]):
                break
            masks.append(both)
        return masks
