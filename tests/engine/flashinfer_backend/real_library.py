"""Lets the real flashinfer plan and run on a processor: its own Python, over modules that it asks for uncompiled.

So what the backend gives it goes through its own checks, and what it makes of that goes to the reference kernels
(`compiled_module.py`). What is pretended is what it asks of a device alone: the capability, memory that a device can
read, and that torch was made for CUDA. Which kernels it would compile is kept.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from tests.engine.flashinfer_backend.compiled_module import CompiledModule

__all__ = ["Asked", "real_library", "why_no_library"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the library would have compiled (`flashinfer.jit.JitSpec`), and the modules in the place of that."""

    library: ModuleType
    specs: dict[str, Any] = field(default_factory=dict)
    modules: dict[str, CompiledModule] = field(default_factory=dict)

    def build_and_load(self, spec: Any) -> CompiledModule:
        """In the place of the method of a specification: the module is made, not compiled."""
        self.specs[spec.name] = spec
        return self.modules.setdefault(spec.name, CompiledModule(spec.name))


def why_no_library() -> str | None:
    """Why the library cannot be used so; None if it can."""
    for name in ("flashinfer", "triton"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed"
    return None


@contextmanager
def real_library(folder: Path, capability: tuple[int, int] = (9, 0), *others: tuple[int, int]) -> Iterator[Asked]:
    """The library as on a card of this capability, compiling for others too; what it writes goes to `folder`.

    It keeps what it has loaded for the life of the process: where there is a GPU too, this spoils it.
    """
    names = {
        "FLASHINFER_WORKSPACE_BASE": str(folder),
        "FLASHINFER_CUDA_ARCH_LIST": " ".join(f"{major}.{minor}" for major, minor in (capability, *others)),
        "TRITON_INTERPRET": "1",  # the library's own small kernels compute on a processor then
    }
    with ExitStack() as stack:
        stack.enter_context(patch.dict("os.environ", names))
        asked = Asked(importlib.import_module("flashinfer"))
        core = importlib.import_module("flashinfer.jit.core")
        utils = importlib.import_module("flashinfer.utils")
        stack.enter_context(patch.object(core.JitSpecNvcc, "build_and_load", lambda spec: asked.build_and_load(spec)))
        stack.enter_context(patch.object(utils, "get_compute_capability", lambda device: capability))
        stack.enter_context(patch.object(torch.version, "cuda", "13.0"))
        stack.enter_context(patch.object(torch, "empty", _empty))
        yield asked


_real_empty = torch.empty


def _empty(*args: Any, pin_memory: bool = False, **options: Any) -> torch.Tensor:
    """Memory that no device reads."""
    return _real_empty(*args, **options)
