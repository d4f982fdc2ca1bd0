"""The library transformers, where it is installed: imported when a model needs it, and not before.

Its class for a configuration is all that is taken from here; nothing asks the network or runs code of a model.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from pie.engine.fallback.attention import NAME, attention_function, mask_function
from pie.engine.models.families import FAMILIES
from pie.engine.models.values import bad_config, unsupported
from pie.errors import ModelError

__all__ = ["FAULTS", "first_line", "library", "model_class", "quiet", "settings"]

_LEAST_VERSION = (5, 24)
_DROPPED = frozenset(
    {
        "_attn_implementation",
        "_attn_implementation_internal",
        "_experts_implementation",
        "_experts_implementation_internal",
        "_name_or_path",
        "attn_implementation",
        "auto_map",
        "distributed_config",
        "dtype",
        "experts_implementation",
        "fusion_config",
        "kernel_config",
        "torch_dtype",
        "transformers_version",
        "transformers_weights",
        "use_kernels",
    }
)
"""Keys of config.json that would choose how transformers computes, or what else it loads: that is ours to say."""

FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    RuntimeError,
    StrictDataclassError,
    TypeError,
    ValueError,
)
"""What modules raise for a configuration or an attention function that they were not written for."""


def library(architecture: str) -> Any:
    """The module `transformers`, with our attention registered in it.

    Raises:
        ModelError: `transformers-not-installed`.
    """
    try:
        transformers: Any = importlib.import_module("transformers")
        masks: Any = importlib.import_module("transformers.masking_utils").AttentionMaskInterface
    except ImportError:
        raise _not_installed(architecture, "is not installed") from None
    version = tuple(int(part) for part in str(transformers.__version__).split(".")[:2])
    if version < _LEAST_VERSION:
        raise _not_installed(architecture, f"is there as {transformers.__version__}, which is too old")
    transformers.AttentionInterface.register(NAME, attention_function)
    masks.register(NAME, mask_function)
    return transformers


def settings(raw: Mapping[str, object]) -> dict[str, object]:
    """What of config.json describes the model.

    Raises:
        ModelError: `unsupported-feature` for quantized weights.
    """
    if raw.get("quantization_config") is not None:
        raise unsupported("quantization_config")
    kept: dict[str, object] = json.loads(json.dumps(dict(raw)), object_hook=_read_table)
    return kept


def model_class(raw: Mapping[str, object]) -> tuple[Any, Any]:
    """The class of transformers for a configuration, and the configuration as it takes it.

    Raises:
        ModelError: `transformers-not-installed`, `unknown-architecture`, `unsupported-feature`, `bad-config`.
    """
    architecture = _architecture(raw)
    transformers = library(architecture)
    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in transformers.CONFIG_MAPPING:
        raise _unknown(architecture)
    try:
        with quiet(transformers):
            config = transformers.CONFIG_MAPPING[kind].from_dict(settings(raw))
        found = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    except KeyError:
        raise _unknown(architecture) from None
    except FAULTS as error:
        raise bad_config(f"transformers cannot read it: {first_line(error)}") from error
    if found.__name__ != architecture:
        raise _unknown(architecture)
    return found, config


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Keep the library's bars and reports off the terminal for a while: what is wrong, our errors tell."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def first_line(error: Exception) -> str:
    """What an error says, in one line without a full stop."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).strip().rstrip(".:")


def _architecture(raw: Mapping[str, object]) -> str:
    names = raw.get("architectures")
    if not isinstance(names, list) or len(names) != 1:
        raise bad_config(f"`architectures` must be a list of one name, not {names!r}")
    return str(names[0])


def _read_table(table: dict[str, object]) -> object:
    """A table of config.json without what is dropped; or the number that transformers writes as a table."""
    if table.keys() == {"__float__"}:
        return float(str(table["__float__"]))
    return {key: value for key, value in table.items() if key not in _DROPPED}


def _unknown(architecture: str) -> ModelError:
    return ModelError(
        "unknown-architecture",
        f"{architecture} is not among the supported architectures {', '.join(FAMILIES)}, "
        "and no causal model that transformers has for the `model_type` of config.json",
        remedy="Choose a model of one of these architectures, or one whose tokens follow from those before alone.",
    )


def _not_installed(architecture: str, what: str) -> ModelError:
    return ModelError(
        "transformers-not-installed",
        f"{architecture} is not among {', '.join(FAMILIES)}, and the library transformers, which has others, {what}",
        remedy='Install it: pip install "pie[transformers]".',
    )
