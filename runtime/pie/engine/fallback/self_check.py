"""The check of a loaded model before it serves: over pages it must compute what transformers computes by itself.

A model that ignores our attention, or that remembers by other means, gives other logits here and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pie.engine.backend import Rows
from pie.engine.fallback.attention import NAME
from pie.engine.fallback.decoder import TransformersDecoder
from pie.engine.fallback.facts import TransformersConfig, unsupported_architecture
from pie.engine.fallback.library import FAULTS, first_line
from pie.engine.kv_cache import KVCache
from pie.engine.memory import is_out_of_memory
from pie.engine.models.values import bad_config
from pie.errors import ModelError

__all__ = ["check_model"]

_PAGE_SIZE = 8
_PAGES = 5  # of a sequence
_CUTS = (5, 1, 18)  # tokens of the prompt by step; beside each run as many of another sequence, and then some
_LIMITS = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""How far logits of half of the tokens may be off, relative to the largest one: sums in another order, and roundings
to bf16, by which a mixture may choose another expert for a token."""

Array = np.ndarray[Any, np.dtype[np.float32]]


def check_model(module: Any, decoder: TransformersDecoder, config: TransformersConfig, dtype: torch.dtype) -> None:
    """See that a decoder gives the logits of its module's own eager attention, in any steps, beside other rows.

    Raises:
        ModelError: `unsupported-architecture`, `bad-config`, `bad-weights`.
    """
    length = min(sum(_CUTS), config.max_positions)
    tokens = np.random.default_rng(0).integers(0, config.vocab_size, length).astype(np.int32)
    try:
        with torch.inference_mode():
            expected, placed = _eager(module, tokens)
            cut = _logits(decoder, config, dtype, tokens, _CUTS)
            whole = _logits(decoder, config, dtype, tokens, (length,))
    except FAULTS as error:
        if is_out_of_memory(error):
            raise
        raise unsupported_architecture(config.architecture, f"a short prompt fails ({first_line(error)})") from error
    if not np.isfinite(expected).all():
        raise ModelError(
            "bad-weights",
            f"{config.architecture} gives logits that are not finite for a short prompt",
            remedy="Download the model again.",
        )
    if not np.array_equal(expected, placed):
        raise unsupported_architecture(config.architecture, "it counts positions by itself")
    if not np.array_equal(cut, whole):
        why = "what it gives for a token depends on the step that the token is in"
        raise unsupported_architecture(config.architecture, why)
    off = float(np.median(np.abs(cut - expected).max(axis=1)) / np.abs(expected).max())
    if not off <= _LIMITS[dtype]:
        why = f"logits of a short prompt differ by {off:.1%} from those of eager attention"
        raise unsupported_architecture(config.architecture, why)
    _check_last_position(decoder, config, dtype)


def _eager(module: Any, tokens: np.ndarray[Any, np.dtype[np.int32]]) -> tuple[Array, Array]:
    """Logits [tokens, vocab] as transformers computes them: with positions that it takes by itself, and with ours."""
    ids = torch.from_numpy(tokens).long()[None]
    module.set_attn_implementation("eager")
    try:
        alone = module(input_ids=ids, use_cache=False).logits[0]
        placed = module(input_ids=ids, position_ids=torch.arange(len(tokens))[None], use_cache=False).logits[0]
    finally:
        module.set_attn_implementation(NAME)
    return alone.float().numpy(), placed.float().numpy()


def _logits(
    decoder: TransformersDecoder,
    config: TransformersConfig,
    dtype: torch.dtype,
    tokens: np.ndarray[Any, np.dtype[np.int32]],
    cuts: Sequence[int],
) -> Array:
    """Logits [tokens, vocab] over pages, in steps of so many tokens; cut ones have another sequence beside them."""
    cache = KVCache(config, num_pages=2 * _PAGES, page_size=_PAGE_SIZE, dtype=dtype)
    parts, start = [], 0
    for size in cuts:
        ours = np.arange(start, min(start + size, len(tokens)))
        beside = np.arange(start, min(start + size, len(tokens))) if len(cuts) > 1 else ours[:0]
        parts.append(decoder.forward(_rows(tokens, ours, beside), cache).logits[: len(ours)])
        start += size
    return np.concatenate(parts)


def _rows(
    tokens: np.ndarray[Any, np.dtype[np.int32]],
    ours: np.ndarray[Any, np.dtype[np.int_]],
    beside: np.ndarray[Any, np.dtype[np.int_]],
) -> Rows:
    """Tokens of the prompt in one sequence, and of the prompt backwards in another one; the first is asked."""
    positions = np.concatenate((ours, beside)).astype(np.int32)
    return Rows(
        token_ids=np.concatenate((tokens[ours], tokens[::-1][beside])),
        positions=positions,
        sequence_of_row=np.repeat(np.array([0, 1], np.int32), (len(ours), len(beside))),
        kv_index=positions,
        page_table=np.arange(2 * _PAGES, dtype=np.int32).reshape(2, _PAGES),
        logit_rows=np.arange(len(ours), dtype=np.int32),
    )


def _check_last_position(decoder: TransformersDecoder, config: TransformersConfig, dtype: torch.dtype) -> None:
    cache = KVCache(config, num_pages=1, page_size=_PAGE_SIZE, dtype=dtype)
    one = np.zeros(1, np.int32)
    rows = Rows(one, one + config.max_positions - 1, one, one, one[None], one)
    try:
        with torch.inference_mode():
            decoder.forward(rows, cache)
    except IndexError as error:
        raise bad_config(f"the model has no position {config.max_positions - 1}, its last one") from error
