"""The KV pages on the device, in the model's dtype or in fp8: `[pages, page_size, kv_heads, head_dim]` per layer (NHD).

One page more than the engine knows is there: captured decode steps fill their free rows with it. What is
read and written again stays the same to the bit, also in fp8 (see `pie.engine.kv_form`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pie.engine.kv_form import KVChoice, as_integers, keep, kv_dtype
from pie.engine.models.config import ModelConfig
from pie.forward import Int32Array, PageId

__all__ = ["DevicePages"]


class DevicePages:
    """Keys and values of all layers.

    Attributes:
        spare: the page that belongs to no sequence.
        dtype: what numbers are kept in.
        page_size: tokens per page.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        num_pages: int,
        page_size: int,
        model_dtype: torch.dtype,
        kept_as: KVChoice = "model",
        device: torch.device,
    ) -> None:
        """Make empty pages, whose numbers are kept as `kept_as` says."""
        self.dtype = kv_dtype(kept_as, model_dtype)
        self.spare = num_pages
        self.page_size = page_size
        self._model_dtype = model_dtype
        shape = (config.num_layers, 2, num_pages + 1, page_size, config.num_kv_heads, config.head_dim)
        self._content = torch.zeros(shape, dtype=self.dtype, device=device)

    def layer(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of a layer, [pages, page_size, kv_heads, head_dim] each; views."""
        return self._content[index, 0], self._content[index, 1]

    def kept(self, numbers: torch.Tensor) -> torch.Tensor:
        """Numbers as they are kept."""
        return keep(numbers, self.dtype)

    def copy(self, copies: Int32Array) -> None:
        """Copy pages `[C, 2]` (from, to), one after another."""
        content = as_integers(self._content)
        for source, target in copies.tolist():
            content[:, :, target] = content[:, :, source]

    def read(self, pages: Sequence[PageId]) -> torch.Tensor:
        """A copy of `pages` in the host's memory: [layers, 2, pages, page_size, kv_heads, head_dim], model's dtype."""
        kept = as_integers(self._content)[:, :, self._index(pages)].view(self.dtype)
        return kept.to(self._model_dtype).cpu()

    def write(self, pages: Sequence[PageId], content: torch.Tensor) -> None:
        """Put `content`, shaped as `read` gives it, into `pages`."""
        kept = self.kept(content.to(self._content.device))
        as_integers(self._content)[:, :, self._index(pages)] = as_integers(kept.contiguous())

    def _index(self, pages: Sequence[PageId]) -> torch.Tensor:
        return torch.tensor(list(pages), dtype=torch.int64, device=self._content.device)
