"""Whether flashinfer can compute here, and a model with it; told without importing it, which takes seconds."""

from __future__ import annotations

import importlib.metadata
import importlib.util

import torch

from pie.engine.flashinfer_backend.compilers import why_not_compiled
from pie.engine.models.config import ModelConfig
from pie.errors import ModelError

__all__ = ["HEAD_DIMS", "check_flashinfer", "describe_gpu", "flashinfer_missing", "why_not_flashinfer"]

HEAD_DIMS = (64, 128, 256)
_OLDEST_CARD = (8, 0)  # that multiplies bfloat16
_WIDEST_KEYS = 8192  # the kernel that puts them into pages has a thread for every eight, and a block has 1,024
_GIB = 1 << 30


def check_flashinfer() -> None:
    """See whether there are a GPU, the library, and what it compiles its kernels with.

    Raises:
        ModelError: `no-gpu`, `flashinfer-missing`.
    """
    if not torch.cuda.is_available():
        built = "torch finds none" if torch.version.cuda else "and this torch is made for processors alone"
        raise ModelError(
            "no-gpu",
            f"the backend flashinfer needs a GPU of NVIDIA, {built}",
            remedy="Install a torch with CUDA and NVIDIA's driver, or set model.backend to auto.",
        )
    major, minor = torch.cuda.get_device_capability()
    if (major, minor) < _OLDEST_CARD:
        raise ModelError(
            "no-gpu",
            f"the backend flashinfer needs a GPU of compute capability 8.0 or newer, this one has {major}.{minor}",
            remedy="Set model.backend to auto.",
        )
    if importlib.util.find_spec("flashinfer") is None:
        raise flashinfer_missing("it is not installed")
    reason = why_not_compiled()
    if reason is not None:
        raise ModelError(
            "flashinfer-missing",
            f"the backend flashinfer cannot use its library: {reason}",
            remedy="Install the CUDA toolkit, g++ and ninja with their folders on PATH, or set model.backend to auto.",
        )


def describe_gpu() -> str:
    """The card, its memory and the library's version, of a machine that has both."""
    card = torch.cuda.get_device_properties(0)
    version = importlib.metadata.version("flashinfer-python")
    return f"{card.name}, {card.total_memory / _GIB:.0f} GiB, flashinfer {version}"


def flashinfer_missing(why: str) -> ModelError:
    """The error of a library that is not there, or cannot be imported."""
    return ModelError(
        "flashinfer-missing",
        f"the backend flashinfer cannot use its library: {why}",
        remedy="Install pie[gpu], or set model.backend to auto.",
    )


def why_not_flashinfer(config: ModelConfig, dtype: torch.dtype) -> str | None:
    """Why its kernels cannot run such a model, in one line; None if they can."""
    if dtype != torch.bfloat16:
        return f"the kernels compute in bfloat16, not in {str(dtype).removeprefix('torch.')}"
    if config.head_dim not in HEAD_DIMS:
        return f"head_dim is {config.head_dim}, none of {', '.join(map(str, HEAD_DIMS))}"
    if config.num_kv_heads * config.head_dim > _WIDEST_KEYS:
        return f"the keys of a token are {config.num_kv_heads * config.head_dim} numbers, more than {_WIDEST_KEYS}"
    return None
