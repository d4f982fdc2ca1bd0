"""What the fake device must answer, worked out from a token history alone: no pages, no batches, no scheduler."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from tests.scheduler.fake_device import noise

from pie.forward import AdapterUse

__all__ = ["History"]


class History:
    """The tokens of one context, in order."""

    def __init__(self, states: Sequence[int] = (), *, vocab_size: int = 97) -> None:
        self.states = list(states)
        self.token_ids: list[int] = []
        self._vocab_size = vocab_size

    def __len__(self) -> int:
        return len(self.states)

    def copy(self) -> History:
        copy = History(self.states, vocab_size=self._vocab_size)
        copy.token_ids = list(self.token_ids)
        return copy

    def append(
        self,
        token_id: int,
        position: int | None = None,
        visible: Sequence[bool] | None = None,
        adapter: AdapterUse | None = None,
    ) -> None:
        """Add a token; `visible` says which of the tokens before, and whether itself, it may see."""
        index = len(self.states)
        at = index if position is None else position
        seen = np.array(self.states, np.uint64)
        sees_itself = 1
        if visible is not None:
            seen = seen[np.array(visible[:index], np.bool_)]
            sees_itself = int(visible[index])
        head = np.array([token_id, at, sees_itself], np.int64).tobytes() + (adapter.key if adapter else b"")
        digest = hashlib.blake2b(head + seen.tobytes(), digest_size=8).digest()
        self.token_ids.append(token_id)
        self.states.append(int.from_bytes(digest, "little"))

    def extend(self, token_ids: Sequence[int], adapter: AdapterUse | None = None) -> None:
        for token_id in token_ids:
            self.append(token_id, adapter=adapter)

    def drop(self, num_tokens: int) -> None:
        del self.states[len(self.states) - num_tokens :]
        del self.token_ids[len(self.token_ids) - num_tokens :]

    def next_token(self) -> int:
        """The token a greedy sampler draws at the last one."""
        return int((noise(self.states[-1], self._vocab_size) * 8.0).argmax())
