"""The backend of our C++ kernels: puts weights and KV pages in their layouts and decides how many threads work.

Matrices lie as `pie.engine.packing` says. The keys of a page and head are
[page / 16][head_dim / g][16][g], its values [page / 16][16 / g][head_dim][g], with g = 2 for bf16 and 1 for f32
(see `native/lanes.h`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pie.engine.attention import Scores
from pie.engine.backend import Drawn, Draws, HostOutputs, Outputs, Rows, Run
from pie.engine.kernels import (
    KernelModel,
    KernelRun,
    Kernels,
    KernelSampler,
    LayerArrays,
    MlpArrays,
    ModelArrays,
    RopeTables,
)
from pie.engine.kv_form import KVChoice, as_integers, keep, kv_dtype
from pie.engine.memory import Arena, lazy_zeros
from pie.engine.models.config import LayerConfig, ModelConfig
from pie.engine.packing import BLOCK, group_of, pack
from pie.engine.rope import rope_tables
from pie.engine.schemes import SCHEMES
from pie.engine.weights import LayerWeights, LoadedModel
from pie.forward import Int32Array, PageId

__all__ = ["NativeBackend", "why_not_native"]

_LANES = 16
_MAX_HEAD_DIM = 256

# Below this many multiply-adds a second thread costs more in waiting than it saves (measured on two cores).
_WORK_PER_THREAD = 64_000_000


def why_not_native(config: ModelConfig, page_size: int) -> str | None:
    """Why the kernels cannot run such a model, in one line; None if they can."""
    multiples = (
        ("page_size", page_size, _LANES),
        ("hidden_size", config.hidden_size, BLOCK),
        ("head_dim", config.head_dim, _LANES),
        ("the width of query, key and value together", config.qkv_size, BLOCK),
        *(("the width of an MLP", layer.mlp.size, _LANES) for layer in config.layers),
    )
    for name, value, divisor in multiples:
        if value % divisor:
            return f"{name} is {value}, not a multiple of {divisor}"
    return f"head_dim is {config.head_dim}, above {_MAX_HEAD_DIM}" if config.head_dim > _MAX_HEAD_DIM else None


@dataclass(frozen=True, slots=True, eq=False)
class _Cache:
    """`keys` [layers, pages, kv_heads, page / 16, head_dim / g, 16, g], `values` [..., 16 / g, head_dim, g]."""

    keys: torch.Tensor
    values: torch.Tensor


class NativeBackend:
    """Runs a model with the C++ kernels (see `pie.engine.backend.Backend`)."""

    name = "native"

    def __init__(
        self,
        kernels: Kernels,
        model: LoadedModel,
        *,
        num_pages: int,
        page_size: int,
        threads: int,
        kept_as: KVChoice = "model",
    ) -> None:
        """Pack the weights of `model` and make a cache of `num_pages` pages; `threads` compute at most."""
        config = model.config
        self._dtype = model.weights.embedding.dtype
        self._cache = _new_cache(config, num_pages, page_size, self._dtype, kept_as)
        self._model = KernelModel(kernels, config, _pack_model(model, self._cache), page_size=page_size)
        self._sampler = KernelSampler(kernels, config.vocab_size, threads=threads)
        self._threads = threads
        self._work_per_row = config.work_per_row

    @property
    def kv_memory(self) -> Sequence[torch.Tensor]:
        """Keys and values of each layer."""
        return (*self._cache.keys, *self._cache.values)

    def forward(self, rows: Rows) -> Outputs:
        """Run the model over `rows`."""
        return HostOutputs(*self._model.forward(rows, self._threads_for(len(rows.token_ids))))

    def sample(self, outputs: Outputs, draws: Draws) -> Drawn:
        """Draw one token per sampler."""
        return self._sampler.sample(outputs.logits, draws)

    def decode(self, rows: Rows, draws: Draws, run: Run) -> Drawn:
        """Do a whole decode run."""
        threads = np.array([self._threads_for(count) for count in range(len(rows.token_ids) + 1)], np.int32)
        return self._model.decode(self._sampler, KernelRun(rows, draws, run, threads))

    def copy_pages(self, copies: Int32Array) -> None:
        """Copy pages `[C, 2]` (from, to), one after another."""
        for cache in map(as_integers, (self._cache.keys, self._cache.values)):
            for source, target in copies.tolist():
                cache[:, target] = cache[:, source]

    def read_pages(self, pages: Sequence[PageId]) -> torch.Tensor:
        """Keys and values `[layers, 2, pages, page_size, kv_heads, head_dim]` in the model's dtype, a copy."""
        index = torch.tensor(list(pages), dtype=torch.int64)
        keys, values = (
            as_integers(cache)[:, index].view(cache.dtype).to(self._dtype)
            for cache in (self._cache.keys, self._cache.values)
        )
        # [L, P, H, T, D/g, 16, g] -> [L, P, T, 16, H, D/g, g] and [L, P, H, T, 16/g, D, g] -> [L, P, T, 16/g, g, H, D]
        keys = keys.permute(0, 1, 3, 5, 2, 4, 6).flatten(5, 6).flatten(2, 3)
        values = values.permute(0, 1, 3, 4, 6, 2, 5).flatten(2, 4)
        return torch.stack((keys, values), dim=1)

    def write_pages(self, pages: Sequence[PageId], content: torch.Tensor) -> None:
        """Put what `read_pages` gave into `pages`."""
        index = torch.tensor(list(pages), dtype=torch.int64)
        group = self._cache.keys.shape[-1]
        kept = as_integers(keep(content, self._cache.keys.dtype).contiguous())
        keys = kept[:, 0].unflatten(2, (-1, _LANES)).unflatten(5, (-1, group))
        as_integers(self._cache.keys)[:, index] = keys.permute(0, 1, 4, 2, 5, 3, 6)
        values = kept[:, 1].unflatten(2, (-1, _LANES // group, group))
        as_integers(self._cache.values)[:, index] = values.permute(0, 1, 5, 2, 3, 6, 4)

    def _threads_for(self, num_rows: int) -> int:
        return max(1, min(self._threads, num_rows * self._work_per_row // _WORK_PER_THREAD))


def _new_cache(config: ModelConfig, num_pages: int, page_size: int, dtype: torch.dtype, kept_as: KVChoice) -> _Cache:
    group, dtype = group_of(dtype), kv_dtype(kept_as, dtype)
    outer = (config.num_layers, num_pages, config.num_kv_heads, page_size // _LANES)
    return _Cache(
        keys=lazy_zeros((*outer, config.head_dim // group, _LANES, group), dtype),
        values=lazy_zeros((*outer, _LANES // group, config.head_dim, group), dtype),
    )


def _pack_model(model: LoadedModel, cache: _Cache) -> ModelArrays:
    weights, arena = model.weights, Arena()
    embedding = pack(weights.embedding, arena)
    config = model.config
    ropes = {rope: rope_tables(rope, config.max_positions) for rope in {layer.rope for layer in config.layers}}
    return ModelArrays(
        layers=tuple(
            _pack_layer(layer, does, ropes[does.rope], arena, cache, index)
            for index, (layer, does) in enumerate(zip(weights.layers, config.layers, strict=True))
        ),
        embedding=embedding,
        embedding_scale=model.embedding_scale,
        head=embedding if weights.head is weights.embedding else pack(weights.head, arena),
        final_norm=weights.final_norm.float(),
        schemes=SCHEMES[model.quantization.weights] if model.quantization else None,
    )


def _pack_layer(
    layer: LayerWeights, does: LayerConfig, rope: RopeTables, arena: Arena, cache: _Cache, index: int
) -> LayerArrays:
    return LayerArrays(
        input_norm=layer.input_norm.float(),
        mlp_norm=layer.mlp_norm.float(),
        attention_post_norm=_float(layer.attention_post_norm),
        mlp_post_norm=_float(layer.mlp_post_norm),
        q_norm=_float(layer.q_norm),
        k_norm=_float(layer.k_norm),
        qkv_bias=_float(layer.qkv_bias),
        qkv=pack(layer.qkv, arena),
        output=pack(layer.output, arena),
        keys=cache.keys[index],
        values=cache.values[index],
        mlp=MlpArrays(
            does.mlp,
            gate_up=pack(layer.gate_up, arena),
            down=pack(layer.down, arena),
            router=None if layer.router is None else pack(layer.router, arena),
        ),
        rope=rope,
        scores=Scores(does.window, does.soft_cap),
    )


def _float(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.float()
