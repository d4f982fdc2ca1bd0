"""A device that fails ends the passes of its step; a scheduler that fails ends all programs. Nobody waits for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from tests.running import everything_is_given_back

from pie.config import Settings, embedded_model
from pie.engine.engine import Engine
from pie.errors import PieError
from pie.forward import Batch, Progress, StepResult
from pie.process.process import Process
from pie.runtime import Runtime

PROGRAM = """
import asyncio
from inferlet import Context, Model, Sampler, session

async def main(way):
    context = Context(Model.default()).user("hi")
    await context.flush()
    session.send("up")
    if way == "sleeps":
        await asyncio.sleep(1000)
    if way == "waits":
        await session.receive()
    while True:
        try:
            await context.generate(Sampler.argmax(), max_tokens=8, stop=[]).collect_tokens()
            if way == "once":
                return "done"
            context.truncate(8)
        except Exception:
            if way != "stubborn":
                raise
"""


class FailingEngine(Engine):
    """An engine whose steps do what a test wants.

    Attributes:
        fault: called in place of the next steps, if there is one.
    """

    fault: Callable[[], StepResult] | None = None

    def step(self, batch: Batch, progress: Progress | None = None) -> StepResult:
        return super().step(batch, progress) if self.fault is None else self.fault()


@pytest_asyncio.fixture
async def runtime(
    tmp_path: Path, cache_dir: Path, runner_wasm: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Runtime]:
    monkeypatch.setattr("pie.loading.Engine", FailingEngine)
    monkeypatch.setattr(FailingEngine, "fault", None)
    async with Runtime(Settings(tmp_path / "home", cache_dir, embedded_model(), kv_pages=256)) as runtime:
        (tmp_path / "main.py").write_text(PROGRAM)
        yield runtime
        await everything_is_given_back(runtime)


async def launch(runtime: Runtime, tmp_path: Path, *ways: str) -> list[Process]:
    """Processes that are all at what they do."""
    program = await runtime.load(tmp_path / "main.py")
    heard = [asyncio.Event() for _ in ways]
    processes = [
        runtime.launch(program, way, seed=1, listener=lambda _event, up=up: up.set())  # type: ignore[misc]
        for way, up in zip(ways, heard, strict=True)
    ]
    for up in heard:
        await up.wait()
    return processes


async def code_of(process: Process) -> str:
    async with asyncio.timeout(20):
        with pytest.raises(PieError) as caught:
            await process.outcome()
    return caught.value.code


def raise_fault() -> StepResult:
    raise RuntimeError("the device is gone")


def return_nonsense() -> StepResult:
    return None  # type: ignore[return-value]


async def test_a_step_that_fails_ends_its_passes_and_the_next_ones_succeed(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generates, sleeps = await launch(runtime, tmp_path, "generates", "sleeps")
    monkeypatch.setattr(FailingEngine, "fault", staticmethod(raise_fault))
    assert await code_of(generates) == "step-failed"
    monkeypatch.setattr(FailingEngine, "fault", None)
    (after,) = await launch(runtime, tmp_path, "once")
    assert await after.outcome() == '"done"'
    sleeps.terminate()
    assert await code_of(sleeps) == "terminated"


async def test_a_scheduler_that_fails_ends_every_program(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    processes = await launch(runtime, tmp_path, "generates", "stubborn", "sleeps", "waits")
    monkeypatch.setattr(FailingEngine, "fault", staticmethod(return_nonsense))
    generates, stubborn, sleeps, waits = [await code_of(process) for process in processes]
    assert generates in {"server-failed", "shutting-down"}
    assert (stubborn, sleeps, waits) == ("server-failed",) * 3
    assert "the scheduler failed" in [
        record.message.split(";")[0] for record in caplog.records if record.levelno == logging.CRITICAL
    ]
    late = runtime.launch(await runtime.load(tmp_path / "main.py"), "once")
    assert await code_of(late) in {"server-failed", "shutting-down"}
