"""Changes of logits before a token is drawn: what is asked of a generation, and what one step is told of all of them.

Values only. What the numbers do is defined in `pie.engine.adjusting`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["Adjusted", "Adjustment", "Adjustments"]

Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What changes the logits of a generation's draws, before masks and temperature, in this order.

    Attributes:
        repetition_penalty: logits of the tokens of prompt and output are divided by it if positive, else multiplied.
        frequency_penalty: taken from a token's logit as often as the token is in the output.
        presence_penalty: taken once from the logit of each token of the output.
        logit_bias: what is added to the logits of these tokens, each of which stands there once.
    """

    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Adjusted:
    """The adjustment of one sampler, and what it counts.

    Attributes:
        sampler: index of the sampler in its step.
        adjustment: what was asked.
        token_ids: [T] i32, the tokens of prompt and output, each once.
        counts: [T] i32, how often each is in the output.
    """

    sampler: int
    adjustment: Adjustment
    token_ids: Int32Array
    counts: Int32Array


@dataclass(frozen=True, slots=True, eq=False)
class Adjustments:
    """The A adjusted samplers of one step; the other samplers are not in it.

    Attributes:
        samplers: [A] i32, their indices, increasing.
        repetition, frequency, presence: [A] f32, the penalties.
        token_starts: [A + 1] i32; the tokens of sampler a stand at `token_starts[a]` … `token_starts[a + 1] - 1` of
            token_ids, counts: [T] i32, as in `Adjusted`.
        bias_starts: [A + 1] i32, likewise of
            bias_ids: [B] i32 and biases: [B] f32, what is added to which logits.
    """

    samplers: Int32Array
    repetition: Float32Array
    frequency: Float32Array
    presence: Float32Array
    token_starts: Int32Array
    token_ids: Int32Array
    counts: Int32Array
    bias_starts: Int32Array
    bias_ids: Int32Array
    biases: Float32Array

    @classmethod
    def of(cls, adjusted: Sequence[Adjusted]) -> Adjustments | None:
        """The arrays of some samplers, whose indices increase; None if there are none."""
        if not adjusted:
            return None
        wanted = [one.adjustment for one in adjusted]
        biases = [pair for one in wanted for pair in one.logit_bias]
        return cls(
            samplers=np.array([one.sampler for one in adjusted], np.int32),
            repetition=np.array([one.repetition_penalty for one in wanted], np.float32),
            frequency=np.array([one.frequency_penalty for one in wanted], np.float32),
            presence=np.array([one.presence_penalty for one in wanted], np.float32),
            token_starts=_starts([len(one.token_ids) for one in adjusted]),
            token_ids=np.concatenate([one.token_ids for one in adjusted]),
            counts=np.concatenate([one.counts for one in adjusted]),
            bias_starts=_starts([len(one.logit_bias) for one in wanted]),
            bias_ids=np.array([token for token, _ in biases], np.int32),
            biases=np.array([bias for _, bias in biases], np.float32),
        )

    def one_by_one(self) -> list[Adjusted]:
        """What `of` made this from, in float32."""
        found = []
        for number, (tokens, biases) in enumerate(
            zip(_slices(self.token_starts), _slices(self.bias_starts), strict=True)
        ):
            pairs = zip(self.bias_ids[biases].tolist(), self.biases[biases].tolist(), strict=True)
            repetition, frequency, presence = (
                float(of[number]) for of in (self.repetition, self.frequency, self.presence)
            )
            adjustment = Adjustment(repetition, frequency, presence, tuple(pairs))
            found.append(Adjusted(int(self.samplers[number]), adjustment, self.token_ids[tokens], self.counts[tokens]))
        return found

    def following(self, keep: npt.NDArray[np.intp], token_ids: Int32Array) -> Adjustments | None:
        """Those of the next step: of the kept samplers, each of which drew a token, [K]; None if none is adjusted."""
        place = {sampler: number for number, sampler in enumerate(keep.tolist())}
        kept = [one for one in self.one_by_one() if one.sampler in place]
        return Adjustments.of([_counting(one, place[one.sampler], int(token_ids[place[one.sampler]])) for one in kept])


def _counting(one: Adjusted, sampler: int, token_id: int) -> Adjusted:
    known = one.token_ids == token_id
    if known.any():
        return Adjusted(sampler, one.adjustment, one.token_ids, one.counts + known.astype(np.int32))
    token_ids = np.append(one.token_ids, np.int32(token_id))
    return Adjusted(sampler, one.adjustment, token_ids, np.append(one.counts, np.int32(1)))


def _starts(lengths: Sequence[int]) -> Int32Array:
    return np.cumsum([0, *lengths], dtype=np.int32)


def _slices(starts: Int32Array) -> list[slice]:
    return [slice(first, end) for first, end in pairwise(starts.tolist())]
