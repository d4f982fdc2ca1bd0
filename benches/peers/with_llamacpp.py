"""The library llama.cpp, through its C interface. Runs in the environment that `make bench-peers` makes."""

from __future__ import annotations

import sys
from collections.abc import Callable

import llama_cpp as llama
import numpy as np

from benches.peers.lines import CONTEXT, answer_lines, prompt

MAX_ROWS = 32
MAX_PROMPT = 512


class WithLlamaCpp:
    """A model of a GGUF file."""

    def __init__(self, path: str, *, repacked: bool) -> None:
        """Load it, with room for all sequences.

        Args:
            path: the file.
            repacked: let llama.cpp lay its weights out anew for this processor. That is faster for one token at a time,
                where it does so; but with tiles (Intel AMX), what g++ 12 makes of it ends the process at the first
                batch of more. So prompts are fed token by token then.
        """
        llama.llama_backend_init()
        self._at_once = 1 if repacked else MAX_PROMPT
        model_options = llama.llama_model_default_params()
        model_options.use_extra_bufts = repacked
        self._model = llama.llama_model_load_from_file(path.encode(), model_options)
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        options = llama.llama_context_default_params()
        options.n_ctx = MAX_ROWS * 512
        options.n_batch = options.n_ubatch = MAX_PROMPT
        options.n_seq_max = MAX_ROWS
        options.n_threads = options.n_threads_batch = 1
        options.kv_unified = False
        self._context = llama.llama_init_from_model(self._model, options)
        self._vocab_size = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self._model))
        self._batch = llama.llama_batch_init(MAX_PROMPT, 0, 1)

    def decode(self, num_rows: int, num_steps: int) -> Callable[[], None]:
        """Prefill now; the call makes the steps."""
        self._clear()
        tokens = [self._feed_prompt(row, CONTEXT) for row in range(num_rows)]

        def run() -> None:
            drawn = tokens
            for step in range(num_steps):
                self._run([(token, CONTEXT + step, row, True) for row, token in enumerate(drawn)])
                drawn = [self._best(row) for row in range(num_rows)]

        return run

    def prefill(self, num_tokens: int) -> Callable[[], object]:
        """The call computes one prompt."""
        self._clear()
        return lambda: self._feed_prompt(0, num_tokens)

    def logits(self) -> list[float]:
        """After the first prompt."""
        self._clear()
        self._feed_prompt(0, CONTEXT)
        return [float(logit) for logit in self._row((CONTEXT - 1) % self._at_once)]

    def _clear(self) -> None:
        llama.llama_memory_clear(llama.llama_get_memory(self._context), True)  # noqa: FBT003 - a C function

    def _feed_prompt(self, row: int, length: int) -> int:
        tokens = prompt(row, length)
        entries = [(token, at, row, at == length - 1) for at, token in enumerate(tokens)]
        for start in range(0, length, self._at_once):
            self._run(entries[start : start + self._at_once])
        return self._best((length - 1) % self._at_once)

    def _run(self, entries: list[tuple[int, int, int, bool]]) -> None:
        batch = self._batch
        batch.n_tokens = len(entries)
        for index, (token, position, row, is_read) in enumerate(entries):
            batch.token[index], batch.pos[index] = token, position
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, row
            batch.logits[index] = is_read
        if llama.llama_decode(self._context, batch) != 0:
            raise RuntimeError("llama.cpp could not run a batch")

    def _row(self, index: int) -> np.ndarray:
        return np.ctypeslib.as_array(llama.llama_get_logits_ith(self._context, index), (self._vocab_size,))

    def _best(self, index: int) -> int:
        return int(self._row(index).argmax())


if __name__ == "__main__":
    peer = WithLlamaCpp(sys.argv[1], repacked="--repacked" in sys.argv)
    answer_lines(peer.decode, peer.prefill, peer.logits)
