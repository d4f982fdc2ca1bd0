"""Each bad call that a program can make is told by an error of its language with a stable code, and harms nobody."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.bad_calls.table import CODES
from tests.running import RunProgram, everything_is_given_back

from pie.errors import PieError
from pie.runtime import Runtime

pytestmark = pytest.mark.asyncio(loop_scope="session")

GUESTS = Path(__file__).parent
TYPES = {"python": {"Error", "McpError", "Err"}, "javascript": {"InferletError", "McpError", "ComponentError"}}
"""The errors of the SDK; `Err` and `ComponentError` are those of calls that go past it."""
NEEDS_NODE = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
LANGUAGES = [pytest.param(name, marks=[NEEDS_NODE] if name == "javascript" else []) for name in CODES]


class Told:
    """What the guest of each language was told, in one run of each."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._runs: dict[str, dict[str, Any]] = {}

    async def by(self, language: str) -> dict[str, Any]:
        if language not in self._runs:
            process = self._runtime.launch(await self._runtime.load(GUESTS / language), {}, seed=1)
            process.state.mailbox.close()
            self._runs[language] = json.loads(await process.outcome())
            await everything_is_given_back(self._runtime)
        return self._runs[language]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def told(shared_runtime: Runtime) -> Told:
    return Told(shared_runtime)


@pytest.mark.parametrize(
    ("language", "call"),
    [
        pytest.param(language, call, marks=[NEEDS_NODE] if language == "javascript" else [], id=f"{language}-{call}")
        for language, codes in CODES.items()
        for call in codes
    ],
)
async def test_a_bad_call_is_told_by_its_code(language: str, call: str, told: Told) -> None:
    kind, code = (await told.by(language))["told"][call]
    if CODES[language][call] == "returned":
        assert kind == "returned", code
    else:
        assert code == CODES[language][call]
        assert kind in TYPES[language]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_table_lists_what_the_guest_calls(language: str, told: Told) -> None:
    assert (await told.by(language))["told"].keys() == CODES[language].keys()


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_context_beside_bad_calls_goes_on_as_if_alone(language: str, told: Told) -> None:
    assert (await told.by(language))["same"] is True


# What no check of ours can see ends the program that does it: with a code, and nobody else.
ENDS = {
    "a number that no handle has": (
        "guest-trapped",
        "context.wit.handle = 999_999\n    context.wit.fork()",
    ),
    "the handle of something else": (
        "guest-trapped",
        "context.wit.handle = context.model.wit.handle\n    context.wit.fork()",
    ),
    "a raw bid that is no number": ("bad-bid", "context.wit.bid(float('nan'))"),
    "a raw tool that is none": (
        "bad-tools",
        "from wit_world.imports import tool_use\n    tool_use.format(context.model.wit, ['{'])",
    ),
    "more than fits into one call": (
        "too-large",
        "from wit_world.imports import session\n    session.send_file.__wrapped__(bytes(5 << 20))",
    ),
}
HEAD = "from inferlet import Context, Model\nasync def main(input):\n    context = Context(Model.default())\n"
NEIGHBOUR = """
from inferlet import Context, Model, Sampler

async def main(input):
    with Context(Model.default()) as context:
        context.append(range(40, 77))
        return await context.generate(Sampler.argmax(), max_tokens=60, stop=[], auto_flush=False).collect_tokens()
"""


@pytest.mark.parametrize("name", ENDS)
async def test_a_program_that_cannot_be_told_ends_alone(
    name: str, runtime: Runtime, run_program: RunProgram, tmp_path: Path
) -> None:
    code, line = ENDS[name]
    (tmp_path / "neighbour").mkdir()
    (tmp_path / "neighbour" / "main.py").write_text(NEIGHBOUR)
    neighbour = await runtime.load(tmp_path / "neighbour")
    alone = await runtime.launch(neighbour, {}, seed=1).outcome()
    beside = asyncio.create_task(runtime.launch(neighbour, {}, seed=1).outcome())
    text = f"{HEAD}    {line}"
    with pytest.raises(PieError) as caught:
        await run_program(text)
    assert caught.value.code == code
    assert await beside == alone


async def test_a_handle_of_another_process_is_none_here(run_program: RunProgram) -> None:
    """Numbers of handles count from 1 in each process: what one process holds, another cannot name."""
    program = "from inferlet import Context, Model\nasync def main(input): return Context(Model.default()).wit.handle"
    assert (await run_program(program)).value == (await run_program(program)).value
