"""A decode run, step by step: each row feeds the token it drew until its limit or a stop token.

This is the definition; a backend may do the same with less ado.
"""

from __future__ import annotations

import numpy as np

from pie.engine.backend import Backend, Drawn, Draws, DrawStatus, Rows, Run

__all__ = ["decode_run"]


def decode_run(backend: Backend, rows: Rows, draws: Draws, run: Run) -> Drawn:
    """Run up to `run.steps` steps of `backend`; row i belongs to sampler i.

    Returns:
        `tokens` [S, steps]; a sampler that failed at any step has no tokens.
    """
    num_samplers = len(draws.seeds)
    tokens, num_tokens = run.begin(num_samplers)
    status = np.zeros(num_samplers, np.int32)
    active = np.arange(num_samplers)
    for step in range(run.steps):
        try:
            drawn = backend.sample(backend.forward(rows), draws)
        except (MemoryError, RuntimeError) as error:
            if not run.keeps(error, step):
                raise
            break
        new = drawn.tokens[:, 0]
        status[active] = drawn.status
        tokens[active, step] = new
        num_tokens[active] = np.where(drawn.status == DrawStatus.DRAWN, step + 1, 0)
        stops = [run.stop_ids[sampler] for sampler in active.tolist()]
        stopped = [token in ids for token, ids in zip(new.tolist(), stops, strict=True)]
        going_on = (drawn.status == DrawStatus.DRAWN) & (step + 1 < run.step_limits[active]) & ~np.array(stopped)
        keep = np.flatnonzero(going_on)
        run.tell(step + 1)
        if run.must_land or not len(keep):
            break
        rows, draws, active = rows.following(keep, new[keep]), draws.following(keep, new[keep]), active[keep]
    return run.cut(Drawn(tokens, num_tokens, status))
