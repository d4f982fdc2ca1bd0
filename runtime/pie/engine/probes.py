"""Reading a step's outputs without drawing: distributions, logits, log-probabilities, entropies, hidden states.

What many probes of a step share (log-sum-exp of a row) is computed once over the batch. Sums are f64, answers f32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import assert_never

import numpy as np
import numpy.typing as npt

from pie.engine.backend import Drawn, DrawStatus, Outputs
from pie.forward import (
    Batch,
    Distribution,
    Embedding,
    Entropy,
    Logits,
    Logprobs,
    Probe,
    ProbeValue,
    TokenLogprobs,
)

__all__ = ["ProbeFailure", "read_logprobs", "read_probes"]

Float32Array = npt.NDArray[np.float32]


class ProbeFailure(str):
    """Why one probe has no value: one line."""

    __slots__ = ()


def read_probes(outputs: Outputs, probes: Sequence[tuple[int, Probe]]) -> list[ProbeValue | ProbeFailure]:
    """Answer each (logit row, probe) pair, in order; a probe that cannot be answered fails alone."""
    if not probes:
        return []
    probed = sorted({row for row, _ in probes})
    normalizers = dict(zip(probed, _log_sum_exp(outputs.logits[probed]).tolist(), strict=True))
    return [
        _read(outputs, row, probe, normalizers[row])
        if math.isfinite(normalizers[row])
        else ProbeFailure("the logits of the row are not finite")
        for row, probe in probes
    ]


def read_logprobs(outputs: Outputs, batch: Batch, drawn: Drawn) -> dict[int, TokenLogprobs]:
    """How likely the token was that each sampler drew which wants to know it, by sampler."""
    if batch.logprobs is None:
        return {}
    wanting = np.flatnonzero((batch.logprobs >= 0) & (drawn.status == DrawStatus.DRAWN))
    logits = outputs.logits[batch.sampler_rows[wanting]]
    normalizers = _log_sum_exp(logits).tolist() if len(wanting) else []
    told = {}
    for sampler, row, normalizer in zip(wanting.tolist(), logits, normalizers, strict=True):
        ids = [int(drawn.tokens[sampler, 0]), *_most_likely(row, int(batch.logprobs[sampler])).tolist()]
        first, *others = np.asarray(row[ids].astype(np.float64) - normalizer, np.float32).tolist()
        told[sampler] = TokenLogprobs(first, tuple(zip(ids[1:], others, strict=True)))
    return told


def _read(outputs: Outputs, row: int, probe: Probe, normalizer: float) -> ProbeValue | ProbeFailure:
    logits: Float32Array = outputs.logits[row]
    match probe:
        case Distribution(temperature=temperature, k=k):
            if not (0 <= temperature < np.inf and k >= 0):
                return ProbeFailure(f"a distribution cannot have temperature {temperature} and k {k}")
            return _distribution(logits, temperature, k or len(logits))
        case Logits():
            return np.array(logits)
        case Logprobs(token_ids=token_ids):
            if any(not 0 <= token < len(logits) for token in token_ids):
                return ProbeFailure(f"a token id is outside the vocabulary of {len(logits)}")
            return np.asarray(logits[list(token_ids)].astype(np.float64) - normalizer, np.float32)
        case Entropy():
            log_probabilities = logits.astype(np.float64) - normalizer
            possible = log_probabilities[log_probabilities > -np.inf]
            return -float(np.exp(possible) @ possible)
        case Embedding():
            return np.array(outputs.hidden[row])
        case _:
            assert_never(probe)


def _distribution(logits: Float32Array, temperature: float, k: int) -> tuple[npt.NDArray[np.int32], Float32Array]:
    """The k most likely tokens, lower ids first among equals, and their probabilities."""
    ids = _most_likely(logits, min(k, len(logits)))
    if temperature == 0:
        return ids, (np.arange(len(ids)) == 0).astype(np.float32)
    scaled = (logits.astype(np.float64) - float(logits.max())) / temperature
    return ids, (np.exp(scaled[ids]) / np.exp(scaled).sum()).astype(np.float32)


def _most_likely(logits: Float32Array, k: int) -> npt.NDArray[np.int32]:
    if k == 0:
        return np.zeros(0, np.int32)
    if k < len(logits):
        threshold = np.partition(logits, len(logits) - k)[len(logits) - k]
        above = np.flatnonzero(logits > threshold)
        candidates = np.concatenate((above, np.flatnonzero(logits == threshold)[: k - len(above)]))
    else:
        candidates = np.arange(len(logits))
    order = np.lexsort((candidates, -logits[candidates]))
    return candidates[order].astype(np.int32)


def _log_sum_exp(logits: Float32Array) -> npt.NDArray[np.float64]:
    """Log of the sum of exponentials of each row; NaN or infinite if the row is not sound."""
    values = logits.astype(np.float64)
    best = values.max(axis=1)
    with np.errstate(invalid="ignore"):
        normalizers: npt.NDArray[np.float64] = best + np.log(np.exp(values - best[:, None]).sum(axis=1))
    return normalizers
