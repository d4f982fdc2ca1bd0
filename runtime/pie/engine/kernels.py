"""The C++ kernels as Python sees them: the structs of `native/`, and calls with numpy arrays and tensors.

Every class here mirrors a struct of the same name in C++, field by field. Arrays given to a struct must outlive it;
the functions below see to that for the time of a call.
"""

from __future__ import annotations

import ctypes
import threading
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch  # before the kernels are loaded: they use torch's OpenMP runtime

from pie.adjustment import Adjustments
from pie.engine.adapters.weights import MODULES, AdapterWeights
from pie.engine.attention import Scores
from pie.engine.backend import Drawn, Draws, Rows, Run
from pie.engine.kernel_build import build_kernels
from pie.engine.kv_form import FP8
from pie.engine.models.config import Activation, MlpConfig, ModelConfig
from pie.engine.schemes import Schemes

__all__ = [
    "KernelModel",
    "KernelRun",
    "KernelSampler",
    "Kernels",
    "LayerArrays",
    "MlpArrays",
    "ModelArrays",
    "RopeTables",
    "load_kernels",
]

_Int = ctypes.c_int32
_Float = ctypes.c_float
_Pointer = ctypes.c_void_p
_Table = npt.NDArray[np.void]


class _Form(ctypes.Structure):
    _fields_ = (("bits", _Int), ("group", _Int))


class _Shape(ctypes.Structure):
    _fields_ = (
        *(
            (name, _Int)
            for name in ("hidden", "layers", "heads", "kv_heads", "head_dim", "vocab", "page_size", "kv_fp8")
        ),
        ("layer_form", _Form),
        ("head_form", _Form),
        *((name, _Float) for name in ("norm_epsilon", "query_scale", "embedding_scale", "logit_cap")),
    )


class _Mlp(ctypes.Structure):
    _fields_ = (
        *((name, _Pointer) for name in ("gate_up", "down", "router")),
        *((name, _Int) for name in ("size", "activation", "experts", "per_token", "normed")),
    )


_ACTIVATIONS: tuple[Activation, ...] = ("silu", "gelu_tanh", "gelu")
"""As the enumeration of that name counts them."""


class _Rope(ctypes.Structure):
    _fields_ = (("cosines", _Pointer), ("sines", _Pointer), ("pairs", _Int))


class _Scores(ctypes.Structure):
    _fields_ = (("window", _Int), ("soft_cap", _Float))


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, _Pointer) for name in ("input_norm", "mlp_norm", "attention_post_norm", "mlp_post_norm")),
        *((name, _Pointer) for name in ("q_norm", "k_norm", "qkv_bias", "qkv", "output", "keys", "values")),
        ("mlp", _Mlp),
        ("rope", _Rope),
        ("scores", _Scores),
    )


class _ModelPointers(ctypes.Structure):
    _fields_ = (
        ("shape", _Shape),
        *((name, _Pointer) for name in ("layers", "embedding", "head", "final_norm")),
    )


class _Rows(ctypes.Structure):
    _fields_ = (
        *((name, _Int) for name in ("num_rows", "num_logits", "table_width", "mask_width")),
        *((name, _Pointer) for name in ("token_ids", "positions", "sequence_of_row", "kv_index", "page_table")),
        *((name, _Pointer) for name in ("logit_rows", "key_mask", "mask_of_row", "page_numbers")),
        *((name, _Pointer) for name in ("adapter_tables", "adapter_of_row")),
    )


_LOW_RANK = np.dtype([("down", np.uintp), ("up", np.uintp), ("rank", np.int32), ("scaling", np.float32)])


class _Draws(ctypes.Structure):
    _fields_ = (
        ("num_samplers", _Int),
        ("mask_words", _Int),
        *((name, _Pointer) for name in ("sampler_rows", "temperature", "top_k", "top_p", "min_p", "seeds")),
        *((name, _Pointer) for name in ("counters", "logit_masks", "sampler_masks")),
        ("num_adjusted", _Int),
        *((name, _Pointer) for name in Adjustments.__slots__),
    )


class _Run(ctypes.Structure):
    _fields_ = (
        ("steps", _Int),
        *((name, _Pointer) for name in ("step_limits", "stop_ids", "stop_starts", "num_steps", "landing")),
    )


@dataclass(frozen=True, slots=True, eq=False)
class MlpArrays:
    """What an MLP does, and its matrices, packed; those of experts lie one above the other."""

    config: MlpConfig
    gate_up: torch.Tensor
    down: torch.Tensor
    router: torch.Tensor | None


RopeTables = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines, as `rope_tables` gives them."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerArrays:
    """One layer in the kernels' form: norms and bias f32, matrices packed, this layer's part of the cache."""

    input_norm: torch.Tensor
    mlp_norm: torch.Tensor
    attention_post_norm: torch.Tensor | None
    mlp_post_norm: torch.Tensor | None
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    qkv_bias: torch.Tensor | None
    qkv: torch.Tensor
    output: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    mlp: MlpArrays
    rope: RopeTables
    scores: Scores


@dataclass(frozen=True, slots=True, eq=False)
class ModelArrays:
    """A model in the kernels' form: embedding and head packed, final norm f32.

    With `schemes` the matrices of the layers and the head are packed as integers, not the embedding.
    """

    layers: tuple[LayerArrays, ...]
    embedding: torch.Tensor
    embedding_scale: float
    head: torch.Tensor
    final_norm: torch.Tensor
    schemes: Schemes | None


class Kernels:
    """The loaded library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Declare the library's functions."""
        library.pie_model_new.restype = _Pointer
        library.pie_model_new.argtypes = (_Pointer, ctypes.c_int)
        library.pie_model_free.argtypes = (_Pointer,)
        library.pie_forward.argtypes = (_Pointer, _Pointer, _Pointer, _Pointer, ctypes.c_int)
        library.pie_samplers_new.restype = _Pointer
        library.pie_samplers_new.argtypes = (ctypes.c_int, ctypes.c_int)
        library.pie_samplers_free.argtypes = (_Pointer,)
        library.pie_sample.argtypes = (_Pointer,) * 5
        library.pie_decode.argtypes = (_Pointer,) * 9
        for name in ("pie_model_free", "pie_samplers_free"):
            getattr(library, name).restype = None
        for name in ("pie_forward", "pie_sample", "pie_decode"):
            getattr(library, name).restype = _did
        self.library = library


def _did(fits_memory: int) -> None:
    if not fits_memory:
        raise MemoryError("the kernels cannot allocate memory")


def load_kernels(cache_dir: Path, stop: threading.Event | None = None) -> Kernels | None:
    """Build or find the kernels and load them; None, and one line in the log, where that is not possible.

    Raises:
        ModelError: `stopped`, because of `stop`.
    """
    library = build_kernels(cache_dir, stop=stop)
    return None if library is None else Kernels(library)


class KernelModel:
    """A model inside the kernels; lives as long as this object."""

    def __init__(self, kernels: Kernels, config: ModelConfig, arrays: ModelArrays, *, page_size: int) -> None:
        """Hand the arrays over; they are kept, not copied."""
        self._library = kernels.library
        self._arrays = arrays
        self._hidden_size = config.hidden_size
        self._vocab_size = config.vocab_size
        self._stride = -(-config.vocab_size // 32) * 32
        self._adapter_tables: WeakKeyDictionary[AdapterWeights, _Table] = WeakKeyDictionary()
        shape = _shape(config, arrays, page_size)
        layers = (_Layer * config.num_layers)(*(_layer(layer) for layer in arrays.layers))
        tensors = (arrays.embedding, arrays.head, arrays.final_norm)
        pointers = _ModelPointers(shape, ctypes.addressof(layers), *(tensor.data_ptr() for tensor in tensors))
        is_bf16 = arrays.embedding.dtype == torch.bfloat16
        self._handle = self._library.pie_model_new(ctypes.addressof(pointers), is_bf16)

    def __del__(self) -> None:
        """Free the C++ side; it owns buffers only, so the moment does not matter."""
        self._library.pie_model_free(self._handle)

    def forward(self, rows: Rows, threads: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Hidden states [L, hidden] and logits [L, vocab], a view of rows padded to a multiple of 32."""
        num_logits = len(rows.logit_rows)
        hidden = np.empty((num_logits, self._hidden_size), np.float32)
        logits = np.empty((num_logits, self._stride), np.float32)
        struct, _tables = self._rows(rows)
        self._library.pie_forward(self._handle, ctypes.addressof(struct), *_addresses(hidden, logits), threads)
        return hidden, logits[:, : self._vocab_size]

    def decode(self, sampler: KernelSampler, run: KernelRun) -> Drawn:
        """Do a decode run."""
        num_samplers = len(run.draws.seeds)
        tokens, num_tokens = run.run.begin(num_samplers)
        status = np.zeros(num_samplers, np.int32)
        stop_starts = np.cumsum([0, *map(len, run.run.stop_ids)], dtype=np.int32)
        stop_ids = np.concatenate((np.zeros(0, np.int32), *run.run.stop_ids))
        limits = _addresses(run.run.step_limits, stop_ids, stop_starts)
        rows, _tables = self._rows(run.rows)
        progress = run.run.progress
        shared = (None, None) if progress is None else _addresses(progress.num_steps, progress.landing)
        structs = (rows, _draws(run.draws), _Run(run.run.steps, *limits, *shared))
        self._library.pie_decode(
            self._handle,
            sampler.handle,
            *map(ctypes.addressof, structs),
            *_addresses(run.threads_by_rows, tokens, num_tokens, status),
        )
        return run.run.cut(Drawn(tokens, num_tokens, status))

    def _rows(self, rows: Rows) -> tuple[_Rows, npt.NDArray[np.uintp]]:
        """The struct of the rows, and the addresses of their adapters' tables, which it points to."""
        tables = [self._adapter_table(weights) for weights in rows.adapters]
        addresses = np.array([table.ctypes.data for table in tables], np.uintp)
        return _rows(rows, addresses), addresses

    def _adapter_table(self, weights: AdapterWeights) -> _Table:
        """[layers * modules] of `_LOW_RANK`; it lives as long as the weights that it points to."""
        table = self._adapter_tables.get(weights)
        if table is None:
            table = self._adapter_tables[weights] = _low_rank_table(weights)
        return table


@dataclass(frozen=True, slots=True, eq=False)
class KernelRun:
    """A decode run; `threads_by_rows[n]` threads compute while n rows are left, [R + 1] i32."""

    rows: Rows
    draws: Draws
    run: Run
    threads_by_rows: npt.NDArray[np.int32]


class KernelSampler:
    """The samplers inside the kernels, for rows of one vocabulary size."""

    def __init__(self, kernels: Kernels, vocab_size: int, *, threads: int = 1) -> None:
        """Make samplers for up to `threads` threads."""
        self._library = kernels.library
        self.handle = self._library.pie_samplers_new(vocab_size, threads)

    def __del__(self) -> None:
        """Free the C++ side; it owns buffers only, so the moment does not matter."""
        self._library.pie_samplers_free(self.handle)

    def sample(self, logits: npt.NDArray[np.float32], draws: Draws) -> Drawn:
        """Draw one token per sampler from logits [L, vocab] whose rows lie a multiple of 32 apart."""
        tokens, status = np.empty((2, len(draws.seeds)), np.int32)
        struct = _draws(draws)
        self._library.pie_sample(
            self.handle, *_addresses(logits), ctypes.addressof(struct), *_addresses(tokens, status)
        )
        return Drawn(tokens[:, None], (status == 0).astype(np.int32), status)


def _shape(config: ModelConfig, arrays: ModelArrays, page_size: int) -> _Shape:
    sizes = (config.hidden_size, config.num_layers, config.num_heads, config.num_kv_heads, config.head_dim)
    return _Shape(
        *sizes,
        config.vocab_size,
        page_size,
        arrays.layers[0].keys.dtype == FP8,
        *_forms(arrays.schemes),
        config.norm_epsilon,
        config.query_scale,
        arrays.embedding_scale,
        config.logit_cap or 0.0,
    )


def _forms(schemes: Schemes | None) -> tuple[_Form, _Form]:
    """Of the layers and of the head."""
    if schemes is None:
        return _Form(0, 0), _Form(0, 0)
    return _Form(schemes.layers.bits, schemes.layers.group), _Form(schemes.head.bits, schemes.head.group)


def _layer(layer: LayerArrays) -> _Layer:
    tensors = (getattr(layer, name) for name, kind, *_ in _Layer._fields_ if kind is _Pointer)
    rope = _Rope(*map(_data, layer.rope), layer.rope[0].shape[1])
    scores = _Scores(min(layer.scores.window or 0, 2**31 - 1), layer.scores.soft_cap or 0.0)
    return _Layer(*map(_data, tensors), _mlp(layer.mlp), rope, scores)


def _mlp(mlp: MlpArrays) -> _Mlp:
    config = mlp.config
    pointers = map(_data, (mlp.gate_up, mlp.down, mlp.router))
    experts = (0, 0, 0) if config.experts is None else astuple(config.experts)
    return _Mlp(*pointers, config.size, _ACTIVATIONS.index(config.activation), *experts)


def _data(tensor: torch.Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _low_rank_table(weights: AdapterWeights) -> _Table:
    table = np.zeros((len(weights.layers), len(MODULES)), _LOW_RANK)
    for number, layer in enumerate(weights.layers):
        for name, change in layer.items():
            pointers = (change.down.ctypes.data, change.up.ctypes.data)
            table[number, MODULES.index(name)] = (*pointers, len(change.down), weights.scaling)
    return table


def _rows(rows: Rows, adapter_tables: npt.NDArray[np.uintp]) -> _Rows:
    mask, mask_of_row = rows.key_mask, rows.mask_of_row
    arrays = (rows.token_ids, rows.positions, rows.sequence_of_row, rows.kv_index, rows.page_table, rows.logit_rows)
    return _Rows(
        len(rows.token_ids),
        len(rows.logit_rows),
        rows.page_table.shape[1],
        0 if mask is None else mask.shape[1],
        *_addresses(*arrays, mask, mask_of_row, rows.page_numbers, adapter_tables, rows.adapter_of_row),
    )


def _draws(draws: Draws) -> _Draws:
    samplers = (draws.sampler_rows, draws.temperature, draws.top_k, draws.top_p, draws.min_p, draws.seeds)
    rest = (draws.counters, draws.logit_masks, draws.sampler_masks)
    adjusted = () if draws.adjustments is None else [getattr(draws.adjustments, name) for name in Adjustments.__slots__]
    num_adjusted = len(adjusted[0]) if adjusted else 0
    arrays = (*_addresses(*samplers, *rest), num_adjusted, *_addresses(*adjusted))
    return _Draws(len(draws.seeds), draws.logit_masks.shape[1], *arrays)


def _addresses(*arrays: npt.NDArray[Any] | None) -> list[int | None]:
    """Where the numbers of the arrays lie."""
    return [None if array is None else _address(array) for array in arrays]


def _address(array: npt.NDArray[Any]) -> int:
    if array.size and array.flags.carray:  # contiguous and writeable, as that call wants it
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))  # a third of the time of `ctypes.data`
    return array.ctypes.data
