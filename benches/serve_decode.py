"""How much of the bare engine's speed is left when programs are served?

The shape of Qwen3-0.6B with random weights, bf16, 128 tokens in each sequence, on one core, by the CPU time of the
whole process: the engine alone, greedy, in decode runs (the figure of `benches.decode`), against as many programs, each
launched in its sandbox, which generate by top-p sampling through host, scheduler and engine. Rounds are interleaved;
`kept_b8` is the median share of tokens per second that is left.

    python -m benches.serve_decode --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from benches.decode import CONTEXT, random_model
from benches.peers.lines import prompt
from benches.peers.ours import Ours
from pie.config import Settings
from pie.runtime import Runtime

PROGRAM = """
from inferlet import Context, Model, Sampler, session

async def main(input):
    with Context(Model.default()) as context:
        context.append(input["prompt"][:-1])
        await context.flush()
        context.append(input["prompt"][-1:])
        generator = context.generate(Sampler.top_p(0.8, 0.95), max_tokens=input["n"], stop=[], auto_flush=False)
        session.send("ready")
        await session.receive()
        return len(await generator.collect_tokens())
"""
BATCHES = (1, 8, 32)
NUM_TOKENS = 64


async def served(runtime: Runtime, path: Path, num_programs: int, *, first_row: int) -> float:
    """CPU seconds of this process per token, from the moment all programs are told to go until the last is done.

    Args:
        runtime: launches the programs.
        path: the program.
        num_programs: how many at once.
        first_row: the prompts are those of this row and the next ones; prompts seen before would be in the cache.
    """
    program = await runtime.load(path)
    all_ready = asyncio.Semaphore(0)
    processes = [
        runtime.launch(
            program,
            {"prompt": prompt(first_row + row, CONTEXT), "n": NUM_TOKENS},
            listener=lambda _event: all_ready.release(),
            seed=row,
        )
        for row in range(num_programs)
    ]
    for _ in processes:
        await asyncio.wait_for(all_ready.acquire(), 600)
    started_s = time.process_time()
    for process in processes:
        process.state.mailbox.deliver("go")
    counts = [int(await process.outcome()) for process in processes]
    cpu_s = time.process_time() - started_s
    if counts != [NUM_TOKENS] * num_programs:
        raise RuntimeError(f"programs made {counts} tokens instead of {NUM_TOKENS} each")
    return cpu_s / (num_programs * NUM_TOKENS)


def bare(engine: Ours, num_rows: int) -> float:
    """CPU seconds per token of the engine alone."""
    run = engine.decode(num_rows, NUM_TOKENS)
    started_s = time.process_time()
    run()
    return (time.process_time() - started_s) / (num_rows * NUM_TOKENS)


async def measure(rounds: int, work: Path) -> dict[str, float]:
    """All figures."""
    model = random_model()
    settings = Settings.from_environment(os.environ)
    settings = replace(settings, home=work / "home", model=model, kv_pages=1024, host_pages=0)
    path = work / "program.py"
    path.write_text(PROGRAM)
    engine = Ours(model)
    seconds: dict[str, list[float]] = {}
    async with Runtime(settings) as runtime:
        await served(runtime, path, 1, first_row=0)  # warm: code cache, runner
        for number in range(rounds):
            for batch in BATCHES:
                first_row = 100 * (number * len(BATCHES) + BATCHES.index(batch) + 1)
                seconds.setdefault(f"bare_b{batch}", []).append(bare(engine, batch))
                seconds.setdefault(f"served_b{batch}", []).append(
                    await served(runtime, path, batch, first_row=first_row)
                )
    kept = {
        f"kept_b{batch}": round(
            statistics.median(
                a / b for a, b in zip(seconds[f"bare_b{batch}"], seconds[f"served_b{batch}"], strict=True)
            ),
            3,
        )
        for batch in BATCHES
    }
    speeds = {f"{name}_tokens_per_s": round(1 / statistics.median(values), 1) for name, values in seconds.items()}
    return speeds | kept | {"rounds": rounds}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {0})
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        result = asyncio.run(measure(arguments.rounds, Path(work)))
    if not arguments.json:
        for name, value in result.items():
            print(f"{name:32} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
