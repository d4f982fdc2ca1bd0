"""What the keys and values of a token follow from besides tokens and positions: an attention mask, an adapter.

A causal row without an adapter has no origin. Whoever knows the origins of all rows can compute them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from pie.forward import AdapterUse
from pie.scheduler.prefix import row_key

__all__ = ["RowOrigin", "adapted", "masked"]


@dataclass(frozen=True, slots=True)
class RowOrigin:
    """Where one row came from; nothing but its key if that was read from a file (see `Context.is_known`).

    Attributes:
        key: stands for all of it in digests, `[16 bytes]`.
        runs: its attention mask, as i32 run lengths (see `pie.mask`); empty if it is causal.
        adapter: what was applied; None is the model as it is.
    """

    key: bytes
    runs: bytes = b""
    adapter: AdapterUse | None = None

    @property
    def mask(self) -> tuple[int, ...]:
        """The attention mask as a `ForwardRequest` has it; empty is causal."""
        return tuple(np.frombuffer(self.runs, np.int32).tolist())


def masked(runs: Sequence[int], visible: npt.NDArray[np.bool_], adapter: AdapterUse | None) -> RowOrigin:
    """The origin of a row that sees these keys only, `[keys before and itself]`, which `runs` stand for."""
    key = blake2b(np.packbits(visible).tobytes(), digest_size=16).digest()
    return RowOrigin(key if adapter is None else row_key(adapter, key), np.array(runs, np.int32).tobytes(), adapter)


def adapted(adapter: AdapterUse) -> RowOrigin:
    """The origin of a causal row that used an adapter."""
    return RowOrigin(row_key(adapter), adapter=adapter)
