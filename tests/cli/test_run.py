"""`pie run` as its users meet it: what is printed where, what is read, with which models and folders."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.cli.shell import Pie, write_program

from pie.testing import Family, write_random_model

TALKS = """
import sys
from inferlet import session

async def main(input):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    session.send("a message")
    session.send_file(b"\\x00\\x01")
    return {"got": input}
"""
ECHO = """
from inferlet import Error, session

async def main(input):
    lines = []
    try:
        while True:
            lines.append(await session.receive())
    except Error as error:
        return [error.code, lines]
"""
SAMPLES = """
from inferlet import Context, Model, Sampler

async def main(input):
    with Context(Model.default()) as context:
        context.user("Tell me a story.")
        return await context.generate(Sampler.multinomial(1.5), max_tokens=12, stop=[]).collect_tokens()
"""


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("'two\\nlines'", "two\nlines\n"),
        ("''", "\n"),
        ("None", ""),
        ("0", "0\n"),
        ("[]", "[]\n"),
        ("{'ü': [1, 2.5, True, None]}", '{\n  "ü": [\n    1,\n    2.5,\n    true,\n    null\n  ]\n}\n'),
    ],
)
def test_a_result_is_printed_as_text_as_json_or_not_at_all(value: str, printed: str, pie: Pie, tmp_path: Path) -> None:
    left = pie("run", write_program(tmp_path, f"async def main(input):\n    return {value}\n"))
    assert (left.code, left.out) == (0, printed)


def test_a_result_begins_a_line_of_its_own(pie: Pie, tmp_path: Path) -> None:
    program = "async def main(input):\n    print('no end', end='')\n    return 'result'\n"
    assert pie("run", write_program(tmp_path, program)).out == "no end\nresult\n"


def test_stdout_has_the_programs_output_and_stderr_the_rest(pie: Pie, tmp_path: Path) -> None:
    left = pie("run", write_program(tmp_path, TALKS), "--", "--n", "1")
    assert left.out == 'to stdout\na message\n[file of 2 bytes]\n{\n  "got": {\n    "n": 1\n  }\n}\n'
    assert "to stderr\n" in left.err


def test_json_shows_each_event_as_a_line(pie: Pie, tmp_path: Path) -> None:
    left = pie("run", "--json", write_program(tmp_path, TALKS), "--", "--n", "1")
    events = [json.loads(line) for line in left.out.splitlines()]
    texts = {
        kind: "".join(event["value"] for event in events if event["event"] == kind) for kind in ("stdout", "stderr")
    }
    assert texts == {"stdout": "to stdout\n", "stderr": "to stderr\n"}
    assert {"event": "message", "value": "a message"} in events
    assert {"event": "file", "value": "AAE="} in events
    assert events[-1] == {"event": "return", "value": {"got": {"n": 1}}}
    assert "to stderr" not in left.err


def test_json_shows_an_error_as_the_last_event_and_on_stderr(pie: Pie, tmp_path: Path) -> None:
    left = pie("run", "--json", write_program(tmp_path, "async def main(input):\n    return 1 / 0\n"))
    last = json.loads(left.out.splitlines()[-1])
    assert left.code == 1
    assert (last["event"], last["code"]) == ("error", "program-failed")
    assert "ZeroDivisionError" in last["cause"]
    assert left.err.splitlines()[-1].startswith("error[program-failed]: ")


def test_the_same_seed_repeats_the_tokens(pie: Pie, tmp_path: Path) -> None:
    program = write_program(tmp_path, SAMPLES)
    first, again, other = (pie("run", "--seed", seed, program).out for seed in ("7", "7", "8"))
    assert first == again
    assert first != other


def test_a_token_budget_ends_a_program_that_spends_it(pie: Pie, tmp_path: Path) -> None:
    left = pie("run", "--token-budget", "5", write_program(tmp_path, SAMPLES))
    assert left.code == 1
    assert "error[token-budget-spent]: the token budget of 5 is used up" in left.err


def test_without_a_seed_the_tokens_differ(pie: Pie, tmp_path: Path) -> None:
    program = write_program(tmp_path, SAMPLES)
    assert pie("run", program).out != pie("run", program).out


@pytest.mark.parametrize("typed", ["", "one", "one\n", "one\r\ntwo\n\nfour", "ü\n\xff\n"])
def test_lines_of_stdin_reach_the_program_and_their_end_closes_the_session(
    typed: str, pie: Pie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed_file = tmp_path / "typed"
    typed_file.write_bytes(typed.encode("latin-1"))
    expected = [line.rstrip("\r\n") for line in typed.encode("latin-1").decode("utf-8", "replace").split("\n")]
    if not expected[-1]:
        expected.pop()
    with typed_file.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        left = pie("run", write_program(tmp_path, ECHO))
    assert left.code == 0, left.err
    assert json.loads(left.out) == ["session-closed", expected]


def test_a_closed_stdin_has_no_lines(pie: Pie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert json.loads(pie("run", write_program(tmp_path, ECHO)).out) == ["session-closed", []]


def test_megabytes_of_output_arrive_whole_and_in_order(pie: Pie, tmp_path: Path) -> None:
    program = "async def main(input):\n    for i in range(4000): print(f'{i:0>999}')\n    return 'end'\n"
    left = pie("run", write_program(tmp_path, program))
    assert left.out == "".join(f"{i:0>999}\n" for i in range(4000)) + "end\n"


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_a_directory_of_weights_is_run(family: Family, pie: Pie, tmp_path: Path) -> None:
    model = write_random_model(tmp_path / family, family)
    left = pie("run", "--model", str(model), "--seed", "1", write_program(tmp_path, SAMPLES))
    assert left.code == 0, left.err
    assert len(json.loads(left.out)) == 12


def test_a_new_program_runs(pie: Pie) -> None:
    assert pie("new", "hello").code == 0
    left = pie("run", "hello", "--seed", "1", "--", "--prompt", "Hello")
    assert left.code == 0, left.err
    assert left.out.strip()


def test_a_new_program_may_be_in_typescript(pie: Pie, tmp_path: Path) -> None:
    assert pie("new", "--ts", "hello").code == 0
    assert "export async function main" in (tmp_path / "hello" / "javascript" / "main.ts").read_text()
    assert not (tmp_path / "hello" / "python").exists()


@pytest.mark.slow
def test_a_new_program_builds_into_a_component_that_runs(pie: Pie) -> None:
    pie("new", "hello")
    built = pie("build", "hello", "-o", "x.wasm")
    assert built.code == 0, built.err
    from_folder = pie("run", "hello", "--seed", "1")
    from_component = pie("run", "x.wasm", "--seed", "1")
    assert from_component.code == 0, from_component.err
    assert from_component.out == from_folder.out


@pytest.mark.parametrize(("variable", "code"), [("PIE_CACHE", "cache-unusable"), ("PIE_HOME", "snapshot-not-saved")])
def test_a_folder_that_cannot_be_written_ends_with_one_line(
    variable: str, code: str, pie: Pie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, str(tmp_path / "file" / "folder"))
    program = """
from inferlet import Context, Model

async def main(input):
    with Context(Model.default()) as context:
        await context.user("hi").flush()
        await context.save("x")
"""
    left = pie("run", write_program(tmp_path, program))
    assert left.code == 1
    assert left.err.splitlines()[-1].startswith(f"error[{code}]: ")
    assert str(tmp_path / "file") in left.err
    assert "Traceback" not in left.err
