"""Programs launched by programs: how they are found, what comes back, how they end, and how many there may be."""

from __future__ import annotations

import asyncio
import shutil
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.running import RunProgram

from pie.config import ProcessLimits
from pie.errors import ProcessError
from pie.process.process import Process
from pie.runtime import Runtime

pytestmark = pytest.mark.asyncio(loop_scope="session")

AddProgram = Callable[[str, str], Path]

ECHO = """
    from inferlet import runtime, session

    async def main(input):
        return {"input": input, "user": runtime.username(), "pid": runtime.instance_id()}
"""
SLEEPER = """
    import asyncio
    from inferlet import messaging

    async def main(input):
        messaging.push("started", "yes")
        await asyncio.sleep(1000)
"""
LAUNCH = """
    from inferlet import Error, runtime

    async def main(input):
        try:
            return await runtime.launch(input["name"], input.get("input")).wait()
        except Error as error:
            return [error.code, error.cause]
"""


@pytest.fixture
def add_program(programs_dir: Path) -> Iterator[AddProgram]:
    """Puts a program among those that may be launched: `name.py`, or a folder by its main.py."""
    before = set(programs_dir.iterdir())

    def add(file: str, text: str) -> Path:
        path = programs_dir / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    yield add
    for entry in set(programs_dir.iterdir()) - before:
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


async def launch(runtime: Runtime, folder: Path, text: str, value: Any = None) -> Process:
    (folder / "main.py").write_text(textwrap.dedent(text))
    return runtime.launch(await runtime.load(folder), value, seed=1)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


async def test_a_child_gets_its_input_and_the_same_user_and_its_result_comes_back(
    run_program: RunProgram, add_program: AddProgram
) -> None:
    add_program("echo.py", ECHO)
    source = """
        import asyncio
        from inferlet import runtime

        async def main():
            children = [runtime.launch("echo", {"n": n}) for n in range(3)]
            results = await asyncio.gather(*[child.wait() for child in children])
            return [results, [child.pid for child in children], await children[0].wait() == results[0]]
    """
    results, pids, again = (await run_program(source)).value
    assert [result["input"] for result in results] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert [result["pid"] for result in results] == pids
    assert len(set(pids)) == 3
    assert {result["user"] for result in results} == {"local"}
    assert again


async def test_a_child_generates_and_repeats_with_its_parents_seed(
    run_program: RunProgram, add_program: AddProgram
) -> None:
    add_program(
        "writer.py",
        """
        from inferlet import Context, Model, Sampler

        async def main(prompt):
            with Context(Model.default()) as context:
                context.user(prompt)
                return await context.generate(Sampler.multinomial(2.0), max_tokens=20).collect_tokens()
        """,
    )
    source = """
        import asyncio
        from inferlet import runtime

        async def main():
            children = [runtime.launch("writer", {"prompt": "Tell me a story."}) for _ in range(2)]
            return await asyncio.gather(*[child.wait() for child in children])
    """
    first = (await run_program(source, seed=7)).value
    assert first == (await run_program(source, seed=7)).value
    assert first[0] != first[1]


async def test_a_folder_is_launched_by_its_name_and_its_version(
    run_program: RunProgram, add_program: AddProgram
) -> None:
    add_program("worker/python/main.py", ECHO)
    add_program("worker/Pie.toml", '[package]\nname = "worker"\nversion = "1.2.0"\n[parameters.n]\ntype = "int"\n')
    named = (await run_program(LAUNCH, {"name": "worker", "input": {"n": 4}})).value
    assert named["input"] == {"n": 4}
    assert (await run_program(LAUNCH, {"name": "worker@1.2.0", "input": {"n": 4}})).value["input"] == {"n": 4}
    code, cause = (await run_program(LAUNCH, {"name": "worker@2.0.0", "input": {"n": 4}})).value
    assert code == "program-not-found"
    assert "1.2.0" in cause
    code, cause = (await run_program(LAUNCH, {"name": "worker", "input": {"n": "four"}})).value
    assert code == "bad-input"


@pytest.mark.parametrize(
    "name",
    ["", "nobody", "../echo", "/etc/passwd", "echo.py", "a/b", "echo\0", ".", "..", "ec\nho", "x" * 5000, "ëcho"],
)
async def test_nothing_but_a_name_in_the_folder_is_found(
    run_program: RunProgram, add_program: AddProgram, programs_dir: Path, name: str
) -> None:
    add_program("echo.py", ECHO)
    code, cause = (await run_program(LAUNCH, {"name": name})).value
    assert code == "program-not-found"
    assert str(programs_dir) not in cause


async def test_a_program_that_cannot_be_loaded_says_why_without_a_path_of_the_host(
    run_program: RunProgram, add_program: AddProgram, programs_dir: Path
) -> None:
    add_program("broken.wasm", "no component")
    add_program("binary.py", "").write_bytes(b"\xff\xfe\xfa")
    add_program("odd/main.py", ECHO)
    add_program("odd/Pie.toml", "[package]\nnmae = 1\n")
    told = [(await run_program(LAUNCH, {"name": name})).value for name in ("broken", "binary", "odd")]
    assert [code for code, _ in told] == ["not-a-component", "bad-text", "bad-manifest"]
    assert not [cause for _, cause in told if str(programs_dir) in cause]


async def test_the_error_of_a_child_keeps_its_code(run_program: RunProgram, add_program: AddProgram) -> None:
    add_program("raising.py", "from inferlet import Error\ndef main(): raise Error('no-such-city', 'Atlantis')\n")
    add_program("dividing.py", "def main(): return 1 / 0\n")
    assert (await run_program(LAUNCH, {"name": "raising"})).value[0] == "no-such-city"
    code, cause = (await run_program(LAUNCH, {"name": "dividing"})).value
    assert code == "program-failed"
    assert "ZeroDivisionError" in cause
    assert "dividing.py:1" in cause


async def test_a_child_has_no_client(run_program: RunProgram, add_program: AddProgram) -> None:
    add_program(
        "talker.py",
        """
        from inferlet import session

        async def main():
            print("into the void")
            session.send("nobody hears")
            return await session.receive()
        """,
    )
    run = await run_program(LAUNCH, {"name": "talker"})
    assert run.value[0] == "session-closed"
    assert (run.stdout, run.messages) == ("", [])


async def test_a_cancelled_child_ends_with_the_error_cancelled_and_a_finished_one_keeps_its_result(
    run_program: RunProgram, add_program: AddProgram
) -> None:
    add_program("sleeper.py", SLEEPER)
    add_program("echo.py", ECHO)
    source = """
        from inferlet import Error, messaging, runtime

        async def main():
            done = runtime.launch("echo", 1)
            await done.wait()
            done.cancel()
            sleeper = runtime.launch("sleeper")
            await messaging.pull("started")
            sleeper.cancel()
            sleeper.cancel()
            try:
                await sleeper.wait()
            except Error as error:
                return [error.code, (await done.wait())["input"]]
    """
    assert (await run_program(source)).value == ["cancelled", 1]


async def test_a_child_whose_handle_is_dropped_runs_on_after_its_parent(
    runtime: Runtime, run_program: RunProgram, add_program: AddProgram
) -> None:
    add_program(
        "late.py",
        """
        from inferlet import messaging

        async def main():
            await messaging.pull("go")
            messaging.push("went", "late")
        """,
    )
    await run_program("from inferlet import runtime\ndef main():\n    runtime.launch('late')\n")
    assert runtime.num_processes == 1
    source = """
        from inferlet import messaging

        async def main():
            messaging.push("go", "now")
            return await messaging.pull("went")
    """
    assert (await run_program(source)).value == "late"
    await until(lambda: runtime.num_processes == 0)


@pytest.mark.parametrize("end", ["raise RuntimeError('over')", "import os; os.abort()", "await asyncio.sleep(1000)"])
async def test_children_and_grandchildren_end_with_a_parent_that_fails_or_is_terminated(
    runtime: Runtime, add_program: AddProgram, tmp_path: Path, end: str
) -> None:
    add_program("sleeper.py", SLEEPER)
    add_program(
        "middle.py",
        """
        import asyncio
        from inferlet import runtime

        async def main():
            runtime.launch("sleeper")
            await runtime.launch("sleeper").wait()
        """,
    )
    source = f"""
        import asyncio
        from inferlet import messaging, runtime

        async def main():
            runtime.launch("middle")
            held = runtime.launch("sleeper")
            for _ in range(3):
                await messaging.pull("started")
            {end}
    """
    process = await launch(runtime, tmp_path, source)
    if "sleep" in end:
        await until(lambda: runtime.num_processes == 5)
        process.terminate()
    with pytest.raises(ProcessError):
        await process.outcome()
    await until(lambda: runtime.num_processes == 0 and runtime.num_guests == 0)


async def test_a_terminated_parent_that_waits_for_a_child_to_load_leaves_none(
    runtime: Runtime, add_program: AddProgram, tmp_path: Path
) -> None:
    add_program("sleeper.py", SLEEPER)
    source = """
        from inferlet import runtime

        async def main():
            while True:
                runtime.launch("sleeper").cancel()
    """
    for delay_s in (0.0, 0.01, 0.03, 0.05):
        process = await launch(runtime, tmp_path, source)
        await asyncio.sleep(delay_s)
        process.terminate()
        with pytest.raises(ProcessError, match="terminated"):
            await process.outcome()
        await until(lambda: runtime.num_processes == 0)


async def test_a_chain_of_launches_ends_at_the_depth_allowed(run_program: RunProgram, add_program: AddProgram) -> None:
    chain = """
        from inferlet import Error, runtime

        async def main(depth):
            try:
                return await runtime.launch("chain", {"depth": depth + 1}).wait()
            except Error as error:
                return [depth, error.code]
    """
    add_program("chain.py", chain)
    assert (await run_program(chain, {"depth": 0})).value == [ProcessLimits().child_depth, "too-many-children"]


async def test_a_tree_of_launches_is_bounded_and_has_room_again_when_some_have_ended(
    runtime: Runtime, run_program: RunProgram, add_program: AddProgram
) -> None:
    add_program("idle.py", "import asyncio\n\nasync def main():\n    await asyncio.sleep(1000)\n")
    source = """
        from inferlet import Error, runtime

        async def main(input):
            children = []
            try:
                while True:
                    children.append(runtime.launch("idle"))
            except Error as error:
                code = error.code
            for child in children:
                child.cancel()
            for child in children:
                try:
                    await child.wait()
                except Error:
                    pass
            last = runtime.launch("idle")
            last.cancel()
            return [len(children), code]
    """
    assert (await run_program(source)).value == [ProcessLimits().children, "too-many-children"]
    await until(lambda: runtime.num_processes == 0)


async def test_input_of_a_child_that_is_not_json_or_too_large_is_refused(
    run_program: RunProgram, add_program: AddProgram
) -> None:
    add_program("echo.py", ECHO)
    source = """
        from wit_world.imports import runtime
        from componentize_py_types import Err
        from inferlet import Error

        def told(text):
            try:
                runtime.launch("echo", text)
            except Err as error:
                return error.value.partition(":")[0]
            except Error as error:
                return error.code

        def main():
            return [told("{"), told('"' + "x" * (5 << 20) + '"'), told("[" * 100000)]
    """
    assert (await run_program(source)).value == ["bad-input", "too-large", "bad-input"]
