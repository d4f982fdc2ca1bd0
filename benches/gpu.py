"""How near does a decode step on a GPU come to what its memory and its multipliers allow?

The shapes of Qwen3-0.6B and Qwen3-8B with random weights, bf16, 1024 tokens in each sequence, greedy, in runs of
sixteen steps. A step reads all weights and the keys and values of its sequences, and multiplies each row by all
matrices: what takes longer of the two is its roofline, at the speeds of reading and of a large product that the card
shows in the same rounds. `floor_S_bB` is the roofline's time by the step's. Where there is no GPU one line says so.

No figure of this has been taken yet.

    python -m benches.gpu --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from benches.decode import SIZES, WORK
from benches.peers.ours import RUN, decode_batch, first_batch
from pie.engine.engine import Engine
from pie.engine.flashinfer_backend.availability import check_flashinfer, describe_gpu
from pie.errors import ModelError
from pie.testing import ModelSizes, write_random_model

SHAPES = {
    "0.6b": SIZES,
    "8b": replace(SIZES, hidden_size=4096, num_hidden_layers=36, num_attention_heads=32, intermediate_size=12288),
}
TIED = {"0.6b": True, "8b": False}
BATCHES = (1, 8, 32, 128)
CONTEXT = 1024
RUNS = 4
READ_BYTES = 1 << 30
SQUARE = 8192


@dataclass(frozen=True, slots=True)
class Speeds:
    """What the card does: bytes read and multiply-adds in bf16, each per second."""

    bytes_per_s: float
    products_per_s: float


def roofline_s(sizes: ModelSizes, batch: int, context: int, speeds: Speeds) -> float:
    """The least time of a step of `batch` sequences with so many tokens each."""
    heads = sizes.num_attention_heads * sizes.head_dim
    keys = sizes.num_key_value_heads * sizes.head_dim
    layer = sizes.hidden_size * (2 * heads + 2 * keys + 3 * sizes.intermediate_size)
    matrices = sizes.num_hidden_layers * layer + sizes.hidden_size * sizes.vocab_size
    kept = sizes.num_hidden_layers * 2 * keys * context * batch
    attention = sizes.num_hidden_layers * 2 * heads * context * batch
    return max(2 * (matrices + kept) / speeds.bytes_per_s, (matrices * batch + attention) / speeds.products_per_s)


def seconds(work: Callable[[], object]) -> float:
    """How long the device takes, the best of five."""
    best_s = float("inf")
    for _ in range(5):
        torch.cuda.synchronize()
        started_s = time.perf_counter()
        work()
        torch.cuda.synchronize()
        best_s = min(best_s, time.perf_counter() - started_s)
    return best_s


def speeds() -> Speeds:
    """Measure the card."""
    block = torch.ones(READ_BYTES // 4, device="cuda")
    square = torch.randn(SQUARE, SQUARE, device="cuda", dtype=torch.bfloat16)
    return Speeds(READ_BYTES / seconds(block.sum), SQUARE**3 / seconds(lambda: square @ square))


def step_s(engine: Engine, batch: int) -> float:
    """Seconds of a decode step, over `RUNS` runs after one that captures it."""
    room = CONTEXT + RUN * (RUNS + 1)
    first = first_batch(engine, batch, CONTEXT, room)
    tokens = np.zeros(batch, np.int32)
    for row in range(batch):  # one prompt a step: all at once may not fit
        part = slice(row * CONTEXT, (row + 1) * CONTEXT)
        alone = first_batch(engine, 1, CONTEXT, room)
        alone = replace(alone, token_ids=first.token_ids[part], page_table=first.page_table[row : row + 1])
        tokens[row] = engine.step(alone).tokens[0, 0]
    started_s = 0.0
    for run in range(RUNS + 1):
        if run == 1:
            started_s = time.perf_counter()
        tokens = engine.step(decode_batch(first, tokens, CONTEXT + run * RUN, RUN)).tokens[:, -1]
    return (time.perf_counter() - started_s) / (RUNS * RUN)


def measure(rounds: int, shapes: list[str]) -> dict[str, float]:
    """All figures."""
    figures: dict[str, list[float]] = {}
    for shape in shapes:
        path = WORK / f"gpu-{shape}"
        if not (path / "tokenizer_config.json").exists():
            config: dict[str, object] = {"tie_word_embeddings": TIED[shape]}
            write_random_model(path, "qwen3", sizes=SHAPES[shape], dtype="bfloat16", config=config)
        pages = -(-(CONTEXT + RUN * (RUNS + 1)) // 16) * max(BATCHES)
        engine = Engine(path, backend="flashinfer", num_pages=pages, num_host_pages=0)
        for _ in range(rounds):
            card = speeds()
            figures.setdefault("read_gb_per_s", []).append(card.bytes_per_s / 1e9)
            figures.setdefault("tera_products_per_s", []).append(card.products_per_s / 1e12)
            for batch in BATCHES:
                took_s = step_s(engine, batch)
                least_s = roofline_s(SHAPES[shape], batch, CONTEXT, card)
                figures.setdefault(f"floor_{shape}_b{batch}", []).append(least_s / took_s)
                figures.setdefault(f"step_{shape}_b{batch}_us", []).append(took_s * 1e6)
        del engine
    return {name: round(statistics.median(values), 2) for name, values in figures.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    arguments = parser.parse_args()
    try:
        check_flashinfer()
    except ModelError as error:
        print(json.dumps({"skipped": f"{error.code}: {error.cause}"}))
        return
    result: dict[str, object] = {"card": describe_gpu(), **measure(arguments.rounds, arguments.shapes)}
    if not arguments.json:
        for name, value in result.items():
            print(f"{name:32} {value}")
    print(json.dumps(result | {"rounds": arguments.rounds}))


if __name__ == "__main__":
    main()
