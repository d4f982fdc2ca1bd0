"""What is known of a model that transformers runs, found out without its weights: by a pass over tensors without data.

Such a pass tells how many layers attend, with which keys, and whether the attention is ours to compute at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pie.engine.fallback.attention import NAME, AttentionCall, CausalMask, place
from pie.engine.fallback.library import FAULTS, first_line, library, model_class, quiet, settings
from pie.engine.models.values import MOST_LAYERS, bad_config, positive_int
from pie.errors import ModelError

__all__ = ["TransformersConfig", "read_transformers_config", "unsupported_architecture"]

_HARMLESS = frozenset(
    {
        "cache_position",
        "dropout",
        "is_causal",
        "logits_to_keep",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "position_ids",
        "return_dict",
        "sliding_window",
        "use_cache",
    }
)
"""What modules pass beside and what changes no number here; windows are those of the masks, as in eager attention."""
_EXPERTS = "pie-shapes"
_POSITIONS, _ORIGINAL = "max_position_embeddings", "original_max_position_embeddings"
_TOKENS = 4


@dataclass(frozen=True, slots=True)
class TransformersConfig:
    """The facts of a model that transformers runs (see `pie.engine.models.facts.ModelFacts`).

    Attributes:
        architecture: its class.
        num_layers: how often a pass attends.
        num_kv_heads: key and value heads, of every layer.
        head_dim: the widest key or value; narrower ones are filled up with zeros.
        vocab_size: logits per row.
        max_positions: context length in tokens.
        num_parameters: numbers in the weights.
        settings: config.json, as far as it describes the model, as JSON with sorted keys.
    """

    architecture: str
    num_layers: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    max_positions: int
    num_parameters: int
    settings: str

    @property
    def work_per_row(self) -> int:
        """Multiply-adds of the matrix products for one row, at most."""
        return self.num_parameters


def read_transformers_config(raw: Mapping[str, object]) -> TransformersConfig:
    """Find out the facts of a model from config.json.

    Raises:
        ModelError: `transformers-not-installed`, `unknown-architecture`, `unsupported-architecture`,
            `unsupported-feature`, `bad-config`.
    """
    found, config = model_class(raw)
    _refuse_states(found, config)
    _refuse_sizes(config)
    ropes = getattr(config.get_text_config(), "rope_parameters", None) or {}
    bounds = list(_short_contexts(config.get_text_config(), ropes))
    _make_plain(ropes)
    module, shapes, num_logits = _shapes(found, config)
    _refuse_shapes(module, shapes, num_logits)
    return TransformersConfig(
        architecture=found.__name__,
        num_layers=len(shapes),
        num_kv_heads=shapes[0][0],
        head_dim=max(max(key, value) for _, key, value in shapes),
        vocab_size=num_logits,
        max_positions=_max_positions(config, bounds),
        num_parameters=sum(parameter.numel() for parameter in module.parameters()),
        settings=json.dumps(settings(raw), sort_keys=True),
    )


def unsupported_architecture(name: str, why: str) -> ModelError:
    """The error of a model that transformers has and that cannot run over pages."""
    return ModelError(
        "unsupported-architecture",
        f"{name} cannot run over pages of keys and values: {why}",
        remedy="Choose a model whose attention is causal, without a bias by distance and without other states.",
    )


class _Recorder:
    """Attention that computes nothing: it keeps the shapes, and refuses what paged attention does not do."""

    def __init__(self, architecture: str) -> None:
        self._architecture = architecture
        self.shapes: list[tuple[int, int, int]] = []

    def attend(self, call: AttentionCall) -> torch.Tensor:
        strange = sorted(call.others.keys() - _HARMLESS)
        if strange:
            raise self._refusal(f"its attention takes {', '.join(strange)}")
        if not isinstance(call.mask, CausalMask):
            raise self._refusal("it makes masks of its own")
        if not call.mask.holds():
            raise self._refusal("its masks are neither causal nor sliding windows")
        if call.others.get("is_causal") is False or call.key.shape[2] != call.query.shape[2]:
            raise self._refusal("its attention is not causal")
        self.shapes.append((call.key.shape[1], call.key.shape[3], call.value.shape[3]))
        return call.query.new_empty(1, call.query.shape[2], call.query.shape[1], call.value.shape[3])

    def _refusal(self, why: str) -> ModelError:
        return unsupported_architecture(self._architecture, why)


def _shapes(found: Any, config: Any) -> tuple[Any, list[tuple[int, int, int]], int]:
    """The module without data; key heads, key and value width of each layer; and the logits of a row."""
    recorder = _Recorder(found.__name__)
    _register_experts()
    with quiet(library(found.__name__)):
        module = _without_data(found, config)
        logits = _probe(module, recorder)
    return module, recorder.shapes, int(logits.shape[-1])


def _refuse_shapes(module: Any, shapes: Sequence[tuple[int, int, int]], num_logits: int) -> None:
    name = type(module).__name__
    if not shapes:
        raise unsupported_architecture(name, "no layer of it calls an attention function")
    if module.get_output_embeddings() is None or len(module.get_input_embeddings().weight) < num_logits:
        raise unsupported_architecture(name, "its logits are not those of a head over its vocabulary")
    kv_heads = {heads for heads, _, _ in shapes}
    if len(kv_heads) > 1:
        raise unsupported_architecture(name, f"its layers have different numbers of key heads: {sorted(kv_heads)}")


def _without_data(found: Any, config: Any) -> Any:
    """The module on the device that keeps shapes only."""
    config._attn_implementation = NAME  # noqa: SLF001 - what `attn_implementation=` sets
    config._experts_implementation = _EXPERTS  # noqa: SLF001 - likewise
    try:
        with torch.device("meta"):
            return found(config).eval()
    except FAULTS as error:
        ours = isinstance(error, KeyError) and NAME in error.args
        why = "its attention functions are its own" if ours else f"transformers cannot make it: {first_line(error)}"
        raise unsupported_architecture(found.__name__, why) from error


def _probe(module: Any, recorder: _Recorder) -> torch.Tensor:
    place(module, recorder)
    tokens = torch.zeros(1, _TOKENS, dtype=torch.int64, device="meta")
    try:
        with torch.inference_mode():
            outputs = module(
                input_ids=tokens,
                attention_mask=torch.ones_like(tokens),
                position_ids=torch.arange(_TOKENS, device="meta")[None],
                use_cache=False,
                return_dict=True,
            )
    except FAULTS as error:
        why = f"it computes its attention or masks by itself ({first_line(error)})"
        raise unsupported_architecture(type(module).__name__, why) from error
    logits: torch.Tensor = outputs.logits
    return logits


def _refuse_states(found: Any, config: Any) -> None:
    """Refuse layers that remember by other means than keys and values."""
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or ())
    strange = sorted(kind for kind in kinds if "attention" not in kind or kind.startswith(("linear", "chunked")))
    if strange:
        raise unsupported_architecture(found.__name__, f"it has layers of type {', '.join(strange)}")
    if getattr(found, "_is_stateful", False):
        raise unsupported_architecture(found.__name__, "it keeps a state beside keys and values")


def _refuse_sizes(config: Any) -> None:
    """Refuse a number of layers that would keep transformers making modules for minutes."""
    layers = getattr(config.get_text_config(), "num_hidden_layers", 1)
    if not isinstance(layers, int) or layers > MOST_LAYERS:
        raise bad_config(f"the number of layers must be {MOST_LAYERS:,} at most, not {layers!r}")


def _max_positions(config: Any, bounds: Iterable[int]) -> int:
    text = config.get_text_config()
    return min([positive_int({_POSITIONS: getattr(text, _POSITIONS, None)}, _POSITIONS), *bounds])


def _short_contexts(config: Any, ropes: Mapping[str, Any]) -> Iterator[int]:
    """Where LongRoPE goes on with its long factors: these would turn all keys before it anew."""
    original = ropes.get(_ORIGINAL) or getattr(config, _ORIGINAL, None)
    if ropes.get("rope_type") == "longrope" and original:
        yield int(original)
    for inner in ropes.values():
        if isinstance(inner, Mapping):
            yield from _short_contexts(config, inner)


def _make_plain(ropes: dict[str, Any]) -> None:
    """Have nothing asked of positions by a pass over shapes: scalings that look at the longest one would."""
    if ropes.get("rope_type") in ("dynamic", "longrope"):
        ropes["rope_type"] = "default"
    for inner in ropes.values():
        if isinstance(inner, dict):
            _make_plain(inner)


def _register_experts() -> None:
    """Mixtures of experts look at numbers to choose, and there are none: such layers give back a shape."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    ALL_EXPERTS_FUNCTIONS.register(_EXPERTS, lambda _module, rows, *_choice, **_more: torch.empty_like(rows))
