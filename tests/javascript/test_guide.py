"""What the pages say of JavaScript is true: their programs give what stands below them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.running import RunProgram

from pie.cli.new import TYPESCRIPT_MAIN

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400)]

PAGE = Path(__file__).parents[2] / "docs" / "writing-javascript.md"
LINES = r"(?:(?!```).*\n)*"
PROGRAM = re.compile(rf"^```ts\n(?P<text>{LINES})```\n\n```text\n(?P<shown>{LINES})```\n", re.MULTILINE)


async def test_the_program_of_the_guide_gives_what_stands_below_it(run_javascript: RunProgram) -> None:
    programs = list(PROGRAM.finditer(PAGE.read_text()))
    assert programs
    for program in programs:
        run = await run_javascript(program["text"], {"question": "What is the capital of Norway?"})
        assert json.dumps(run.value, indent=2) + "\n" == program["shown"]


async def test_the_template_of_a_new_program_runs(run_javascript: RunProgram) -> None:
    run = await run_javascript(TYPESCRIPT_MAIN, {"prompt": "Hello"})
    assert run.stdout.startswith("Hello")


@pytest.mark.parametrize("name", ["fetch", "Intl", "WebAssembly", "process", "Worker"])
async def test_what_the_guide_says_is_missing_is_missing(run_javascript: RunProgram, name: str) -> None:
    source = f"export const main = () => '{name}' in globalThis;"
    assert (await run_javascript(source)).value == (name == "fetch")


async def test_what_the_guide_says_is_there_is_there(run_javascript: RunProgram) -> None:
    source = """
        export const main = () => ['setTimeout', 'console', 'crypto', 'URL', 'TextEncoder', 'structuredClone',
          'ReadableStream', 'performance', 'queueMicrotask'].filter((name) => !(name in globalThis));
    """
    assert (await run_javascript(source)).value == []
