"""A decode run in which the next step is planned and handed over while the device computes the one before.

Tokens stay on the device: a step feeds what the one before has drawn, and the host reads it one step later. So it
learns one step late that a row has drawn a stop token; what that row computes meanwhile goes into a slot of its own
that its limit has reserved, and counts for nothing. Rows that reach their limits are known in time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from pie.engine.backend import Drawn, Draws, DrawStatus, Rows, Run
from pie.engine.flashinfer_backend.upload import upload

__all__ = ["Launch", "Launched", "pipelined_run"]


class Launched:
    """A step on its way.

    Attributes:
        tokens: [S] i32, what it draws, on the device.
    """

    def __init__(self, tokens: torch.Tensor, status: torch.Tensor) -> None:
        """Begin to fetch tokens and status [S] i32 to the host."""
        self.tokens = tokens
        both = torch.stack((tokens, status))
        self._event: torch.cuda.Event | None = None
        self._host = both
        if both.is_cuda:
            self._host = torch.empty(both.shape, dtype=both.dtype, pin_memory=True)
            self._host.copy_(both, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    def read(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Tokens and status [S], when they are there."""
        if self._event is not None:
            self._event.synchronize()
        tokens, status = self._host.numpy()
        return tokens, status


Launch = Callable[[Rows, Draws, torch.Tensor | None], Launched]
"""Hands a step to the device; the third says what its rows feed, [R] i32 on the device, instead of their token ids."""


@dataclass(slots=True, eq=False)
class _Tally:
    """What a run has made so far, per sampler."""

    run: Run
    tokens: npt.NDArray[np.int32]
    num_tokens: npt.NDArray[np.int32]
    status: npt.NDArray[np.int32]
    ended: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.ended = np.zeros(len(self.status), np.bool_)

    def goes_on(self, active: npt.NDArray[np.intp], step: int) -> npt.NDArray[np.intp]:
        """Which rows of `step` have another step, as far as is known while it is computed."""
        if step + 1 == self.run.steps:
            return np.zeros(0, np.intp)
        return np.flatnonzero((self.run.step_limits[active] > step + 1) & ~self.ended[active])

    def take(self, active: npt.NDArray[np.intp], step: int, launched: Launched) -> None:
        """Count what a step has drawn; rows that have ended before it drew nothing."""
        tokens, status = launched.read()
        for row, sampler in enumerate(active.tolist()):
            if self.ended[sampler]:
                continue
            drawn = status[row] == DrawStatus.DRAWN
            self.tokens[sampler, step] = tokens[row]
            self.status[sampler] = status[row]
            self.num_tokens[sampler] = step + 1 if drawn else 0
            self.ended[sampler] = not drawn or tokens[row] in self.run.stop_ids[sampler]


def pipelined_run(launch: Launch, rows: Rows, draws: Draws, run: Run) -> Drawn:
    """What `pie.engine.decode_run.decode_run` gives, of samplers without adjustments (which count on the host)."""
    count = len(draws.seeds)
    tally = _Tally(run, *run.begin(count), np.zeros(count, np.int32))
    active = np.arange(count)
    launched, step = launch(rows, draws, None), 0
    while True:
        keep = tally.goes_on(active, step)
        following = None
        if len(keep) and not run.must_land:
            unknown = np.zeros(len(keep), np.int32)
            rows, draws = rows.following(keep, unknown), draws.following(keep, unknown)
            index = upload(keep, launched.tokens.device)
            try:
                following = launch(rows, draws, launched.tokens[index])
            except (MemoryError, RuntimeError) as error:
                if not run.keeps(error, step + 1):
                    raise
        tally.take(active, step, launched)
        run.tell(step + 1)
        active = active[keep]
        if following is None or tally.ended[active].all():
            return run.cut(Drawn(tally.tokens, tally.num_tokens, tally.status))
        launched, step = following, step + 1
