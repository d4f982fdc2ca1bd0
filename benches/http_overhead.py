"""What does the chat surface cost next to the engine alone?

1, 8 and 32 clients of `/v1/chat/completions` stream 64 tokens each, from prompts of about 128 tokens that nobody sent
before, from `pie serve` in a process of its own. The peer is the bare engine with the same model: it reads as many
prompts of the same length and decodes greedily in runs of sixteen steps. Both may use every core, and have as many KV
pages, whose memory is theirs before it is measured; rounds are interleaved, and while one works the other rests. The
clients share the machine with the server, as here everything does.

`overhead_N` is the share of tokens per second that is lost with N clients, the median over rounds. The model has the
shape of Qwen3-0.6B with random weights, then it is the embedded one (`embedded_overhead_N`), where a step takes less
time than a program takes to start.

    python -m benches.http_overhead --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpcore2

from benches.decode import random_model
from benches.peers.ours import PAGES, Ours
from benches.sessions import server
from pie.config import embedded_model

CLIENTS = (1, 8, 32)
TOKENS = 64
RESTING_S = 0.1
"""CPU time per second of a server that has nothing to do."""

MESSAGE = "the server streams what a program writes to its client while others wait for their turn at the model"


@dataclass(frozen=True, slots=True)
class Streamed:
    """One answer: tokens in the prompt and made, and seconds to the first piece of text and to the end."""

    prompt_tokens: int
    tokens: int
    first_s: float
    total_s: float


async def stream(url: str, model: str, message: str) -> Streamed:
    """Ask once, and read the answer to its end.

    A client in Python that parses HTTP in full takes more of the shared cores than the server does.
    """
    body = {
        "model": model,
        "messages": [{"role": "user", "content": message}],
        "max_tokens": TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    start_s, first_s, usage = time.perf_counter(), 0.0, None
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    content = json.dumps(body).encode()
    writer.write(
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\nconnection: close\r\n\r\n".encode()
        + content
    )
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(status.decode())
    async for line in reader:
        if not line.startswith(b"data: {"):
            continue  # headers, the sizes of HTTP's chunks, and what divides events
        if first_s and b'"usage":null' in line:
            continue  # more text
        chunk = json.loads(line.removeprefix(b"data: "))
        if "error" in chunk:
            raise RuntimeError(str(chunk))
        if not first_s and chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
            first_s = time.perf_counter() - start_s
        usage = chunk.get("usage") or usage
    writer.close()
    if usage is None:
        raise RuntimeError("no usage")
    return Streamed(usage["prompt_tokens"], usage["completion_tokens"], first_s, time.perf_counter() - start_s)


async def settled(url: str) -> None:
    """Return when the server has taken the memory of its pages, and rests."""
    async with httpcore2.AsyncConnectionPool() as pool:

        async def cpu_s() -> float:
            answer = await pool.request("GET", f"{url}/metrics")
            found = re.search(rb"^process_cpu_seconds_total (\S+)", answer.content, re.MULTILINE)
            if found is None:
                raise RuntimeError("the server does not tell its CPU time")
            return float(found[1])

        before_s = await cpu_s()
        while True:
            await asyncio.sleep(1)
            after_s = await cpu_s()
            if after_s - before_s < RESTING_S:
                return
            before_s = after_s


async def served(url: str, model: str, num_clients: int, salt: int) -> tuple[float, float, int]:
    """Tokens per second of all clients together, the median time to the first text, and the tokens of a prompt."""
    letters = "abcdefghijklmnopqrstuvwxyz"

    def message(client: int) -> str:
        number, first = salt * 100 + client, ""
        for _ in range(4):
            number, digit = divmod(number, 26)
            first += letters[digit]
        return f"{first} {MESSAGE}"

    start_s = time.perf_counter()
    answers = await asyncio.gather(*(stream(url, model, message(client)) for client in range(num_clients)))
    seconds = time.perf_counter() - start_s
    made = sum(answer.tokens for answer in answers)
    return made / seconds, statistics.median(a.first_s for a in answers), answers[0].prompt_tokens


def bare(engine: Ours, num_rows: int, prompt_tokens: int) -> float:
    """Tokens per second of the engine alone, prompts included."""
    start_s = time.perf_counter()
    engine.decode(num_rows, TOKENS - 1, context=prompt_tokens)()
    return num_rows * TOKENS / (time.perf_counter() - start_s)


def measure(model: Path, rounds: int, home: Path) -> dict[str, float]:
    """All figures of one model."""
    engine = Ours(model)
    options = [] if model == embedded_model() else ["--model", str(model)]
    figures: dict[str, list[float]] = {}
    (home / "config.toml").write_text(f"[model]\nkv_pages = {PAGES}\n")
    with server(home, *options) as address:
        url = address.replace("ws://", "http://")
        _, _, prompt_tokens = asyncio.run(served(url, model.name, 2, 0))
        asyncio.run(settled(url))
        bare(engine, max(CLIENTS), prompt_tokens)
        for number in range(1, rounds + 1):
            for clients in CLIENTS:
                alone = bare(engine, clients, prompt_tokens)
                together, first_s, _ = asyncio.run(
                    served(url, model.name, clients, number * 10 + CLIENTS.index(clients))
                )
                for name, value in (
                    (f"bare_{clients}_tokens_per_s", alone),
                    (f"served_{clients}_tokens_per_s", together),
                    (f"served_{clients}_first_text_ms", first_s * 1e3),
                    (f"overhead_{clients}", 1 - together / alone),
                ):
                    figures.setdefault(name, []).append(value)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    requests = {f"served_{n}_requests_per_s": medians[f"served_{n}_tokens_per_s"] / TOKENS for n in CLIENTS}
    return {name: round(value, 3) for name, value in (medians | requests | {"prompt_tokens": prompt_tokens}).items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--embedded-only", action="store_true", help="leave the large model out")
    arguments = parser.parse_args()
    result: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as home:
        if not arguments.embedded_only:
            result |= measure(random_model(), arguments.rounds, Path(home))
        embedded = measure(embedded_model(), arguments.rounds, Path(home))
        result |= {f"embedded_{name}": value for name, value in embedded.items()}
    if not arguments.json:
        for name, value in result.items():
            print(f"{name:40} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
