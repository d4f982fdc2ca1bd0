"""The backend that needs nothing but torch: the reference, and what runs where no compiler is."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pie.engine.adapters.torch_rows import AdaptedRows
from pie.engine.attention import Scores, attend, plan_attention
from pie.engine.backend import Drawn, Draws, HostOutputs, Outputs, Rows, Run
from pie.engine.decode_run import decode_run
from pie.engine.fallback.decoder import TransformersDecoder
from pie.engine.fallback.loading import TransformersModel
from pie.engine.kv_cache import KVCache
from pie.engine.kv_form import KVChoice
from pie.engine.models.decoder import Decoder
from pie.engine.sampling import draw_tokens
from pie.engine.weights import LoadedModel
from pie.forward import Int32Array, PageId

__all__ = ["TorchBackend"]


class TorchBackend:
    """Runs a model with torch operations (see `pie.engine.backend.Backend`)."""

    def __init__(
        self, model: LoadedModel | TransformersModel, *, num_pages: int, page_size: int, kept_as: KVChoice = "model"
    ) -> None:
        """Place `model` beside a cache of `num_pages` pages, whose numbers are kept as that says."""
        self.name, self._decoder = _decoder(model)
        self._cache = KVCache(
            model.config, num_pages=num_pages, page_size=page_size, dtype=model.dtype, kept_as=kept_as
        )

    @property
    def kv_memory(self) -> Sequence[torch.Tensor]:
        """Keys and values of each layer."""
        return (*self._cache.keys, *self._cache.values)

    def forward(self, rows: Rows) -> Outputs:
        """Run the model over `rows`."""
        with torch.inference_mode():
            return self._decoder.forward(rows, self._cache)

    def sample(self, outputs: Outputs, draws: Draws) -> Drawn:
        """Draw one token per sampler."""
        return draw_tokens(outputs.logits, draws)

    def decode(self, rows: Rows, draws: Draws, run: Run) -> Drawn:
        """Do a whole decode run."""
        return decode_run(self, rows, draws, run)

    def copy_pages(self, copies: Int32Array) -> None:
        """Copy pages `[C, 2]` (from, to), one after another."""
        self._cache.copy(copies)

    def read_pages(self, pages: Sequence[PageId]) -> torch.Tensor:
        """Keys and values `[layers, 2, pages, page_size, kv_heads, head_dim]`, a copy."""
        return self._cache.read(pages)

    def write_pages(self, pages: Sequence[PageId], content: torch.Tensor) -> None:
        """Put what `read_pages` gave into `pages`."""
        self._cache.write(pages, content)


class _CacheAttention:
    """The keys and values of a step's rows in a `KVCache` (see `pie.engine.models.step.StepAttention`)."""

    def __init__(self, rows: Rows, cache: KVCache) -> None:
        self._cache = cache
        self._plan = plan_attention(rows, cache.page_size)

    def append(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        self._cache.append(layer, self._plan.slots, keys, values)

    def attend(self, layer: int, queries: torch.Tensor, scores: Scores) -> torch.Tensor:
        return attend(queries, self._cache, layer, self._plan, scores)


def _decoder(model: LoadedModel | TransformersModel) -> tuple[str, _PagedDecoder | TransformersDecoder]:
    return ("transformers", model.decoder) if isinstance(model, TransformersModel) else ("torch", _PagedDecoder(model))


class _PagedDecoder:
    """The decoder of our families, over a `KVCache`."""

    def __init__(self, model: LoadedModel) -> None:
        self._decoder = Decoder(model)
        self._dtype = model.dtype

    def forward(self, rows: Rows, cache: KVCache) -> Outputs:
        """Append the rows' keys and values to `cache` and give the outputs of the logit rows."""
        stream = self._decoder.run(
            torch.from_numpy(rows.token_ids),
            torch.from_numpy(rows.positions),
            _CacheAttention(rows, cache),
            AdaptedRows(rows, self._dtype),
        )
        hidden, logits = self._decoder.head(stream[torch.from_numpy(rows.logit_rows)])
        return HostOutputs(hidden.numpy(), logits.numpy())
