"""Whether a model's weights and its pages fit into memory, told before the first of many gigabytes is read.

Without that, the system would end the process in the middle of loading, and nobody would hear why.
"""

from __future__ import annotations

import torch

from pie.engine.fallback.facts import TransformersConfig
from pie.engine.memory import available_bytes
from pie.engine.models.config import ModelConfig
from pie.engine.schemes import SCHEMES, WeightsChoice, weight_bytes
from pie.errors import ModelError

__all__ = ["check_page_room", "check_room"]

_GIB = 1 << 30


def check_room(
    name: str, config: ModelConfig | TransformersConfig, dtype: torch.dtype, weights: WeightsChoice = "original"
) -> None:
    """See that the weights fit into what is free; beside a GPU they only pass through, and nothing is asked.

    Args:
        name: of the model, for the error.
        config: its facts.
        dtype: what it is computed in.
        weights: how matrices are kept.

    Raises:
        ModelError: `not-enough-memory`, with a choice of weights that would fit if there is one.
    """
    free = available_bytes()
    taken = _taken(config, dtype)
    if taken[weights] <= free or torch.cuda.is_available():
        return
    fitting = [f"--weights {choice}" for choice, size in taken.items() if size <= free]
    raise ModelError(
        "not-enough-memory",
        f"the weights of {name} take {taken[weights] / _GIB:.1f} GiB, and {free / _GIB:.1f} GiB of memory are free",
        remedy=f"Free memory, or choose {' or '.join([*fitting, 'a smaller model'])}.",
    )


def check_page_room(num_bytes: int, *, num_pages: int, num_host_pages: int) -> None:
    """See that pages fit into what is free: they take their memory when they are used, which would then be missing.

    Args:
        num_bytes: what the pages take in the memory of the host.
        num_pages: how many there are, for the error.
        num_host_pages: likewise.

    Raises:
        ModelError: `not-enough-memory`.
    """
    free = available_bytes()
    if num_bytes > free:
        raise ModelError(
            "not-enough-memory",
            f"{num_pages:,} KV pages and {num_host_pages:,} host pages take {num_bytes / _GIB:.1f} GiB, "
            f"and {free / _GIB:.1f} GiB of memory are free",
            remedy="Free memory, or choose fewer model.kv_pages or model.host_pages.",
        )


def _taken(config: ModelConfig | TransformersConfig, dtype: torch.dtype) -> dict[WeightsChoice, int]:
    """What the weights take by each choice of them."""
    if isinstance(config, TransformersConfig):
        return {"original": config.num_parameters * dtype.itemsize}
    return {choice: weight_bytes(config, dtype.itemsize, schemes) for choice, schemes in SCHEMES.items()}
