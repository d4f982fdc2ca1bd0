"""Lets an engine compute with the backend of flashinfer on a processor, with a stand-in for the library.

So the whole backend runs where no GPU is: the engine, plans and their tables, the calls of the library with what it
checks, the decoder, pages, adapters, draws, and captured steps, which are computed again instead of replayed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from unittest.mock import patch

import torch
from tests.engine.flashinfer_backend.stand_in import stand_in

from pie.engine.engine import Engine
from pie.engine.flashinfer_backend import library
from pie.engine.flashinfer_backend.backend import FlashInferBackend
from pie.engine.flashinfer_backend.device_pages import DevicePages
from pie.engine.kv_form import KVChoice
from pie.engine.weights import LoadedModel

__all__ = ["on_a_processor"]


def on_a_processor(
    engine: Engine, model: LoadedModel, kept_as: KVChoice = "model", library_module: ModuleType | None = None
) -> list[str]:
    """Let `engine` compute so; gives the list in which the stand-in tells what is planned.

    `library_module` is the library itself, within `real_library`; None is a stand-in.
    """
    module = stand_in() if library_module is None else library_module
    with patch.dict(sys.modules, flashinfer=module), patch.object(library, "_WORKSPACE_BYTES", 1024):
        kernels = library.FlashInferKernels(torch.device("cpu"))
    pages = DevicePages(
        model.config,
        num_pages=engine.info.num_pages,
        page_size=engine.info.page_size,
        model_dtype=model.weights.embedding.dtype,
        kept_as=kept_as,
        device=kernels.device,
    )
    engine._backend = FlashInferBackend(kernels, model, pages, capture=_again)
    planned: list[str] = getattr(module, "planned", [])
    return planned


def _again(work: Callable[[], None]) -> Callable[[], None]:
    """In the place of a captured graph: the work itself, once now, and whenever it is replayed."""
    work()
    return work
