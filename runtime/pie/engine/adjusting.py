"""What penalties and biases do to logits, in numpy. This is the definition: the C++ sampler is tested against it.

The repetition penalty is that of Keskar et al., "CTRL: a conditional transformer language model for controllable
generation" (2019); the frequency and presence penalties and the biases are those of OpenAI's API.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pie.adjustment import Adjusted, Adjustments

__all__ = ["adjust"]


def adjust(logits: npt.NDArray[np.float32], adjustments: Adjustments) -> None:
    """Change the logits `[S, vocab]` of the adjusted samplers in place. Sums are f64, each answer is rounded to f32."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite fails its sampler afterwards
        for one in adjustments.one_by_one():
            _adjust_row(logits[one.sampler], one)


def _adjust_row(logits: npt.NDArray[np.float32], one: Adjusted) -> None:
    wanted, ids = one.adjustment, one.token_ids
    values = logits[ids].astype(np.float64)
    values = np.where(values > 0, values / wanted.repetition_penalty, values * wanted.repetition_penalty)
    values -= one.counts * wanted.frequency_penalty + (one.counts > 0) * wanted.presence_penalty
    logits[ids] = values.astype(np.float32)
    biased = [token for token, _ in wanted.logit_bias]
    logits[biased] = (logits[biased].astype(np.float64) + [bias for _, bias in wanted.logit_bias]).astype(np.float32)
