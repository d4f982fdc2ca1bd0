"""Programs with a token budget, and programs that wait for their turn."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.running import everything_is_given_back

from pie.config import Settings, embedded_model
from pie.errors import PieError, ProcessError, UsageError
from pie.runtime import Runtime

pytestmark = pytest.mark.asyncio(loop_scope="session")

SPENDER = """
from inferlet import Context, Error, Model, Sampler, runtime

async def spend(context, stepwise):
    made = []
    generator = context.generate(Sampler.argmax(), max_tokens=50, stop=[])
    try:
        if stepwise:
            async for step in generator:
                made += (await step.execute()).tokens
        else:
            await generator.collect_tokens()
    except Error as error:
        return [error.code, context.seq_len]
    return ["no error", context.seq_len]

async def main(input):
    with Context(Model.default()) as context:
        context.user("Count to ten.")
        return await spend(context, input == "stepwise")
"""

CAUGHT_BY_NOBODY = """
from inferlet import Context, Model, Sampler

async def main():
    with Context(Model.default()) as context:
        context.user("Count to ten.")
        return await context.generate(Sampler.argmax(), max_tokens=50, stop=[]).collect_tokens()
"""

PARENT = """
from inferlet import runtime

async def main(input):
    return [await runtime.launch("spender", "offloaded").wait(), await runtime.launch("spender", "stepwise").wait()]
"""

WAITS_FOR_A_LINE = """
from inferlet import session

async def main(input):
    return [input, await session.receive()]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "main.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize("how", ["stepwise", "offloaded"])
async def test_a_program_is_told_when_its_tokens_are_used_up(runtime: Runtime, tmp_path: Path, how: str) -> None:
    program = await runtime.load(write(tmp_path, SPENDER))
    process = runtime.launch(program, how, seed=1, token_budget=30)
    assert json.loads(await process.outcome()) == ["token-budget-spent", 30]
    process = runtime.launch(program, how, seed=1, token_budget=200)
    assert json.loads(await process.outcome())[0] == "no error"


async def test_a_program_that_spends_its_budget_ends_with_that_error(runtime: Runtime, tmp_path: Path) -> None:
    program = await runtime.load(write(tmp_path, CAUGHT_BY_NOBODY))
    with pytest.raises(PieError, match="token-budget-spent: the token budget of 20 is used up"):
        await runtime.launch(program, token_budget=20).outcome()
    with pytest.raises(UsageError, match="bad-token-budget"):
        runtime.launch(program, token_budget=0)


async def test_programs_wait_for_their_turn_in_order_and_may_be_ended_before_it(
    tmp_path: Path, cache_dir: Path
) -> None:
    settings = Settings(home=tmp_path / "home", cache=cache_dir, model=embedded_model(), kv_pages=2, host_pages=0)
    async with Runtime(settings) as narrow:  # two pages and a little slack: three programs at a time
        program = await narrow.load(write(tmp_path, WAITS_FOR_A_LINE))
        processes = [narrow.launch(program, number) for number in range(6)]
        for process in processes:
            process.state.mailbox.deliver("go")
        processes[4].terminate()
        with pytest.raises(ProcessError, match="terminated"):
            await processes[4].outcome()
        values = [json.loads(await process.outcome()) for process in processes if process is not processes[4]]
        assert values == [[number, "go"] for number in (0, 1, 2, 3, 5)]
        first = [narrow.launch(program, number) for number in range(4)]
        while len(narrow._wasm.guests) < 3:
            await asyncio.sleep(0.001)
        first[3].state.mailbox.deliver("go")
        for _ in range(50):
            await asyncio.sleep(0)
        assert narrow.num_guests == 3
        first[1].state.mailbox.deliver("go")
        assert json.loads(await first[1].outcome()) == [1, "go"]
        assert json.loads(await first[3].outcome()) == [3, "go"]
        for process in (first[0], first[2]):
            process.terminate()
            with pytest.raises(ProcessError, match="terminated"):
                await process.outcome()
        await everything_is_given_back(narrow)


async def test_programs_share_a_budget_with_those_they_launch_which_do_not_wait_for_a_place(
    tmp_path: Path, cache_dir: Path
) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "spender.py").write_text(SPENDER)
    settings = Settings(
        home=tmp_path / "home", cache=cache_dir, model=embedded_model(), kv_pages=5, host_pages=0, programs=folder
    )
    async with Runtime(settings) as narrow:
        program = await narrow.load(write(tmp_path, PARENT))
        processes = [narrow.launch(program, seed=number, token_budget=30) for number in range(7)]
        for process in processes:
            first, second = json.loads(await process.outcome())
            assert first == ["token-budget-spent", 30]
            assert second == ["token-budget-spent", 0]
        await everything_is_given_back(narrow)
