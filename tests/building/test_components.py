"""Building: the runner once for any number of processes, and programs into components of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pie.build.componentize import componentize
from pie.build.program import _place, build_program
from pie.build.runner import ensure_runner, runner_key
from pie.build.sources import Sources, find_sources
from pie.build.world import check_name, write_world
from pie.config import Settings, embedded_model
from pie.errors import ProgramError
from pie.runtime import Runtime


def test_a_runner_that_is_there_is_not_built_again(runner_wasm: Path) -> None:
    told: list[str] = []
    assert ensure_runner(runner_wasm.parent, progress=told.append) == runner_wasm
    assert told == []


def test_the_key_changes_with_every_source(tmp_path: Path) -> None:
    sources = find_sources()
    copies = Sources(*(tmp_path / name for name in ("wit", "inferlet", "pie_runner", "javascript", "inferlets")))
    for source, copy in zip(
        (sources.wit, sources.sdk, sources.runner), (copies.wit, copies.sdk, copies.runner), strict=True
    ):
        shutil.copytree(source, copy)
    keys = [runner_key(copies)]
    for file in (copies.wit / "inferlet.wit", copies.sdk / "chat.py", copies.runner / "preload.py"):
        file.write_text(file.read_text() + "\n")
        keys.append(runner_key(copies))
    (copies.sdk / "more.txt").write_text("not a source")
    assert runner_key(copies) == keys[-1]
    assert len(set(keys)) == len(keys)
    assert keys[0] == runner_key(sources)


@pytest.mark.slow
def test_two_processes_build_the_runner_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pie.build.runner import ensure_runner\n"
        "told = []; path = ensure_runner(Path(sys.argv[1]), progress=told.append)\n"
        "print(len(told), path.stat().st_size)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = sorted(process.communicate()[0].split() for process in processes)
    assert [answer[0] for answer in answers] == ["0", "1"]
    assert answers[0][1] == answers[1][1]
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".lock", ".wasm"]


@pytest.mark.slow
async def test_a_built_program_runs_without_its_text(tmp_path: Path, cache_dir: Path) -> None:
    folder = tmp_path / "my_program"
    (folder / "helpers").mkdir(parents=True)
    (folder / "main.py").write_text(
        "import math\nfrom helpers.text import shout\nfrom inferlet import runtime\n"
        "TABLE = [math.sqrt(n) for n in range(5)]\n"
        "async def main(word, fail=False):\n    import colorsys\n    from helpers import late\n"
        "    return [shout(word), TABLE[4], late.VALUE / (0 if fail else 1), len(runtime.models())]\n"
    )
    (folder / "helpers" / "text.py").write_text("def shout(word): return word.upper()")
    (folder / "helpers" / "late.py").write_text("VALUE = 7")
    output = tmp_path / "my.wasm"
    build_program(folder, output, work_dir=cache_dir / "build")
    async with Runtime(Settings(home=tmp_path, cache=cache_dir, model=embedded_model())) as runtime:
        program = await runtime.load(output)
        assert program.export == "pie:my-program/run"
        assert json.loads(await runtime.launch(program, {"word": "hey"}).outcome()) == ["HEY", 2.0, 7.0, 1]
        with pytest.raises(Exception, match="division by zero"):
            await runtime.launch(program, {"word": "hey", "fail": True}).outcome()
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix) == ["my.wasm"]


def test_a_program_that_fails_at_its_top_level_is_not_built(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import numpy\n")
    (tmp_path / "Pie.toml").write_text('[package]\nname = "x"\n')
    with pytest.raises(ProgramError) as caught:
        build_program(tmp_path, tmp_path / "out.wasm", work_dir=tmp_path / "work")
    assert caught.value.code == "build-failed"
    assert caught.value.cause == "ModuleNotFoundError: No module named 'numpy'"
    assert not (tmp_path / "out.wasm").exists()


def test_a_build_that_takes_too_long_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pie.build.componentize.TIMEOUT_S", 3.0)
    (tmp_path / "app.py").write_text("while True: pass\n")
    wit = write_world(tmp_path / "wit", find_sources(), name="x")
    with pytest.raises(ProgramError, match="was not done after 3 s"):
        componentize(wit, module="app", python_path=[tmp_path], output=tmp_path / "out.wasm")


@pytest.mark.parametrize("name", ["", "A", "a--b", "a_b", "1a", "a-1", "core", "inferlet", "a b", "a;b"])
def test_a_name_that_no_package_can_have_is_refused(name: str) -> None:
    with pytest.raises(ProgramError, match="bad-name"):
        check_name(name)


def test_an_output_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    built = tmp_path / "built.wasm"
    built.write_bytes(b"x")
    with pytest.raises(ProgramError, match="cannot-write"):
        _place(built, tmp_path / "missing" / "out.wasm")
