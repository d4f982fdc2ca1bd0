"""Everything a user can get wrong ends with one line (code, cause, remedy), exit code 1, and everything given back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from pie.cli.main import main
from pie.testing import write_random_model

Make = Callable[[Path], list[str]]
"""Prepares a folder and returns the words after `pie`."""


def program(text: str, *words: str) -> Make:
    def make(folder: Path) -> list[str]:
        (folder / "main.py").write_text(text)
        return ["run", str(folder / "main.py"), *words]

    return make


def component(wat: str) -> Make:
    def make(folder: Path) -> list[str]:
        (folder / "x.wasm").write_bytes(bytes(wat2wasm(wat)))
        return ["run", str(folder / "x.wasm")]

    return make


def garbage(folder: Path) -> list[str]:
    (folder / "x.wasm").write_bytes(b"this is no component")
    return ["run", str(folder / "x.wasm")]


def model(break_it: Callable[[Path], None]) -> Make:
    def make(folder: Path) -> list[str]:
        directory = folder / "model"
        write_random_model(directory, family="qwen3", seed=0)
        break_it(directory)
        return [*program("async def main(input): pass\n")(folder), "--model", str(directory)]

    return make


def without_tokenizer(directory: Path) -> None:
    (directory / "tokenizer.json").unlink()


def with_pickle_weights(directory: Path) -> None:
    for file in directory.glob("*.safetensors"):
        file.unlink()
    (directory / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")


def with_layers_without_end(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 10**9}))


def with_end_tokens_of_another_model(directory: Path) -> None:
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer | {"added_tokens": []}))
    for name, key, end in (
        ("config.json", "eos_token_id", 151_645),
        ("generation_config.json", "eos_token_id", [151_645, 151_643]),
        ("tokenizer_config.json", "eos_token", "<|eot|>"),
    ):
        content = json.loads((directory / name).read_text())
        (directory / name).write_text(json.dumps(content | {key: end}))


def with_unknown_architecture(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    config |= {"architectures": ["WombatForCausalLM"], "model_type": "wombat"}
    (directory / "config.json").write_text(json.dumps(config))


def model_at(path: str) -> Make:
    return lambda folder: [*program("async def main(input): pass\n")(folder), "--model", path]


def missing_model(folder: Path) -> list[str]:
    return [*program("async def main(input): pass\n")(folder), "--model", str(folder / "nowhere")]


HEAD = "from inferlet import Context, Model, Sampler, ebnf, json_schema, regex\n"
GENERATE = (
    HEAD
    + """async def main(input):
    with Context(Model.default()) as context:
        context.user("hi")
        {line}
"""
)
CASES: dict[str, tuple[str, Make]] = {
    "an unknown file": ("program-not-found", lambda folder: ["run", str(folder / "nothing.py")]),
    "an unknown component": ("program-not-found", lambda folder: ["run", str(folder / "nothing.wasm")]),
    "an unknown folder": ("program-not-found", lambda folder: ["run", str(folder / "nothing")]),
    "a file that is no component": ("not-a-component", garbage),
    "a core module": ("not-a-component", component("(module)")),
    "a component without an entry": ("missing-export", component("(component)")),
    "a component that imports something we lack": (
        "missing-import",
        component('(component (import "acme:rockets/launch" (instance (export "go" (func)))))'),
    ),
    "a program that raises": ("program-failed", program("async def main(input):\n    return 1 / 0\n")),
    "a program with a syntax error": ("program-failed", program("async def main(input):\n    return (1 +\n")),
    "a program without main": ("no-main", program("x = 1\n")),
    "a program that imports what does not exist": (
        "program-failed",
        program("import numpy\nasync def main(input): pass\n"),
    ),
    "a program that returns what is not JSON": ("not-json", program("async def main(input): return object()\n")),
    "a program that exits": ("exit", program("import sys\nasync def main(input): sys.exit(3)\n")),
    "a program that aborts": ("guest-trapped", program("import os\nasync def main(input): os.abort()\n")),
    "a program that waits for nothing": (
        "deadlock",
        program(
            "import asyncio\nasync def main(input): await asyncio.get_running_loop().create_future()\n",
        ),
    ),
    "a program that eats memory": (
        "memory-limit",
        program("async def main(input):\n    x = []\n    while True: x.append(bytearray(1 << 22))\n"),
    ),
    "a program that loops for ever": (
        "cpu-limit",
        program("async def main(input):\n    while True: pass\n", "--spin-s", "0.3"),
    ),
    "a program that never lets go": (
        "cpu-limit",
        program("import asyncio\nasync def main(input):\n    while True: await asyncio.sleep(0)\n", "--cpu-s", "0.3"),
    ),
    "a grammar that does not parse": (
        "bad-ebnf",
        program(
            GENERATE.format(
                line="await context.generate(Sampler.argmax(), constrain=ebnf('root ::= (')).collect_text()"
            )
        ),
    ),
    "a regular expression that does not parse": (
        "bad-regex",
        program(GENERATE.format(line="await context.generate(Sampler.argmax(), constrain=regex('(')).collect_text()")),
    ),
    "a schema that does not parse": (
        "bad-schema",
        program(
            GENERATE.format(line="await context.generate(Sampler.argmax(), constrain=json_schema('{')).collect_text()")
        ),
    ),
    "a prompt longer than the context": (
        "prompt-too-long",
        program(GENERATE.format(line="context.append([5] * 5000); await context.flush()")),
    ),
    "a token that does not exist": (
        "bad-token",
        program(GENERATE.format(line="context.append([999999]); await context.flush()")),
    ),
    "a model that is not served": (
        "model-not-served",
        program(HEAD + "async def main(input):\n    Model.load('gpt-9')\n"),
    ),
    "a sampler out of range": (
        "bad-sampler",
        program(GENERATE.format(line="await context.generate(Sampler.top_p(-1.0, 0.5), max_tokens=3).collect_text()")),
    ),
    "a program that leaves in mid-stream": (
        "exit",
        program(
            "import sys\n"
            + GENERATE.format(
                line="""async for piece in context.generate(Sampler.argmax(), max_tokens=500, stop=[]).text():
            sys.exit('enough')"""
            )
        ),
    ),
    "a context used after it was given up": (
        "released",
        program(GENERATE.format(line="await context.flush(); context.release(); context.fork()")),
    ),
    "a model directory that is not there": ("model-not-found", missing_model),
    "a model of a user who is not there": ("model-not-found", model_at("~nobody-here/model")),
    "a name of a model that is too long": ("io-error", model_at("x" * 5000)),
    "a name of a model with a zero": ("bad-setting", model_at("a\0b")),
    "no name of a model": ("bad-setting", model_at("")),
    "a choice of weights that does not exist": (
        "bad-setting",
        program("async def main(input): pass\n", "--weights", "int2"),
    ),
    "a model without tokenizer": ("no-tokenizer", model(without_tokenizer)),
    "a model of a milliard layers": ("bad-config", model(with_layers_without_end)),
    "a model without its end tokens": ("missing-token", model(with_end_tokens_of_another_model)),
    "a model with pickle weights": ("pickle-weights", model(with_pickle_weights)),
    "a model of an unknown architecture": ("unknown-architecture", model(with_unknown_architecture)),
    "an input that is not JSON": (
        "bad-input",
        program("async def main(input): pass\n", "--input", "{"),
    ),
    "an unknown command": ("usage", lambda folder: ["rum", "main.py"]),
    "an unknown option": ("usage", lambda folder: ["run", "--sede", "3", "main.py"]),
    "a program name with capitals": ("bad-name", lambda folder: ["new", str(folder / "Hello")]),
    "a folder that is there already": ("already-there", lambda folder: ["new", str(folder)]),
}


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    monkeypatch.setenv("PIE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIE_CACHE", str(cache_dir))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_bad_input_ends_with_one_line(
    case: str, tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    code, make = CASES[case]
    folder = tmp_path_factory.mktemp("case")
    with pytest.raises(SystemExit) as left:
        main(make(folder))
    output = capfd.readouterr()
    assert left.value.code == 1
    lines = [line for line in output.err.splitlines() if not re.fullmatch(r".*: \d+\.\d s", line)]  # progress
    assert len(lines) == 1, output.err
    assert lines[0].startswith(f"error[{code}]: ")
    assert "Traceback" not in output.err


def test_the_line_of_a_failed_program_names_the_authors_file_and_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = program("def bad(x):\n    return 1 / x\n\nasync def main(input):\n    return bad(0)\n")(tmp_path)
    with pytest.raises(SystemExit):
        main(words)
    error = capfd.readouterr().err
    assert "ZeroDivisionError" in error
    assert "main.py:2" in error


def test_debug_adds_the_programs_traceback(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = program("async def main(input):\n    return 1 / 0\n")(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["--debug", *words])
    error = capfd.readouterr().err
    assert left.value.code == 1
    assert "Traceback (most recent call last)" in error
    assert "    return 1 / 0" in error
