"""What holds for every command: examples in the help, JSON for listings, nearest names for typos, a page in docs."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.cli.shell import Pie

from pie.cli.main import COMMANDS, SECTIONS, pie
from pie.cli.reference import pages, reference

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"
ROOT = click.Context(pie, info_name="pie")
EVERY = dict(pages(ROOT))
GROUPS = {path: context for path, context in {"pie": ROOT, **EVERY}.items() if isinstance(context.command, click.Group)}
LISTINGS = ("list", "ps", "keys", "show", "doctor", "version", "logs")


def options(path: str) -> list[str]:
    named = [option for option in EVERY[path].command.params if isinstance(option, click.Option)]
    return [name for option in named for name in option.opts if name.startswith("--")]


def test_every_command_is_in_one_section_and_says_there_what_it_says_itself() -> None:
    assert sum(map(len, SECTIONS.values())) == len(COMMANDS)
    for name, (_, text) in COMMANDS.items():
        assert EVERY[f"pie {name}"].command.short_help == text


@pytest.mark.parametrize("path", EVERY)
def test_every_help_has_examples_which_are_of_this_command(path: str) -> None:
    said, _, examples = (EVERY[path].command.help or "").partition("Example")
    assert said.strip()
    lines = examples.splitlines()[1:]
    assert any(path in line for line in lines)
    for line in filter(str.strip, lines):
        assert shlex.split(line), "a shell can read it"


@pytest.mark.parametrize("path", [path for path in EVERY if path.split()[-1] in LISTINGS])
def test_every_listing_has_json(path: str) -> None:
    assert "--json" in options(path)


@pytest.mark.parametrize("path", GROUPS)
def test_every_command_with_a_typo_is_told(path: str, pie: Pie) -> None:
    group = GROUPS[path]
    assert isinstance(group.command, click.Group)
    for name in group.command.list_commands(group):
        left = pie(*path.split()[1:], f"{name}x")
        assert (left.code, left.out) == (1, "")
        assert f"Did you mean `{path} {name}`?" in left.err
    assert f"`{path} --help`" in pie(*path.split()[1:], "xylophone").err


@pytest.mark.parametrize("path", EVERY)
def test_every_option_with_a_typo_is_told(path: str, pie: Pie) -> None:
    for option in options(path):
        left = pie(*path.split()[1:], f"{option}x")
        assert (left.code, left.out) == (1, "")
        assert left.err.startswith("error[usage]: No such option")
        assert option in left.err.replace(f"{option}x", "")


@pytest.mark.parametrize("path", GROUPS)
def test_a_group_alone_shows_its_help(path: str, pie: Pie) -> None:
    left = pie(*path.split()[1:])
    assert (left.code, left.err) == (0, "")
    assert left.out == pie(*path.split()[1:], "--help").out
    assert left.out.startswith(f"Usage: {path}")


def test_the_help_shows_every_section_in_order(pie: Pie) -> None:
    lines = pie("--help").out.splitlines()
    heads = [line.removesuffix(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert heads == ["Options", *SECTIONS]


def test_the_page_is_that_of_the_commands(pie: Pie) -> None:
    assert PAGE.read_text() == pie("reference").out, "print it anew: pie reference > docs/command-line.md"
    assert [path for path in EVERY if f"\n### {path}\n" not in reference(ROOT)] == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pie config set server.po", ["server.port"]),
        ("pie auth remove al", ["alice"]),
        ("pie snapshot remove ", []),
        ("pie adapter remove ", []),
        ("pie remove ", []),
        ("pie logs ", []),
    ],
)
def test_names_are_completed_without_a_word_on_stderr(line: str, words: list[str], pie: Pie) -> None:
    assert pie("auth", "add", "alice").code == 0
    asked = {"_PIE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    environment = {**os.environ, **asked, "PIE_SERVER_PORT": "1"}
    command = [sys.executable, "-m", "pie"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == ([f"plain,{word}" for word in words], "")


def test_damaged_files_complete_nothing_and_say_nothing(pie: Pie, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "programs").mkdir(parents=True)
    (home / "programs" / "index.sqlite3").write_bytes(b"no database" * 100)
    (home / "snapshots").mkdir()
    (home / "snapshots" / "index.sqlite3").write_bytes(b"no database" * 100)
    (home / "authorized_users.toml").write_text("not toml")
    (home / "config.toml").write_text("[")
    for line in ("pie remove ", "pie auth remove ", "pie logs ", "pie snapshot remove ", "pie adapter remove "):
        asked = {"_PIE_COMPLETE": "zsh_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        words = [sys.executable, "-m", "pie"]
        done = subprocess.run(words, env={**os.environ, **asked}, capture_output=True, text=True, check=True)
        assert (done.stdout.strip(), done.stderr) == ("", "")


def test_json_of_listings_without_anything_is_empty(pie: Pie) -> None:
    for words in (["list"], ["auth", "list"], ["snapshot", "list"], ["adapter", "list"]):
        assert json.loads(pie(*words, "--json").out) == []
