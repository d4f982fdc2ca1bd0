"""Programs that together hold many times the pages there are all end, with the values of an unlimited run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.running import everything_is_given_back

from pie.config import Settings, embedded_model
from pie.runtime import Runtime

pytestmark = pytest.mark.asyncio(loop_scope="session")

NUM_PROGRAMS = 60
NUM_PAGES = 24

PROGRAM = """
from inferlet import Adapter, Context, Model, Sampler, Window, zo
from inferlet.constraints import any_json

SAMPLER = Sampler.top_p(0.8, 0.95)

async def step_by_step(context, n):
    made = []
    async for step in context.generate(Sampler.argmax(), max_tokens=n, stop=[]):
        made += (await step.execute()).tokens
    return made

async def forked(context, input):
    await context.flush()
    with context.fork() as fork:
        text = await fork.generate(SAMPLER, max_tokens=24).collect_text()
    if input % 2:
        context.suspend()
    return [text, await step_by_step(context, 6)]

async def windowed(context, input):
    window = Window(40, sink=4)
    tokens = await context.generate(SAMPLER, window=window, max_tokens=70, stop=[]).collect_tokens()
    context.suspend()
    return [tokens, await context.generate(Sampler.argmax(), window=window, max_tokens=5, stop=[]).collect_tokens()]

async def adapted(context, input):
    with Adapter.create(context.model, f"pressed{input}") as adapter:
        zo.initialize(adapter, 4, 8.0, 4, 0.5, 0.05)
        tokens = await context.generate(SAMPLER, adapter=adapter, zo_seed=input, max_tokens=20).collect_tokens()
        adapter.destroy()
    context.suspend()
    context.user("And then?")
    return [tokens, await context.generate(SAMPLER, max_tokens=12).collect_tokens()]

async def guessed(context, input):
    text = await context.generate(
        SAMPLER, constrain=any_json(), system_speculation=True, max_tokens=40
    ).collect_text()
    context.user("Again, please. Again, please. Again, please.")
    more = await context.generate(Sampler.argmax(), system_speculation=True, max_tokens=30, stop=[]).collect_tokens()
    return [text, more]

async def saved(context, input):
    await context.flush()
    name = f"pressed{input}"
    context.save(name)
    with Context.open(context.model, name) as again:
        tokens = await again.generate(SAMPLER, max_tokens=20).collect_tokens()
    Context.delete(context.model, name)
    return [tokens, await step_by_step(context, 6)]

KINDS = [forked, windowed, adapted, guessed, saved]

async def main(input):
    with Context(Model.default()) as context:
        context.user(f"What is {input} * 3? " + "Tell me more. " * (3 + input % 9))
        made = await KINDS[input % 5](context, input // 5)
        return [made, context.seq_len]
"""


async def run(runtime: Runtime, program: Path) -> list[object]:
    loaded = await runtime.load(program)
    processes = [runtime.launch(loaded, number, seed=number) for number in range(NUM_PROGRAMS)]
    return [json.loads(await process.outcome()) for process in processes]


async def most_pages_held(runtime: Runtime, done: asyncio.Event) -> int:
    most = 0
    while not done.is_set():
        most = max(most, runtime.model.scheduler.ledger().held)
        await asyncio.sleep(0)
    return most


async def test_sixty_programs_on_few_pages_make_what_they_make_on_many(
    runtime: Runtime, tmp_path: Path, cache_dir: Path
) -> None:
    program, done = tmp_path / "main.py", asyncio.Event()
    program.write_text(PROGRAM)
    watch = asyncio.ensure_future(most_pages_held(runtime, done))
    async with asyncio.timeout(110):
        expected = await run(runtime, program)
        done.set()
        assert await watch >= 4 * NUM_PAGES
        for host_pages in (0, 10):
            few = Settings(
                home=tmp_path / str(host_pages),
                cache=cache_dir,
                model=embedded_model(),
                kv_pages=NUM_PAGES,
                host_pages=host_pages,
            )
            async with Runtime(few) as crowded:
                assert await run(crowded, program) == expected
                assert crowded.model.scheduler.stats().replayed_tokens > 0
                await everything_is_given_back(crowded)


async def test_a_server_tells_at_start_how_many_pages_it_has_and_why(
    tmp_path: Path, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[object] = []
    for kv_pages in (None, NUM_PAGES):
        settings = Settings(home=tmp_path, cache=cache_dir, model=embedded_model(), kv_pages=kv_pages)
        with caplog.at_level("INFO", logger="pie.loading"):
            async with Runtime(settings) as started:
                pages = started.model.scheduler.ledger().total
        (record,) = [record for record in caplog.records if record.getMessage() == "model loaded"]
        caplog.clear()
        facts: dict[str, object] = record.__dict__["facts"]
        assert (facts["kv_pages"], facts["host_pages"]) == (pages, pages // 2)
        told.append(facts["kv_pages_from"])
    assert told == ["free memory", "the configuration"]
