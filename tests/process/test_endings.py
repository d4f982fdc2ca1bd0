"""However a process ends, and whatever it was at, nothing of it is left."""

from __future__ import annotations

import asyncio
import json
import os
import random
import tempfile
from pathlib import Path

import pytest
from tests.running import everything_is_given_back

from pie.errors import PieError, ProcessError
from pie.host.mailbox import Event
from pie.process.process import Process
from pie.process.programs import LoadedProgram
from pie.runtime import Runtime

pytestmark = pytest.mark.asyncio(loop_scope="session")

HEAD = """
import asyncio
from inferlet import Context, Forward, Model, Sampler, messaging, regex, session

async def main(input):
    way = input["way"]
    open("/scratch/file", "w").write("x" * 1000)
    context = Context(Model.default()).user("Tell me a story about " + str(input.get("number", 0)))
"""
WAYS = {
    "waits for a text": "session.send('up'); await session.receive()",
    "waits for a timer": "session.send('up'); await asyncio.sleep(1000)",
    "waits for a message": "session.send('up'); await messaging.pull('nobody')",
    "spins": "session.send('up')\n        while True: pass",
    "generates": (
        "session.send('up'); await context.generate(Sampler.argmax(), max_tokens=1500, stop=[]).collect_tokens()"
    ),
    "generates step by step": (
        "session.send('up')\n        async for step in context.generate(Sampler.argmax(), max_tokens=1500, stop=[]):"
        " await step.execute()"
    ),
    "generates under a grammar": (
        "session.send('up'); await context.generate(Sampler.argmax(), max_tokens=1500, "
        "constrain=regex('[a-z ]{1000,}')).collect_tokens()"
    ),
    "prefills": "session.send('up')\n        context.append([7] * 1900)\n        await context.flush()",
}
ENDS = {
    "returns": "return 'done'",
    "raises": "raise ValueError('no')",
    "exits": "raise SystemExit(3)",
    "leaves a task, a context and a generation behind": (
        "await context.flush(); fork = context.fork()\n"
        "        asyncio.ensure_future(asyncio.sleep(1000))\n"
        "        asyncio.ensure_future(context.generate(Sampler.argmax(), max_tokens=1500, stop=[]).collect_tokens())\n"
        "        asyncio.ensure_future(fork.generate(Sampler.argmax(), max_tokens=1500, stop=[]).collect_tokens())\n"
        "        await asyncio.sleep(0.01); return 'left'"
    ),
    "fails in a host call": "await context.flush(); context.release(); context.fork()",
    "breaks a rule of the scheduler": "context.append([10 ** 6]); await context.flush()",
}
DESCRIPTORS_OF_A_GRAMMAR_WORKER = 4  # it is shared, and comes and goes
PROGRAM = HEAD + "".join(f"    if way == {way!r}:\n        {code}\n" for way, code in {**WAYS, **ENDS}.items())


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def load(runtime: Runtime, tmp_path: Path) -> LoadedProgram:
    (tmp_path / "main.py").write_text(PROGRAM)
    return await runtime.load(tmp_path / "main.py")


def launch(runtime: Runtime, program: LoadedProgram, way: str, number: int = 0) -> tuple[Process, asyncio.Event]:
    """A process, and what is set once it tells that it is at what it does."""
    up = asyncio.Event()

    def hear(event: Event) -> None:
        up.set()

    return runtime.launch(program, {"way": way, "number": number}, listener=hear, seed=number), up


async def end_of(process: Process) -> str:
    """How it ended: the code of its error, or `returned`."""
    try:
        await process.outcome()
    except PieError as error:
        return error.code
    return "returned"


@pytest.mark.parametrize("way", WAYS)
async def test_a_process_is_terminated_whatever_it_is_at(
    way: str, runtime: Runtime, tmp_path: Path, temporary: Path
) -> None:
    process, up = launch(runtime, await load(runtime, tmp_path), way)
    await up.wait()
    await asyncio.sleep(0.02)
    process.terminate()
    process.terminate()
    with pytest.raises(ProcessError) as caught:
        await process.outcome()
    assert caught.value.code == "terminated"
    await everything_is_given_back(runtime)
    assert list(temporary.iterdir()) == []


async def test_a_process_is_terminated_before_it_has_begun(runtime: Runtime, tmp_path: Path, temporary: Path) -> None:
    program = await load(runtime, tmp_path)
    for turns in range(12):
        process, _ = launch(runtime, program, "waits for a text")
        for _ in range(turns):
            await asyncio.sleep(0)
        process.terminate()
        assert await end_of(process) == "terminated"
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("way", "code"),
    list(zip(ENDS, ["returned", "program-failed", "exit", "returned", "released", "bad-token"], strict=True)),
)
async def test_a_process_leaves_nothing_behind(
    way: str, code: str, runtime: Runtime, tmp_path: Path, temporary: Path
) -> None:
    tasks = asyncio.all_tasks()
    process, _ = launch(runtime, await load(runtime, tmp_path), way)
    assert await end_of(process) == code
    await everything_is_given_back(runtime)
    assert asyncio.all_tasks() == tasks
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("seed", [1, 2])
async def test_processes_that_are_terminated_at_random_moments_leave_nothing(
    seed: int, runtime: Runtime, tmp_path: Path, temporary: Path
) -> None:
    program, rng = await load(runtime, tmp_path), random.Random(seed)
    assert await end_of(launch(runtime, program, "returns")[0]) == "returned"
    tasks, num_descriptors = asyncio.all_tasks(), len(os.listdir("/proc/self/fd"))

    async def live(number: int) -> str:
        ends = number % 2 == 0
        process, up = launch(runtime, program, rng.choice(list(ENDS if ends else WAYS)), number)
        if ends:
            return await end_of(process)
        if rng.random() < 0.5:
            await up.wait()
        for _ in range(rng.randrange(200)):
            await asyncio.sleep(0)
        process.terminate()
        return await end_of(process)

    ended = await asyncio.gather(*(live(number) for number in range(100)))
    await everything_is_given_back(runtime)
    assert ended[1::2].count("terminated") > 25  # some were done before
    assert set(ended[1::2]) <= {"terminated", "returned"}
    assert "terminated" not in ended[::2]
    assert asyncio.all_tasks() == tasks
    assert len(os.listdir("/proc/self/fd")) <= num_descriptors + DESCRIPTORS_OF_A_GRAMMAR_WORKER
    assert list(temporary.iterdir()) == []


async def test_what_runs_beside_processes_that_are_terminated_is_untouched(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "steady.py").write_text(
        HEAD + "    return await context.generate(Sampler.argmax(), max_tokens=60, stop=[]).collect_tokens()\n"
    )
    program, steady = await load(runtime, tmp_path), await runtime.load(tmp_path / "steady.py")
    alone = await runtime.launch(steady, {"way": ""}, seed=1).outcome()
    beside = [runtime.launch(steady, {"way": ""}, seed=1) for _ in range(4)]
    for number, way in enumerate(list(WAYS) * 2):
        process, up = launch(runtime, program, way, number)
        await up.wait()
        process.terminate()
    assert [await process.outcome() for process in beside] == [alone] * 4
    assert len(json.loads(alone)) == 60
