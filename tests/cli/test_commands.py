"""The commands besides `run`, and what all of them share."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

import pytest
from tests.cli.shell import Pie

from pie import __version__
from pie.cli.main import COMMANDS
from pie.cli.terminal import Progress

HEAVY = ("numpy", "torch", "transformers", "wasmtime", "tokenizers", "xgrammar", "jinja2", "rich")


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    script = "import sys\nfrom pie.cli import main\ntry:\n    main(sys.argv[1:])\nfinally:\n"
    script += f"    print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert done.stdout


def test_each_command_has_a_help_with_an_example(pie: Pie) -> None:
    for name in COMMANDS:
        left = pie(name, "--help")
        assert left.code == 0
        assert left.out.startswith(f"Usage: pie {name}")
    assert f"pie, version {__version__}" in pie("--version").out


@pytest.mark.parametrize(("typed", "meant"), [("rnu", "run"), ("biuld", "build"), ("models", "model"), ("nwe", "new")])
def test_a_typo_is_told_the_nearest_command(typed: str, meant: str, pie: Pie) -> None:
    left = pie(typed, "x")
    assert left.code == 1
    assert f"Did you mean `pie {meant}`?" in left.err


def test_a_word_far_from_all_commands_is_told_where_they_are_listed(pie: Pie) -> None:
    assert "`pie --help`" in pie("xylophone").err


def test_a_full_disk_ends_a_listing_with_one_line() -> None:
    with open("/dev/full", "wb") as full:
        words = [sys.executable, "-m", "pie", "model", "list"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error[io-error]: No space left on device.")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_without_colour_gets_plain_lines(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b" in shown_on_a_terminal(monkeypatch)
    monkeypatch.setenv(variable, value)
    assert "\x1b" not in shown_on_a_terminal(monkeypatch)


def shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> str:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as stderr, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stderr)
        patched.setattr("pie.cli.terminal.QUIET_S", 0)
        with Progress() as progress:
            progress("Something slow")
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal, suppress(OSError):  # which says that the other side is closed
        while part := terminal.read(65536):
            shown += part
    assert b"Something slow" in shown
    return shown.decode()
