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
from pie.engine.fallback.fixed_shapes import FixedShapes
from pie.engine.fallback.library import FAULTS, first_line
from pie.engine.kv_cache import KVCache
from pie.engine.memory import is_out_of_memory
from pie.engine.models.values import bad_config
from pie.errors import ModelError

__all__ = ["check_model"]

_PAGE_SIZE = 8
_PAGES = 5  # of a sequence
_CUTS = (5, 1, 18)  # tokens of the prompt by step, beside as many of another sequence
_LIMITS = {torch.float32: 1e-3, torch.bfloat16: 0.1}
_NOISE = 3
"""How far logits may be off, relative to the largest one: by sums in another order and by roundings to bf16; and, if a
mixture chooses other experts by a rounding, so many times as much as between two attentions of transformers itself."""

Array = np.ndarray[Any, np.dtype[np.float32]]
Tokens = np.ndarray[Any, np.dtype[np.int32]]


def check_model(module: Any, decoder: TransformersDecoder, config: TransformersConfig, dtype: torch.dtype) -> None:
    """See that a decoder gives the logits of its module's own eager attention, in any steps, beside other rows.

    Raises:
        ModelError: `unsupported-architecture`, `bad-config`, `bad-weights`.
    """
    length = min(sum(_CUTS), config.max_positions)
    tokens = np.random.default_rng(0).integers(0, config.vocab_size, length).astype(np.int32)
    try:
        with torch.inference_mode():
            why = _what_differs(module, decoder, config, dtype, tokens)
            if why is None:
                _check_last_position(decoder, config, dtype)
    except FAULTS as error:
        if is_out_of_memory(error):
            raise
        why = f"a short prompt fails ({first_line(error)})"
    if why is not None:
        raise unsupported_architecture(config.architecture, why)


def _what_differs(
    module: Any, decoder: TransformersDecoder, config: TransformersConfig, dtype: torch.dtype, tokens: Tokens
) -> str | None:
    """What is not as it must be; None if all is."""
    places = torch.arange(len(tokens))[None]
    expected = _reference(module, tokens)
    if not np.isfinite(expected).all():
        raise ModelError(
            "bad-weights",
            f"{config.architecture} gives logits that are not finite for a short prompt",
            remedy="Download the model again.",
        )
    if not np.array_equal(expected, _reference(module, tokens, position_ids=places)):
        return "it counts positions by itself"
    cut = _logits(decoder, config, dtype, tokens, _CUTS)
    if not np.array_equal(cut, _logits(decoder, config, dtype, tokens, (len(tokens),))):
        return "what it gives for a token depends on the step that the token is in"
    off = _off(cut, expected)
    if off <= _LIMITS[dtype] or off <= _NOISE * _off(_reference(module, tokens, "sdpa"), expected):
        return None
    return f"logits of a short prompt differ by {off:.1%} from those of eager attention"


def _off(got: Array, expected: Array) -> float:
    """How far logits of half of the tokens are off, relative to the largest one."""
    return float(np.median(np.abs(got - expected).max(axis=1)) / np.abs(expected).max())


def _reference(module: Any, tokens: Tokens, attention: str = "eager", **positions: torch.Tensor) -> Array:
    """Logits [tokens, vocab] by an attention of transformers, with positions that it takes by itself unless told."""
    ids = torch.from_numpy(tokens).long()[None]
    module.set_attn_implementation(attention if attention == "eager" or module._supports_sdpa else "eager")  # noqa: SLF001
    try:
        with FixedShapes():
            out = module(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **positions)
    finally:
        module.set_attn_implementation(NAME)
    logits: Array = out.logits[0].float().numpy()
    return logits


def _logits(
    decoder: TransformersDecoder,
    config: TransformersConfig,
    dtype: torch.dtype,
    tokens: Tokens,
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
    tokens: Tokens,
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
        decoder.forward(rows, cache)
    except IndexError as error:
        raise bad_config(f"the model has no position {config.max_positions - 1}, its last one") from error
