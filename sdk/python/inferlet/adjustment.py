"""Changes of the logits before each draw of a generation."""

from __future__ import annotations

from dataclasses import dataclass, field

from wit_world.imports import generation as wit_generation

__all__ = ["Adjustment"]


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Penalties and biases; what is None or empty changes nothing."""

    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[int, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything was asked for."""
        return self != Adjustment()

    @property
    def wit(self) -> wit_generation.Adjustment | None:
        """What the server is told."""
        if not self:
            return None
        return wit_generation.Adjustment(
            1.0 if self.repetition_penalty is None else float(self.repetition_penalty),
            float(self.frequency_penalty or 0),
            float(self.presence_penalty or 0),
            [(token, float(bias)) for token, bias in self.logit_bias.items()],
        )
