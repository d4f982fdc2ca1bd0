"""A generation without a limit ends at the model's context length, whoever runs it."""

from __future__ import annotations

import pytest
from tests.running import RunProgram

from pie.errors import PieError
from pie.runtime import Runtime

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROGRAM = """
    from inferlet import Context, Model, Sampler

    class Guesses:
        def reset(self): pass
        def draft(self): return [60, 61, 62, 63, 64], []
        def accept(self, tokens): pass
        def rollback(self, num_tokens): pass

    async def stepwise(generator):
        tokens = []
        async for step in generator:
            tokens += (await step.execute()).tokens
        return tokens

    WAYS = {
        "host": ({}, lambda generator: generator.collect_tokens()),
        "steps": ({}, stepwise),
        "guesses of the program": ({"speculator": Guesses()}, lambda generator: generator.collect_tokens()),
        "guesses of the server": ({"system_speculation": True}, stepwise),
    }

    async def main(input):
        told = {}
        for name, (options, run) in WAYS.items():
            with Context(Model.default()) as context:
                context.append([60 + index % 7 for index in range(input["prompt"])])
                generator = context.generate(Sampler.argmax(), stop=[], auto_flush=False, **options)
                tokens = await run(generator)
                told[name] = [tokens, generator.is_done, context.seq_len, context.buffer(), context.pages.num_pages]
        return told
"""
TOO_LONG = """
    from inferlet import Context, Model, Sampler

    async def main(input):
        with Context(Model.default()) as context:
            context.append([60] * input["prompt"])
            async for step in context.generate(Sampler.argmax(), stop=[], auto_flush=False):
                await step.execute()
                context.append([60] * input["more"])
"""


def length_of(runtime: Runtime) -> int:
    return next(iter(runtime.models.values())).context_length


@pytest.mark.parametrize("room", [1, 20])
async def test_every_way_ends_when_the_context_is_full(runtime: Runtime, run_program: RunProgram, room: int) -> None:
    length = length_of(runtime)
    told = (await run_program(PROGRAM, {"prompt": length - room})).value
    tokens, is_done, seq_len, buffer, _ = told["host"]
    assert (len(tokens), is_done, seq_len, buffer) == (room + 1, True, length, tokens[-1:])
    assert [name for name, one in told.items() if one != told["host"]] == []


@pytest.mark.parametrize(("over", "more"), [(1, 0), (-9, 9)])
async def test_what_the_program_adds_beyond_the_context_is_an_error(
    runtime: Runtime, run_program: RunProgram, over: int, more: int
) -> None:
    with pytest.raises(PieError, match="prompt-too-long"):
        await run_program(TOO_LONG, {"prompt": length_of(runtime) + over, "more": more})
