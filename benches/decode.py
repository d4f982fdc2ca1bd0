"""How fast does one core decode, next to llama.cpp, transformers, and what its memory allows?

The shape of Qwen3-0.6B with random weights, bf16, 128 tokens in each sequence, greedy. Every engine runs in a process
of its own with one thread on one core, and is timed by its CPU time; rounds are interleaved, figures are medians.
Before anything is timed, the engines' logits are compared, so that all compute the same model. Our 8-bit weights are
compared with those of llama.cpp, in the faster of the two layouts that it has for them: `int8_vs_q8_0_b1`.

llama.cpp comes from `make bench-peers`; without it its figures are missing. One thread, because CPU time then tells
what neighbours on the machine cannot change.

    make bench-peers
    python -m benches.decode --json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pie.testing import ModelSizes, write_random_model

ROOT = Path(__file__).resolve().parent
WORK = ROOT / "out"
PEERS = ROOT / "peers" / ".venv" / "bin" / "python"
SIZES = ModelSizes(
    hidden_size=1024,
    num_hidden_layers=28,
    num_attention_heads=16,
    num_key_value_heads=8,
    head_dim=128,
    intermediate_size=3072,
    vocab_size=151936,
    max_position_embeddings=4096,
)
REPACKED = "llamacpp_q8_0_repacked"
IN_8_BITS = ("pie_int8", "llamacpp_q8_0", REPACKED)
CONTEXT = 128
STEPS = {1: 32, 8: 32, 32: 16}
PREFILL = 512
LOGIT_ERROR = 0.06
"""Of the largest logit: what bf16 in another order may differ by with random weights; twice that with 8 bits."""


class Peer:
    """One engine in its process."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it; it loads its model before it answers."""
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            ["taskset", "-c", "0", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT.parent,
            env=environment,
        )

    def ask(self, **ask: Any) -> dict[str, Any]:
        """What it answers; raises RuntimeError if it has ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the engine has no pipes")
        stdin.write(json.dumps(ask) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"an engine ended with {self._process.wait()}: {self._process.args!r}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def random_model() -> Path:
    """The directory of the model, written once."""
    model = WORK / "qwen3-0.6b-random"
    if not (model / "tokenizer_config.json").exists():
        write_random_model(model, "qwen3", sizes=SIZES, dtype="bfloat16")
        _name_all_tokens(model / "tokenizer.json")
    return model


def _name_all_tokens(path: Path) -> None:
    """Give every token a text of five letters, so that what the model makes can be read."""
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    for token in range(len(vocabulary), SIZES.vocab_size):
        vocabulary["".join(chr(97 + token // 26**place % 26) for place in range(5))] = token
    path.write_text(json.dumps(tokenizer))


@contextlib.contextmanager
def engines(model: Path) -> Iterator[dict[str, Peer]]:
    """The engines that are there, by name."""
    commands = {
        "pie": [sys.executable, "-m", "benches.peers.ours", str(model)],
        "pie_int8": [sys.executable, "-m", "benches.peers.ours", str(model), "int8"],
        "transformers": [sys.executable, "-m", "benches.peers.with_transformers", str(model)],
    }
    if PEERS.exists():
        for name, kind in (("llamacpp", "bf16"), ("llamacpp_q8_0", "q8_0")):
            file = gguf_file(model, kind)
            commands[name] = [str(PEERS), "-m", "benches.peers.with_llamacpp", str(file)]
        commands[REPACKED] = [*commands["llamacpp_q8_0"], "--repacked"]
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(contextlib.closing(Peer(command))) for name, command in commands.items()}


def gguf_file(model: Path, kind: str) -> Path:
    """The model for llama.cpp, written once."""
    file = model / f"{kind}.gguf"
    if not file.exists():
        part = file.with_suffix(".part")
        subprocess.run([PEERS, "-m", "benches.peers.write_gguf", model, part, kind], check=True, cwd=ROOT.parent)
        part.rename(file)
    return file


def check_logits(peers: Mapping[str, Peer]) -> dict[str, float]:
    """How far each engine's logits are from ours, as a share of the largest.

    Raises:
        RuntimeError: one computes something else.
    """
    logits = {name: np.array(peer.ask(what="logits")["logits"]) for name, peer in peers.items()}
    ours = logits.pop("pie")
    errors = {name: float(np.abs(theirs - ours).max() / np.abs(ours).max()) for name, theirs in logits.items()}
    for name, error in errors.items():
        if not error < (2 * LOGIT_ERROR if name in IN_8_BITS else LOGIT_ERROR):
            raise RuntimeError(f"{name} computes another model: its logits differ by {error:.3f}")
    return {f"{name}_logits_error": round(error, 4) for name, error in errors.items()}


def measure(rounds: int) -> dict[str, Any]:
    """All figures."""
    model = random_model()
    seconds: dict[tuple[str, str], list[float]] = {}
    bandwidths = []
    with engines(model) as peers:
        result: dict[str, Any] = check_logits(peers)
        for _ in range(rounds):
            bandwidths.append(read_bandwidth(model))
            for name, peer in peers.items():
                for batch, steps in STEPS.items():
                    if (name == "transformers" and batch == max(STEPS)) or (name == REPACKED and batch > 1):
                        continue
                    cpu_s = peer.ask(what="decode", batch=batch, steps=steps)["cpu_s"]
                    seconds.setdefault((name, f"b{batch}"), []).append(cpu_s / steps)
                if name != REPACKED:
                    seconds.setdefault((name, "prefill"), []).append(peer.ask(what="prefill", tokens=PREFILL)["cpu_s"])
    median = {key: statistics.median(values) for key, values in seconds.items()}
    bandwidth = statistics.median(bandwidths)
    return result | _ratios(median) | _floors(median, model, bandwidth) | {"rounds": rounds}


def read_bandwidth(model: Path) -> float:
    """Bytes per second of one core's reads, in a process of its own, between the rounds."""
    command = ["taskset", "-c", "0", sys.executable, "-m", "benches.peers.ours", "bandwidth"]
    line = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT.parent).stdout
    return float(json.loads(line)["bytes_per_s"])


def _ratios(median: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Tokens per CPU second, and how many times as fast as each peer we are."""
    tokens = {"prefill": PREFILL, **{f"b{batch}": batch for batch in STEPS}}
    figures = {f"{name}_{case}_tokens_per_s": round(tokens[case] / s, 1) for (name, case), s in median.items()}
    for (name, case), peer_s in median.items():
        if not name.startswith("pie"):
            figures[f"vs_{name}_{case}"] = round(peer_s / median["pie", case], 2)
    q8_0_s = [median[name, "b1"] for name in ("llamacpp_q8_0", REPACKED) if (name, "b1") in median]
    if q8_0_s:
        figures["int8_vs_q8_0_b1"] = round(min(q8_0_s) / median["pie_int8", "b1"], 2)
    return figures


def _floors(median: Mapping[tuple[str, str], float], model: Path, bandwidth: float) -> dict[str, float]:
    """The share of a step's time in which memory alone could have brought the weights and the keys and values."""
    weights = (model / "model.safetensors").stat().st_size
    kv_bytes = SIZES.num_hidden_layers * 2 * CONTEXT * SIZES.num_key_value_heads * SIZES.head_dim * 2
    figures = {"bandwidth_gb_per_s": round(bandwidth / 1e9, 1)}
    for batch in STEPS:
        floor_s = (weights + batch * kv_bytes) / bandwidth
        figures[f"floor_b{batch}"] = round(floor_s / median["pie", f"b{batch}"], 2)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    result = measure(arguments.rounds)
    if not arguments.json:
        for name, value in result.items():
            print(f"{name:32} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
