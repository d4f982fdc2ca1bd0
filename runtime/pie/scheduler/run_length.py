"""How many steps a run of decode rows has.

A *closed* run goes to its end: it lasts about as long as somebody who comes meanwhile may wait. An *open* one ends
when somebody needs the device (see `open_run`); there is one only where nobody waits already, all rows take part, and
nothing but their sinks looks at what they draw.
"""

from __future__ import annotations

from dataclasses import dataclass

from pie.forward import Int32Array
from pie.scheduler.rows import DecodeRows

__all__ = ["RunLength", "run_length"]


@dataclass(frozen=True, slots=True)
class RunLength:
    """How many steps a run may have.

    Attributes:
        closed: of a closed run; 1 is a step like any other.
        most: of an open run; as many as of a closed one if there can be no open one.
    """

    closed: int
    most: int


def run_length(
    rows: DecodeRows, chosen: slice | Int32Array, num_rows: int, *, fitting: int, most: int, somebody_waits: bool
) -> RunLength:
    """How many steps a run of some rows may have.

    Args:
        rows: the running decodes.
        chosen: those that take part.
        num_rows: how many these are.
        fitting: steps that a newcomer may wait for.
        most: steps of any run.
        somebody_waits: whether somebody waits for pages, or for a device without these rows.
    """
    if not num_rows or rows.num_stepwise:
        return RunLength(1, 1)
    if rows.num_windowed:  # a run has no masks: it ends before a row that does not see everything
        most = min(most, int((rows.narrow_from[chosen] - rows.kv_index[chosen]).min()))
    most = max(1, min(most, int(rows.limit[chosen].max())))
    closed = max(1, min(most, fitting))
    may_be_open = num_rows == rows.count and not (rows.num_watched or rows.num_drafting or somebody_waits)
    return RunLength(closed, most if may_be_open else closed)
