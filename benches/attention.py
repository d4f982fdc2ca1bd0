"""What share of the memory's speed does paged attention reach over long contexts?

Four layers with the heads of Qwen3-0.6B (16 query heads over 8 key heads of 128), bf16, random weights, on one core, by
CPU time. A step with contexts of 64 tokens and one with S tokens differ in attention alone; that difference is
compared with the time in which memory brings the keys and values that only the second one reads (`floor_bB_S`), as
fast as one core can ask for them; and as fast as a sum of torch reads (`torch_floor_bB_S`).
The peer, in the same rounds: torch's scaled_dot_product_attention over as many keys and values that lie in one piece
(`vs_torch_bB_S`, how many times as fast we are).

    python -m benches.attention --json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import replace

import torch

from benches.decode import SIZES, WORK
from benches.peers.ours import Ours, bandwidth, torch_bandwidth
from pie.testing import write_random_model

LAYERS = 4
SHORT = 64
LENGTHS = (1024, 4000)
BATCHES = (1, 8)
STEPS = 16
REPEATS = {1: 9, 8: 1}
"""Measurements in a round: of one sequence the difference is small beside a step."""

HEADS, KV_HEADS, HEAD_DIM = SIZES.num_attention_heads, SIZES.num_key_value_heads, SIZES.head_dim


def kv_bytes(batch: int, length: int) -> int:
    """What the attention of all layers reads in one step."""
    return LAYERS * batch * 2 * length * KV_HEADS * HEAD_DIM * 2


def step_s(engine: Ours, batch: int, length: int) -> float:
    """CPU seconds of a decode step with contexts of `length` tokens, in a run of `STEPS`."""
    run = engine.decode(batch, STEPS, context=length)
    started_s = time.process_time()
    run()
    return (time.process_time() - started_s) / STEPS


class Contiguous:
    """Torch's attention over keys and values without pages."""

    def __init__(self, batch: int, length: int) -> None:
        """Fill them: [layers, 2, batch, kv_heads, length, head_dim] in bf16."""
        self._cache = torch.randn(LAYERS, 2, batch, KV_HEADS, length, HEAD_DIM).bfloat16()
        self._queries = torch.randn(batch, HEADS, 1, HEAD_DIM).bfloat16()

    def step_s(self) -> float:
        """CPU seconds for one query of each sequence in all layers."""
        started_s = time.process_time()
        for _ in range(STEPS):
            for keys, values in self._cache:
                torch.nn.functional.scaled_dot_product_attention(self._queries, keys, values, enable_gqa=True)
        return (time.process_time() - started_s) / STEPS


def measure(rounds: int) -> dict[str, float]:
    """All figures."""
    model = WORK / "attention-random"
    if not (model / "tokenizer_config.json").exists():
        write_random_model(
            model, "qwen3", sizes=replace(SIZES, num_hidden_layers=LAYERS, vocab_size=1024), dtype="bfloat16"
        )
    engine = Ours(model)
    cases = [(batch, length) for batch in BATCHES for length in LENGTHS]
    peers = {case: Contiguous(*case) for case in cases}
    figures: dict[str, list[float]] = {}
    for _ in range(rounds):
        bytes_per_s, torch_bytes_per_s = bandwidth(), torch_bandwidth()
        figures.setdefault("bandwidth_gb_per_s", []).append(bytes_per_s / 1e9)
        figures.setdefault("torch_bandwidth_gb_per_s", []).append(torch_bytes_per_s / 1e9)
        for batch, length in cases:
            pairs = [(step_s(engine, batch, length), step_s(engine, batch, SHORT)) for _ in range(REPEATS[batch])]
            ours_s = statistics.median(long_s - short_s for long_s, short_s in pairs)
            floor_s = (kv_bytes(batch, length) - kv_bytes(batch, SHORT)) / bytes_per_s
            theirs_s = peers[batch, length].step_s() * (1 - SHORT / length)
            name = f"b{batch}_{length}"
            figures.setdefault(f"floor_{name}", []).append(floor_s / ours_s)
            figures.setdefault(f"torch_floor_{name}", []).append(floor_s * bytes_per_s / torch_bytes_per_s / ours_s)
            figures.setdefault(f"vs_torch_{name}", []).append(theirs_s / ours_s)
            figures.setdefault(f"pie_{name}_us", []).append(ours_s * 1e6)
    return {name: round(statistics.median(values), 2) for name, values in figures.items()} | {"rounds": rounds}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {0})
    torch.set_num_threads(1)
    torch.manual_seed(0)
    result = measure(arguments.rounds)
    if not arguments.json:
        for name, value in result.items():
            print(f"{name:32} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
