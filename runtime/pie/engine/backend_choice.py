"""Which backend computes a model, and making it: what was asked for, what the machine has, and what the model needs."""

from __future__ import annotations

import hashlib
import logging
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from pie.engine.backend import Backend
from pie.engine.control_group import num_usable_cores
from pie.engine.fallback.loading import TransformersModel
from pie.engine.flashinfer_backend.availability import check_flashinfer, flashinfer_missing, why_not_flashinfer
from pie.engine.flashinfer_backend.backend import FlashInferBackend
from pie.engine.flashinfer_backend.captured_decode import GraphCapture
from pie.engine.flashinfer_backend.device_pages import DevicePages
from pie.engine.flashinfer_backend.device_weights import move_model
from pie.engine.flashinfer_backend.library import FlashInferKernels
from pie.engine.kernels import Kernels, load_kernels
from pie.engine.kv_form import KVChoice, kv_dtype
from pie.engine.memory import available_bytes
from pie.engine.models.config import ModelConfig
from pie.engine.native_backend import NativeBackend, why_not_native
from pie.engine.torch_backend import TorchBackend
from pie.engine.weights import LoadedModel
from pie.errors import ModelError

__all__ = ["BackendName", "Placement", "check_wanted", "choose_place"]

BackendName = Literal["auto", "native", "torch", "flashinfer"]

log = logging.getLogger(__name__)

_WORK_FOR_TORCH_THREADS = 50_000_000  # multiply-adds per row
_HOST_SHARE = 0.4  # of what is free after the weights: the rest is for programs, activations and the system
_HOST_PAGES_SHARE = 0.8  # likewise, of pages and host pages together
_GPU_SHARE = 0.8  # likewise; nothing but this engine is there


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """A model at the place where it will be computed.

    Attributes:
        model: its weights are there.
        kept_as: how keys and values will be kept.
        gpu: the kernels of a GPU, or None.
        native: those of a CPU, or None.
    """

    model: LoadedModel | TransformersModel
    kept_as: KVChoice
    gpu: FlashInferKernels | None
    native: Kernels | None

    @property
    def kv_dtype(self) -> torch.dtype:
        """What keys and values will be kept in."""
        return kv_dtype(self.kept_as, self.model.dtype)

    def free_bytes(self) -> int:
        """How much memory KV pages may take unless somebody says how much."""
        if self.gpu is None:
            return int(available_bytes() * _HOST_SHARE)
        return int(torch.cuda.mem_get_info(self.gpu.device)[0] * _GPU_SHARE)

    def host_pages(self, num_pages: int, *, page_bytes: int, host_page_bytes: int) -> int:
        """How many host pages go with so many pages: half of them, and no more than the host has room for."""
        others = num_pages * page_bytes if self.gpu is None else 0
        room = min(available_bytes() * _HOST_SHARE, available_bytes() * _HOST_PAGES_SHARE - others)
        return max(0, min(num_pages // 2, int(room) // host_page_bytes))

    def backend(self, *, num_pages: int, page_size: int, threads: int | None) -> Backend:
        """The backend, with its pages; `threads` compute at most on a CPU."""
        model, cores = self.model, num_usable_cores()
        if self.gpu is not None and isinstance(model, LoadedModel):
            pages = DevicePages(
                model.config,
                num_pages=num_pages,
                page_size=page_size,
                model_dtype=model.dtype,
                kept_as=self.kept_as,
                device=self.gpu.device,
            )
            return FlashInferBackend(self.gpu, model, pages, capture=GraphCapture())
        if self.native is None or isinstance(model, TransformersModel):
            # Torch knows one number for the whole process; a small model is faster without a second thread.
            torch.set_num_threads(threads or (cores if model.config.work_per_row >= _WORK_FOR_TORCH_THREADS else 1))
            return TorchBackend(model, num_pages=num_pages, page_size=page_size, kept_as=self.kept_as)
        return NativeBackend(
            self.native,
            model,
            num_pages=num_pages,
            page_size=page_size,
            threads=threads or cores,
            kept_as=self.kept_as,
        )


def check_wanted(wanted: BackendName) -> None:
    """See, before anything is loaded, whether this machine can do what is asked for.

    Raises:
        ModelError: `no-gpu`, `flashinfer-missing`.
    """
    if wanted == "flashinfer":
        check_flashinfer()


def choose_place(
    model: LoadedModel | TransformersModel,
    wanted: BackendName,
    kept_as: KVChoice,
    *,
    page_size: int,
    cache_dir: Path,
    stop: threading.Event | None,
) -> Placement:
    """Choose where a model is computed, and bring it there.

    Args:
        model: in the host's memory.
        wanted: "auto" takes a GPU if there is one for which flashinfer is installed and which it can compute this model
            on, then the C++ kernels if they can be built, then torch.
        kept_as: how keys and values are kept.
        page_size: tokens per page.
        cache_dir: where compiled kernels are kept.
        stop: another thread sets it to have the loading given up.

    Raises:
        ModelError: `no-gpu`, `flashinfer-missing`, `flashinfer-unsuited`, `no-native-backend`.
    """
    model = _in_kept_form(model, kept_as)
    if isinstance(model, TransformersModel):
        return _foreign(model, wanted, kept_as)
    gpu = _gpu(model, wanted)
    if gpu is not None:
        return Placement(move_model(model, gpu.device), kept_as, gpu, None)
    native = None if wanted == "torch" else _native(model.config, page_size, cache_dir, stop)
    if wanted == "native" and native is None:
        raise _no_native_backend()
    return Placement(model, kept_as, None, native)


def _foreign(model: TransformersModel, wanted: BackendName, kept_as: KVChoice) -> Placement:
    """Torch on the processor, which is all that these models know."""
    architecture = model.config.architecture
    if wanted == "flashinfer":
        raise _unsuited(model.name, f"{architecture} runs through transformers")
    log.warning("%s: computing with transformers, which is several times slower", architecture)
    if wanted == "native":
        raise _no_native_backend()
    return Placement(model, kept_as, None, None)


def _no_native_backend() -> ModelError:
    return ModelError(
        "no-native-backend",
        "the native backend was asked for and cannot run here; the log says why",
        remedy='Install g++, or choose backend "auto".',
    )


def _unsuited(name: str, reason: str) -> ModelError:
    return ModelError(
        "flashinfer-unsuited",
        f"flashinfer cannot compute {name}: {reason}",
        remedy="Set model.backend to auto.",
    )


def _in_kept_form(model: LoadedModel | TransformersModel, kept_as: KVChoice) -> LoadedModel | TransformersModel:
    """The model by a fingerprint of its own if keys and values are rounded: saved contexts of the others do not fit."""
    if kept_as == "model":
        return model
    digest = hashlib.sha256(f"{model.fingerprint}\0kv {kept_as}".encode()).hexdigest()
    return replace(model, fingerprint=digest)


def _gpu(model: LoadedModel, wanted: BackendName) -> FlashInferKernels | None:
    """The kernels of the GPU, if it is to compute this model."""
    if wanted not in ("auto", "flashinfer"):
        return None
    try:
        check_flashinfer()
        reason = why_not_flashinfer(model.config, model.dtype)
        if reason is not None:
            raise _unsuited(model.name, reason)
        return _import_kernels()
    except ModelError as error:
        if wanted == "flashinfer":
            raise
        if torch.cuda.is_available():
            log.warning("computing on the processor beside a GPU: %s", error.cause)
        return None


def _import_kernels() -> FlashInferKernels:
    try:
        return FlashInferKernels(torch.device("cuda"))
    except (ImportError, OSError) as error:
        raise flashinfer_missing(str(error).splitlines()[0] if str(error) else "it cannot be imported") from error


def _native(config: ModelConfig, page_size: int, cache_dir: Path, stop: threading.Event | None) -> Kernels | None:
    reason = why_not_native(config, page_size)
    if reason is not None:
        log.warning("computing with torch, which is several times slower: %s", reason)
        return None
    return load_kernels(cache_dir, stop)
