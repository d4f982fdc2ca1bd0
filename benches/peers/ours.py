"""Our engine alone, greedy, in decode runs of sixteen steps."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benches.peers.lines import CONTEXT, answer_lines, prompt
from pie.engine.engine import Engine
from pie.engine.kernel_build import FLAGS, SOURCES
from pie.engine.memory import Arena
from pie.engine.schemes import SCHEMES, WeightsChoice
from pie.forward import Batch, Logits

READING = Path(__file__).with_name("reading.cpp")

PAGES = 2048
"""Pages of the KV cache."""

RUN = 16
"""Steps of one call, which is what the scheduler asks for while nothing else is to do."""


def first_batch(engine: Engine, num_rows: int, length: int, room: int) -> Batch:
    """All prompts whole, and a greedy draw after each; `room` is how many tokens each sequence may hold."""
    width = -(-room // engine.info.page_size)
    rows = np.arange(num_rows, dtype=np.int32)
    positions = np.tile(np.arange(length, dtype=np.int32), num_rows)
    return Batch(
        token_ids=np.array([prompt(row, length) for row in range(num_rows)], np.int32).ravel() % engine.info.vocab_size,
        positions=positions,
        sequence_of_row=np.repeat(rows, length),
        kv_index=positions,
        page_table=np.arange(num_rows * width, dtype=np.int32).reshape(num_rows, width),
        logit_rows=rows * length + length - 1,
        sampler_rows=rows,
        temperature=np.zeros(num_rows, np.float32),
        top_k=np.zeros(num_rows, np.int32),
        top_p=np.ones(num_rows, np.float32),
        min_p=np.zeros(num_rows, np.float32),
        seeds=np.zeros(num_rows, np.uint64),
        counters=np.zeros(num_rows, np.uint64),
        logit_masks=np.zeros((0, (engine.info.vocab_size + 31) // 32), np.uint32),
        sampler_masks=np.full(num_rows, -1, np.int32),
    )


def decode_batch(first: Batch, tokens: np.ndarray, position: int, steps: int) -> Batch:
    """A run of `steps` steps of all sequences, whose next token stands at `position`."""
    num_rows = len(tokens)
    rows, at = np.arange(num_rows, dtype=np.int32), np.full(num_rows, position, np.int32)
    return replace(
        first,
        token_ids=tokens,
        positions=at,
        sequence_of_row=rows,
        kv_index=at,
        logit_rows=rows,
        steps=steps,
        step_limits=np.full(num_rows, steps, np.int32),
        stop_ids=(np.zeros(0, np.int32),) * num_rows,
    )


class Ours:
    """The engine with the model of a directory."""

    def __init__(self, model: Path, weights: WeightsChoice = "original") -> None:
        """Load it with a choice of weights."""
        self._engine = Engine(model, weights=weights, num_pages=PAGES, num_host_pages=0)
        if self._engine.backend != "native":
            raise RuntimeError("the kernels could not be built: there is nothing to compare")

    def decode(self, num_rows: int, num_steps: int, *, context: int = CONTEXT) -> Callable[[], None]:
        """Prefill prompts of `context` tokens now; the call makes the steps."""
        engine, first = self._engine, first_batch(self._engine, num_rows, context, context + num_steps)
        tokens = engine.step(first).tokens[:, 0]

        def run() -> None:
            drawn = tokens
            for done in range(0, num_steps, RUN):
                batch = decode_batch(first, drawn, context + done, min(RUN, num_steps - done))
                drawn = engine.step(batch).tokens[:, -1]

        return run

    def prefill(self, num_tokens: int) -> Callable[[], object]:
        """The call computes one prompt."""
        batch = first_batch(self._engine, 1, num_tokens, num_tokens)
        return lambda: self._engine.step(batch)

    def logits(self) -> list[float]:
        """After the first prompt."""
        batch = replace(first_batch(self._engine, 1, CONTEXT, CONTEXT), probes=((0, Logits()),))
        (value,) = self._engine.step(batch).probes
        if not isinstance(value, np.ndarray):
            raise TypeError("the engine told no logits")
        return [float(logit) for logit in value]


def bandwidth() -> float:
    """Bytes per second that this process reads from memory, on one thread, by its CPU time: the best of ten.

    Five by a loop that does nothing else, and asks ahead as our kernels do, and five by torch.
    """
    block = Arena().zeros((1 << 28,), torch.float32).fill_(1)
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "reading.so"
        command = ["g++", *FLAGS, "-march=native", f"-I{SOURCES}", str(READING), "-o", str(library)]
        subprocess.run(command, check=True)
        read = ctypes.CDLL(str(library)).read_memory
    pointer, size = ctypes.c_void_p(block.data_ptr()), ctypes.c_size_t(block.nbytes)
    fastest = float(block.nbytes) / min(_cpu_s(lambda: read(pointer, size)) for _ in range(5))
    return max(fastest, torch_bandwidth(block))


def torch_bandwidth(block: torch.Tensor | None = None) -> float:
    """The same by sums of torch alone, the best of five; of a gigabyte, or of a block that is there."""
    block = Arena().zeros((1 << 28,), torch.float32).fill_(1) if block is None else block
    return float(block.nbytes) / min(_cpu_s(block.sum) for _ in range(5))


def _cpu_s(run: Callable[[], object]) -> float:
    started_s = time.process_time()
    run()
    return time.process_time() - started_s


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "bandwidth":
        print(json.dumps({"bytes_per_s": bandwidth()}))
    else:
        ours = Ours(Path(sys.argv[1]), next((choice for choice in SCHEMES if choice in sys.argv[2:]), "original"))
        answer_lines(ours.decode, ours.prefill, ours.logits)
