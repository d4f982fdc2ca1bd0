"""How do tokens per second, and what the host does for each token, change with the number of programs?

On the embedded model, 1, 8, 64 and 256 programs decode greedily from a prompt of their own, all from one moment on:
each one generation on the host (`offloaded`), or each token by a forward pass of its own (`stepwise`). Host time is
the CPU time of the thread of the event loop, where scheduler and programs run; the model has a thread of its own.
Rounds are interleaved; medians. The curves are drawn into benches/out/scale.png.

    python -m benches.scale --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benches.tax import OFFLOADED, STEPWISE, prompt
from pie.config import Settings
from pie.process.programs import LoadedProgram
from pie.runtime import Runtime

COUNTS = (1, 8, 64, 256)
KINDS = {"offloaded": OFFLOADED, "stepwise": STEPWISE}
PICTURE = Path(__file__).resolve().parent / "out" / "scale.png"


async def round_of(runtime: Runtime, program: LoadedProgram, count: int, num_tokens: int) -> tuple[float, float]:
    """Tokens per second, and microseconds of the host for each, from the moment all are told to go on."""
    num_ready, all_ready = 0, asyncio.Event()

    def listen(_event: object) -> None:
        nonlocal num_ready
        num_ready += 1
        if num_ready == count:
            all_ready.set()

    processes = [
        runtime.launch(program, {"prompt": prompt(row), "n": num_tokens}, listener=listen, seed=1)
        for row in range(count)
    ]
    await all_ready.wait()
    start, host_start = time.perf_counter(), time.thread_time()
    for process in processes:
        process.state.mailbox.deliver("go")
    made = [int(await process.outcome()) for process in processes]
    seconds, host_s = time.perf_counter() - start, time.thread_time() - host_start
    if made != [num_tokens] * count:
        raise RuntimeError(f"{count} programs made {made} tokens")
    return sum(made) / seconds, host_s / sum(made) * 1e6


async def measure(counts: Sequence[int], rounds: int, num_tokens: int, work: Path) -> dict[str, float]:
    """All figures, by `kind_count_figure`."""
    found: dict[str, list[float]] = {}
    settings = replace(Settings.from_environment(os.environ), home=work / "home")
    async with Runtime(settings) as runtime:
        programs = {}
        for kind, text in KINDS.items():
            (work / kind).mkdir()
            (work / kind / "main.py").write_text(text)
            programs[kind] = await runtime.load(work / kind / "main.py")
        for _ in range(rounds):
            for count in counts:
                for kind, program in programs.items():
                    speed, host_us = await round_of(runtime, program, count, num_tokens)
                    found.setdefault(f"{kind}_{count}_tokens_per_s", []).append(speed)
                    found.setdefault(f"{kind}_{count}_host_us_per_token", []).append(host_us)
    return {name: round(statistics.median(values), 1) for name, values in found.items()}


def draw(result: Mapping[str, float], counts: Sequence[int], path: Path) -> None:
    """Draw both figures over the number of programs."""
    path.parent.mkdir(exist_ok=True)
    figure = Figure(figsize=(9, 3.5))
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    for axis, name, label in zip(
        axes, ("tokens_per_s", "host_us_per_token"), ("tokens per second", "host, µs per token"), strict=True
    ):
        for kind in KINDS:
            axis.plot(counts, [result[f"{kind}_{count}_{name}"] for count in counts], marker="o", label=kind)
        axis.set(xscale="log", yscale="log", xlabel="programs", ylabel=label, xticks=counts, xticklabels=counts)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path)


def show(result: Mapping[str, float], counts: Sequence[int]) -> None:
    """Print the curves as a table."""
    print(f"{'programs':>8}" + "".join(f"{kind + ' tokens/s':>22}{'host µs/token':>16}" for kind in KINDS))
    for count in counts:
        figures = [(result[f"{k}_{count}_tokens_per_s"], result[f"{k}_{count}_host_us_per_token"]) for k in KINDS]
        print(f"{count:>8}" + "".join(f"{speed:>22.0f}{host_us:>16.1f}" for speed, host_us in figures))


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--programs", type=int, nargs="+", default=list(COUNTS))
    arguments = parser.parse_args()
    counts: list[int] = arguments.programs
    with tempfile.TemporaryDirectory() as work:
        result = asyncio.run(measure(counts, arguments.rounds, arguments.tokens, Path(work)))
    draw(result, counts, PICTURE)
    if not arguments.json:
        show(result, counts)
        print(f"drawn into {PICTURE}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
