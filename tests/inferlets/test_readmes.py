"""What the READMEs of the examples show is what the programs print, or what they answer to curl."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.machine import computes_as_shown
from tests.running import BuildDaemon, ask

from pie.build.manifest import check_input, find_manifest
from pie.build.modules import defines
from pie.cli.arguments import program_input
from pie.cli.output import Output
from pie.cli.printer import Printer
from pie.runtime import Runtime

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]
ALL = sorted(path.parent for path in (ROOT / "inferlets").glob("*/Pie.toml"))
DAEMONS = [path.name for path in ALL if defines((path / "python" / "main.py").read_text(), "handle")]
NAMES = [path.name for path in ALL if path.name not in DAEMONS]
CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"\$ (?:printf '(?P<typed>.*?)' \| )?pie run (?P<words>.*)\n(?P<output>(?:(?!\$ ).*\n)*)")
CURL = re.compile(r"\$ curl (?P<words>.*)\n(?P<output>(?:(?!\$ ).*\n)*)")
BLANKS = re.compile(r'(?<=[:,]) (?=["\d])')
SECONDS = re.compile(r'(?<=_s": )[\d.]+')


@dataclass(frozen=True, slots=True)
class Example:
    """One command of a README and what it prints."""

    lines: list[str]
    path: Path
    seed: int | None
    words: list[str]
    output: str


def examples(name: str) -> list[Example]:
    text = "".join(CONSOLE.findall((ROOT / "inferlets" / name / "README.md").read_text()))
    return [example(match) for match in COMMAND.finditer(text)]


def example(match: re.Match[str]) -> Example:
    before, _, after = match["words"].partition(" -- ")
    path, *options = shlex.split(before)
    seed = int(options[options.index("--seed") + 1]) if "--seed" in options else None
    lines = (match["typed"] or "").split("\\n")[:-1]
    return Example(lines, ROOT / path, seed, shlex.split(after), match["output"])


async def run(runtime: Runtime, shown: Example) -> None:
    """Run a command in this process, printing as the command line does."""
    value = program_input(shown.words)
    manifest = find_manifest(shown.path)
    assert manifest is not None
    check_input(manifest, value)
    with contextlib.closing(Output(sys.stdout)) as stdout, contextlib.closing(Output(sys.stderr)) as stderr:
        printer = Printer(stdout, stderr, as_json=False, debug=False)
        process = runtime.launch(await runtime.load(shown.path), value, listener=printer.event, seed=shown.seed)
        for line in shown.lines:
            process.state.mailbox.deliver(line)
        process.state.mailbox.close()
        printer.result(await process.outcome())
        await printer.flush()


@pytest.mark.parametrize("name", NAMES)
async def test_a_readme_shows_what_its_program_prints(
    name: str, runtime: Runtime, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    shown = examples(name)
    assert shown
    for one in shown:
        await run(runtime, one)
        printed = capfdbinary.readouterr().out.decode()
        assert printed
        if computes_as_shown():
            assert SECONDS.sub("…", printed) == SECONDS.sub("…", one.output)


@pytest.mark.timeout(400)  # the program is built, once for each version
@pytest.mark.parametrize("entry", ["python/main.py", "javascript/main.ts"])
@pytest.mark.parametrize("name", DAEMONS)
async def test_a_readme_shows_what_its_program_answers(
    name: str, entry: str, runtime: Runtime, build_daemon: BuildDaemon
) -> None:
    program = await runtime.load(build_daemon(ROOT / "inferlets" / name / entry))
    text = "".join(CONSOLE.findall((ROOT / "inferlets" / name / "README.md").read_text()))
    shown = list(CURL.finditer(text))
    assert shown
    for one in shown:
        words = shlex.split(one["words"])
        url = next(word for word in words if word.startswith("http:"))
        body = words[words.index("--data") + 1].encode() if "--data" in words else b""
        target = "/" + url.partition("//")[2].partition("/")[2]
        status, answer = await ask(runtime, program, "POST" if body else "GET", target, body)
        assert status in (200, 400)
        if computes_as_shown():
            assert BLANKS.sub("", answer.decode()).strip() == BLANKS.sub("", one["output"]).strip()
