"""Generations that attend to a window and the first tokens: their tokens, and the pages they hold."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.running import RunProgram

from pie.errors import ProcessError
from pie.runtime import Runtime

pytestmark = pytest.mark.asyncio(loop_scope="session")

# The same generation by plain forward passes with masks written out as lists of booleans; nothing is discarded.
PROGRAM = """
    from inferlet import Context, Model, Sampler, Window

    def brle(row):
        runs, value = [], False
        for flag in row:
            if flag != value:
                runs.append(0)
                value = flag
            if not runs:
                runs.append(0)
            runs[-1] += 1
        return runs if not row[0] else [0, *runs]

    async def by_passes(context, size, sink, count):
        made, fed = [], context.buffer()
        context.pending.drop(len(fed))
        while True:
            start = context.seq_len
            forward = context.forward().input(fed)
            forward.attention_mask(
                [brle([key < sink or key > index - size for key in range(index + 1)])
                 for index in range(start, start + len(fed))])
            token = forward.sample([len(fed) - 1], Sampler.argmax())
            made.append((await forward.execute()).token(token))
            if len(made) == count:
                return made
            fed = made[-1:]

    async def main(case):
        size, sink, count = case["size"], case["sink"], case["count"]
        prompt = "Count from 3 to 90. " * 5
        plain = Context(Model.default()).user(prompt).cue()
        windowed = Context(Model.default()).user(prompt)
        options = {"max_tokens": count, "stop": [], "system_speculation": case["guess"]}
        tokens = await windowed.generate(Sampler.argmax(), window=Window(size, sink), **options).collect_tokens()
        causal = Context(Model.default()).user(prompt)
        return {"tokens": tokens, "expected": await by_passes(plain, size, sink, count),
                "lengths": [windowed.seq_len, plain.seq_len],
                "causal": await causal.generate(Sampler.argmax(), max_tokens=count, stop=[]).collect_tokens()}
"""


@pytest.mark.parametrize(
    ("size", "sink", "guess"), [(64, 4, False), (20, 0, False), (33, 17, False), (20, 4, True), (5000, 4, False)]
)
async def test_a_window_generates_what_masks_written_out_do(
    run_program: RunProgram, size: int, sink: int, guess: bool
) -> None:
    case = {"size": size, "sink": sink, "count": 60, "guess": guess}
    result = (await run_program(PROGRAM, case)).value
    assert result["tokens"] == result["expected"]
    assert len(set(result["lengths"])) == 1
    if size in (20, 5000):
        assert (result["tokens"] == result["causal"]) == (size == 5000)


LONG = """
    from inferlet import Context, Model, Sampler, Window

    async def main(count):
        context = Context(Model.default()).user("Tell me about rain.")
        generator = context.generate(Sampler.top_p(), max_tokens=count, stop=[], window=Window(64, sink=4))
        await generator.collect_tokens()
        return context.seq_len
"""


async def most_held(runtime: Runtime, run: Any) -> tuple[Any, int]:
    """What comes of a run, and the most pages held while it ran."""
    task, most = asyncio.ensure_future(run), 0
    while not task.done():
        most = max(most, runtime.model.scheduler.ledger().held)
        await asyncio.sleep(0.002)
    return task.result(), most


@pytest.mark.parametrize("count", [400, pytest.param(2000, marks=pytest.mark.slow)])
async def test_a_long_text_holds_the_pages_of_its_window(run_program: RunProgram, runtime: Runtime, count: int) -> None:
    result, most = await most_held(runtime, run_program(LONG, count))
    assert result.value >= count
    # The window of 64 tokens touches 5 pages of 16; then the first page, the discarded one that is kept, and the next.
    assert most <= 8


async def test_what_follows_a_window_without_one_is_an_error_and_with_one_goes_on(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Error, Model, Sampler, Window

        async def main(input):
            context, window = Context(Model.default()).user("Tell me about rain."), Window(32, sink=4)
            await context.generate(Sampler.argmax(), max_tokens=120, stop=[], window=window).collect_tokens()
            codes = []
            for _ in range(2):
                try:
                    await context.generate(Sampler.argmax(), max_tokens=3).collect_tokens()
                except Error as error:
                    codes.append(error.code)
            fork = context.fork()
            more = [await one.generate(Sampler.argmax(), max_tokens=40, stop=[], window=window).collect_tokens()
                    for one in (context, fork)]
            return [codes, more[0] == more[1], len(more[0])]
    """
    assert (await run_program(source)).value == [["discarded-page"] * 2, True, 40]


async def test_a_window_of_nothing_is_refused(run_program: RunProgram) -> None:
    source = """
        from inferlet import Window

        def main():
            Window(0)
    """
    with pytest.raises(ProcessError, match="bad-option"):
        await run_program(source)


async def test_discarded_pages_are_no_longer_held_and_masks_must_leave_them_out(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Error, Model

        async def attempt(wanted):
            try:
                return await wanted()
            except Error as error:
                return error.code

        async def main(input):
            with Context(Model.default()) as context:
                context.append(range(300, 370))
                await context.flush()
                held = [context.pages_held]
                async def discard(): return context.discard_pages(3, 2)
                codes = [await attempt(discard)]
                context.discard_pages(1, 3)
                context.discard_pages(1, 3)
                with context.fork() as fork:
                    held += [context.pages_held, fork.pages_held]
                codes.append(await attempt(context.forward().input([7]).execute))
                masked = context.forward().input([7]).attention_mask([[0, 16, 48, 7]])
                await masked.execute()
                return [held, codes, context.seq_len]
    """
    held, codes, length = (await run_program(source)).value
    assert held == [5, 3, 3]
    assert codes == ["not-discardable", "discarded-page"]
    assert length == 71
