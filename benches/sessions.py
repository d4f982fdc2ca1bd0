"""How long does a session with the server take: connect, launch, first message, return; and a file each way?

`pie serve` runs in a process of its own with the embedded model, and a Python program that needs no model. So many
clients at once each open one session after the other: connect and say who they are, launch, hear the first message,
hear the return value, leave. Then files of 1 MiB go to a program and come back. Times are from the client's side, which
shares the machine with the server.

The peer, in the same run and interleaved, is a bare server of the `websockets` library that echoes frames: a session
is then connecting, two round trips and leaving, and a file is four frames that come back.

    python -m benches.sessions --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import connect

from pie.build.packed import pack_program
from pie_client import Client, ClientError, Event
from pie_client.chunks import CHUNK_BYTES

MIB = 1 << 20
CONCURRENT = {1: 200, 32: 640, 256: 1024}
"""Sessions at once, and how many are measured."""

FILES = 50
BLOCKS = 2
WARM = 32
STAGES = ("connected", "launched", "message", "returned")
MANIFEST = '[package]\nname = "bench"\nversion = "0.1.0"\n'
PROGRAM = """
from inferlet import session


async def main(input):
    session.send("here")
    for _ in range(input.get("files", 0)):
        data = await session.receive_file()
        session.send("got it")
        await session.receive()
        session.send_file(data)
    return "done"
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """What of some sessions was measured, in milliseconds.

    Attributes:
        stages: since each session's beginning, when it had come how far.
        errors: sessions that did not end as they should.
        seconds: all of them together.
    """

    stages: list[tuple[float, ...]]
    errors: int
    seconds: float


@contextmanager
def server(home: Path, *options: str) -> Iterator[str]:
    """The URL of `pie serve`, as a process with a folder of its own, and further options."""
    environment = {**os.environ, "PIE_HOME": str(home)}
    words = [sys.executable, "-m", "pie", "serve", "--port", "0", "--no-auth", *options]
    with (home / "log").open("wb") as log, _process(words, environment, log.fileno()) as line:
        match = re.search(r"ws://\S+", line)
        if match is None:
            raise RuntimeError(f"the server did not start:\n{(home / 'log').read_text()}")
        yield match[0]


@contextmanager
def echo() -> Iterator[str]:
    """The URL of the peer."""
    with _process([sys.executable, "-m", "benches.echo"], dict(os.environ), None) as line:
        yield f"ws://127.0.0.1:{int(line)}"


@contextmanager
def _process(words: list[str], environment: dict[str, str], errors: int | None) -> Iterator[str]:
    """The first line that a process prints, which is ended afterwards."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True) as process:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        try:
            yield process.stdout.readline()
        finally:
            process.terminate()


async def our_session(url: str) -> tuple[float, ...]:
    """When it had come how far."""
    start, moments = time.perf_counter(), []
    async with Client(url) as client:
        await client.authenticate("bench")
        moments.append(time.perf_counter())
        process = await client.launch_process("bench")
        moments.append(time.perf_counter())
        for expected in (Event("message", "here"), Event("return", '"done"')):
            event = await process.recv()
            if event != expected:
                raise ValueError(f"{event} in place of {expected}")
            moments.append(time.perf_counter())
    return tuple((moment - start) * 1e3 for moment in moments)


async def their_session(url: str) -> tuple[float, ...]:
    """The same with the peer: what connects, and two requests."""
    start, moments = time.perf_counter(), []
    async with connect(url, compression=None) as websocket:
        for frame in (b"authenticate", b"launch"):
            await websocket.send(frame)
            await websocket.recv()
            moments.append(time.perf_counter())
    return tuple((moment - start) * 1e3 for moment in moments)


async def many(session: Callable[[], Awaitable[tuple[float, ...]]], count: int, at_once: int) -> Answered:
    """Run `count` sessions, `at_once` at a time."""
    stages: list[tuple[float, ...]] = []
    errors = 0
    numbers = iter(range(count))

    async def one_after_the_other() -> None:
        nonlocal errors
        for _ in numbers:
            try:
                stages.append(await session())
            except (ClientError, OSError, ValueError) as error:
                errors += 1
                print(f"a session failed: {error}", file=sys.stderr)

    start = time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    return Answered(stages, errors, time.perf_counter() - start)


async def compare(url: str, peer: str, at_once: int, count: int) -> dict[str, float]:
    """Ours and theirs in turn, with so many sessions at once."""
    ours: list[Answered] = []
    theirs: list[Answered] = []
    for _ in range(BLOCKS):
        ours.append(await many(lambda: our_session(url), count // BLOCKS, at_once))
        theirs.append(await many(lambda: their_session(peer), count // BLOCKS, at_once))
    stages = [stage for block in ours for stage in block.stages]
    result: dict[str, float] = {"errors": sum(block.errors for block in ours + theirs)}
    for index, name in enumerate(STAGES):
        result |= percentiles(name, [stage[index] for stage in stages])
    result["sessions_per_s"] = round(len(stages) / sum(block.seconds for block in ours), 1)
    result |= percentiles("echo", [stage[-1] for block in theirs for stage in block.stages])
    result["returned_vs_echo"] = round(result["returned_p50_ms"] / result["echo_p50_ms"], 2)
    return result


async def files(url: str, peer: str) -> dict[str, float]:
    """Files of 1 MiB to a program and back, and as frames to the peer and back, in turn."""
    data = os.urandom(MIB)
    there: list[float] = []
    back: list[float] = []
    theirs: list[float] = []
    errors = 0
    async with Client(url) as client, connect(peer, compression=None, max_size=None) as websocket:
        await client.authenticate("bench")
        process = await client.launch_process("bench", {"files": FILES})
        await process.recv()
        for _ in range(FILES):
            start = time.perf_counter()
            await process.send_file(data)
            await process.recv()
            middle = time.perf_counter()
            await process.signal("send it back")
            event = await process.recv()
            errors += event != Event("file", data)
            there.append((middle - start) * 1e3)
            back.append((time.perf_counter() - middle) * 1e3)
            start = time.perf_counter()
            for offset in range(0, MIB, CHUNK_BYTES):
                await websocket.send(data[offset : offset + CHUNK_BYTES])
            for _ in range(0, MIB, CHUNK_BYTES):
                await websocket.recv()
            theirs.append((time.perf_counter() - start) * 1e3)
    result = {"errors": errors, **percentiles("to_program", there), **percentiles("from_program", back)}
    result |= percentiles("echo", theirs)
    both = result["to_program_p50_ms"] + result["from_program_p50_ms"]
    return result | {"both_ways_vs_echo": round(both / result["echo_p50_ms"], 2)}


def percentiles(name: str, values: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    ordered = sorted(values)
    return {f"{name}_p{p}_ms": round(ordered[min(len(ordered) * p // 100, len(ordered) - 1)], 2) for p in (50, 99)}


async def measure(url: str, peer: str, program: bytes) -> dict[str, dict[str, float]]:
    """All of it, once the program is installed and warm."""
    async with Client(url) as client:
        await client.authenticate("bench")
        await client.install_program(program, MANIFEST)
    await many(lambda: our_session(url), WARM, WARM)
    rows = {f"{at_once} at once": await compare(url, peer, at_once, count) for at_once, count in CONCURRENT.items()}
    return rows | {"file of 1 MiB": await files(url, peer)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home, source = Path(folder) / "home", Path(folder) / "program"
        home.mkdir()
        source.mkdir()
        (source / "main.py").write_text(PROGRAM)
        with server(home) as url, echo() as peer:
            rows = asyncio.run(measure(url, peer, pack_program(source)))
    if not arguments.json:
        for title, row in rows.items():
            print(title)
            for name, value in row.items():
                print(f"  {name:28} {value}")
    errors = sum(int(row.pop("errors")) for row in rows.values())
    print(json.dumps({"errors": errors, **{title.replace(" ", "_").lower(): row for title, row in rows.items()}}))
    if errors:
        sys.exit(1)


if __name__ == "__main__":
    main()
