"""The backend of flashinfer's kernels: the decoder of torch on a GPU, with their attention over pages.

Weights, pages and the step's rows are on the device; the host plans. What comes out agrees with the other backends up
to rounding, and a row's result depends on its neighbours up to rounding too: the kernels and matrix products choose
their order of additions by the shape of the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from pie.engine.backend import Drawn, Draws, Outputs, Rows, Run
from pie.engine.decode_run import decode_run
from pie.engine.flashinfer_backend.captured_decode import Capture, CapturedDecode
from pie.engine.flashinfer_backend.decode_pipeline import Launched, pipelined_run
from pie.engine.flashinfer_backend.device_adapters import DeviceAdapters
from pie.engine.flashinfer_backend.device_pages import DevicePages
from pie.engine.flashinfer_backend.device_sampling import draw_on_device
from pie.engine.flashinfer_backend.graph_padding import captured_sizes, decode_tables, fitting_size
from pie.engine.flashinfer_backend.kernels import Kernels
from pie.engine.flashinfer_backend.step_attention import plan_calls, shares_much
from pie.engine.flashinfer_backend.upload import upload
from pie.engine.models.decoder import Decoder
from pie.engine.weights import LoadedModel
from pie.forward import Int32Array, PageId

__all__ = ["DeviceOutputs", "FlashInferBackend"]

Float32Array = npt.NDArray[np.float32]

_MOST_CAPTURED_ROWS = 128
_TURNS = 2


@dataclass(frozen=True, eq=False)
class DeviceOutputs:
    """Outputs that stay on the device until somebody on the host looks: normed rows and logits [L, ...] f32."""

    hidden_on_device: torch.Tensor
    logits_on_device: torch.Tensor

    @cached_property
    def hidden(self) -> Float32Array:
        """As in `Outputs`; fetched once."""
        fetched: Float32Array = self.hidden_on_device.cpu().numpy()
        return fetched

    @cached_property
    def logits(self) -> Float32Array:
        """As in `Outputs`; fetched once."""
        fetched: Float32Array = self.logits_on_device.cpu().numpy()
        return fetched


class FlashInferBackend:
    """Runs a model that is on the device of `kernels` (see `pie.engine.backend.Backend`)."""

    name = "flashinfer"

    def __init__(self, kernels: Kernels, model: LoadedModel, pages: DevicePages, *, capture: Capture | None) -> None:
        """Take a model whose weights are on the device; `capture` makes graphs of decode steps, None captures none."""
        self._kernels = kernels
        self._config = model.config
        self._dtype = model.weights.embedding.dtype
        self._decoder = Decoder(model)
        self._pages = pages
        self._adapters = DeviceAdapters(kernels, self._dtype)
        has_experts = any(layer.mlp.experts is not None for layer in model.config.layers)
        self._capture = None if has_experts else capture  # which experts compute is for the host to see
        self._captured: dict[tuple[int, int], CapturedDecode] = {}
        self._turn = 0

    @property
    def kv_memory(self) -> Sequence[torch.Tensor]:
        """None of the host's: all of it is taken on the device already."""
        return ()

    def forward(self, rows: Rows) -> Outputs:
        """Run the model over `rows`."""
        with torch.inference_mode():
            return DeviceOutputs(*self._compute(rows, None))

    def sample(self, outputs: Outputs, draws: Draws) -> Drawn:
        """Draw one token per sampler."""
        with torch.inference_mode():
            if isinstance(outputs, DeviceOutputs):
                logits = outputs.logits_on_device
            else:
                logits = torch.from_numpy(outputs.logits).to(self._kernels.device)
            tokens, status = Launched(*draw_on_device(logits, draws)).read()
        return Drawn(tokens[:, None], (status == 0).astype(np.int32), status)

    def decode(self, rows: Rows, draws: Draws, run: Run) -> Drawn:
        """Do a whole decode run; row i belongs to sampler i."""
        if draws.adjustments is not None:  # they count what is drawn, on the host
            return decode_run(self, rows, draws, run)
        with torch.inference_mode():
            return pipelined_run(self._launch, rows, draws, run)

    def copy_pages(self, copies: Int32Array) -> None:
        """Copy pages `[C, 2]` (from, to), one after another."""
        self._pages.copy(copies)

    def read_pages(self, pages: Sequence[PageId]) -> torch.Tensor:
        """Keys and values `[layers, 2, pages, page_size, kv_heads, head_dim]`, a copy in the host's memory."""
        return self._pages.read(pages)

    def write_pages(self, pages: Sequence[PageId], content: torch.Tensor) -> None:
        """Put what `read_pages` gave into `pages`."""
        self._pages.write(pages, content)

    def _launch(self, rows: Rows, draws: Draws, token_ids: torch.Tensor | None) -> Launched:
        _, logits = self._compute(rows, token_ids)
        return Launched(*draw_on_device(logits, draws))

    def _compute(self, rows: Rows, token_ids: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Normed rows and logits of the logit rows; `token_ids` [R] i32 on the device are fed if given."""
        logit_rows = upload(rows.logit_rows, self._kernels.device)
        captured = self._captured_for(rows)
        if captured is not None:
            tables = decode_tables(rows, captured.size, page_size=self._pages.page_size, spare_page=self._pages.spare)
            hidden, logits = captured.run(tables, token_ids)
            return hidden[logit_rows], logits[logit_rows]  # copies: the next run writes over its own
        attention = plan_calls(self._kernels, self._pages, self._config, rows, self._dtype)
        device = self._kernels.device
        token_ids = upload(rows.token_ids, device) if token_ids is None else token_ids
        stream = self._decoder.run(token_ids, upload(rows.positions, device), attention, self._adapters.of(rows))
        return self._decoder.head(stream[logit_rows])

    def _captured_for(self, rows: Rows) -> CapturedDecode | None:
        """The captured step for these rows, captured when it is first needed; None if they are no plain decode step."""
        size = fitting_size(len(rows.token_ids), captured_sizes(_MOST_CAPTURED_ROWS))
        if self._capture is None or size is None or not self._is_plain_decode(rows):
            return None
        self._turn = (self._turn + 1) % _TURNS
        key = (size, self._turn)
        if key not in self._captured:
            self._captured[key] = CapturedDecode(
                self._decoder,
                kernels=self._kernels,
                pages=self._pages,
                config=self._config,
                dtype=self._dtype,
                size=size,
                capture=self._capture,
            )
        return self._captured[key]

    def _is_plain_decode(self, rows: Rows) -> bool:
        """One row for each sequence, no masks, no adapters, and no long beginning that is better read by itself."""
        if rows.mask_of_row is not None or len(np.unique(rows.sequence_of_row)) != len(rows.sequence_of_row):
            return False
        if rows.adapter_of_row is not None and (rows.adapter_of_row >= 0).any():
            return False
        if rows.page_numbers is not None and any(layer.window is not None for layer in self._config.layers):
            return False
        return not shares_much(self._config, rows, self._pages.page_size)
