"""`pie install`, `list`, `remove` and `publish`, and running programs by their names."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from tests.cli.shell import Pie, Shell, wait_for
from tests.wasm import hostile
from wasmtime import wat2wasm

from pie.cli.completing import installed, path_or_installed
from pie.cli.main import pie as command

MANIFEST = '[package]\nname = "{name}"\nversion = "{version}"\ndescription = "Says a word"\n'
PARAMETER = "[parameters.word]\ntype = 'string'\n"


def write(folder: Path, name: str = "say", version: str = "0.1.0", program: str = "word") -> str:
    """A program that returns a word, and its path."""
    path = folder / "sources" / name
    path.mkdir(parents=True, exist_ok=True)
    (path / "Pie.toml").write_text(MANIFEST.format(name=name, version=version) + PARAMETER)
    (path / "main.py").write_text(f"def main(word): return {program}\n")
    return str(path)


def component(folder: Path, content: bytes | None = None) -> str:
    """A component and its manifest, and its path."""
    (folder / "Pie.toml").write_text(MANIFEST.format(name="built", version="1.0.0"))
    path = folder / "built.wasm"
    path.write_bytes(bytes(wat2wasm("(component)")) if content is None else content)
    return str(path)


def stored(home: Path) -> list[str]:
    folder = home / "programs" / "blobs"
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_a_program_is_installed_listed_run_by_its_name_and_removed(pie: Pie, tmp_path: Path) -> None:
    assert pie("list").err == "No programs are installed. Try: pie install PATH\n"
    assert json.loads(pie("list", "--json").out) == []
    assert not (tmp_path / "home").exists(), "looking makes nothing"
    path = write(tmp_path)
    assert pie("install", path).out == "Installed say@0.1.0. Try: pie run say\n"
    Path(path, "main.py").unlink()
    [row] = json.loads(pie("list", "--json").out)
    assert (row["name"], row["version"], row["kind"], row["description"]) == ("say", "0.1.0", "source", "Says a word")
    assert "Says a word" in pie("list").out
    assert pie("run", "say", "--", "--word", "hey").out == "hey\n"
    assert pie("run", "say@0.1.0", "--", "--word", "hey").out == "hey\n"
    assert pie("remove", "say").out == "Removed say@0.1.0.\n"
    assert stored(tmp_path / "home") == []
    assert pie("run", "say").code == 1


def test_what_an_installed_program_is_given_is_checked_before_anything_is_loaded(pie: Pie, tmp_path: Path) -> None:
    pie("install", write(tmp_path))
    for words, cause in [
        (["--wrod", "x"], "there is no parameter wrod. Did you mean word?"),
        ([], "the input lacks word."),
        (["--word", "5"], "word is int, not string."),
    ]:
        left = pie("run", "say", "--", *words)
        assert left.code == 1
        assert left.err.startswith(f"error[bad-input]: {cause}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "sya"], "there is no sya here, and no program called 'sya' is installed. Did you mean say?"),
        (["run", "say@9.9.9"], "say is there with 0.1.0, not 9.9.9. Use one of these"),
        (["remove", "sya"], "no program called 'sya' is installed. Did you mean say?"),
        (["remove", "sya", "--all"], "no program called 'sya' is installed. Did you mean say?"),
        (["install", "say"], "there is no say. Give the path of a program, or its name and the --registry"),
    ],
    ids=" ".join,
)
def test_a_wrong_name_is_told_the_nearest(words: list[str], said: str, pie: Pie, tmp_path: Path) -> None:
    pie("install", write(tmp_path))
    left = pie(*words)
    assert left.code == 1
    assert left.err.startswith("error[program-not-found]: ")
    assert said in left.err


def test_what_lies_here_is_run_before_an_installed_program_of_that_name(pie: Pie, tmp_path: Path) -> None:
    pie("install", write(tmp_path))
    (tmp_path / "say").mkdir()
    (tmp_path / "say" / "main.py").write_text("def main(): return 'here'\n")
    assert pie("run", "say").out == "here\n"


def test_another_program_of_that_version_is_installed_only_with_replace(pie: Pie, tmp_path: Path) -> None:
    pie("install", write(tmp_path))
    assert pie("install", write(tmp_path)).code == 0, "the same one is no other"
    other = write(tmp_path, program="word * 2")
    left = pie("install", other)
    assert left.err.startswith("error[already-installed]: another program is installed as say@0.1.0.")
    assert pie("run", "say", "--", "--word", "hey").out == "hey\n"
    assert json.loads(pie("install", other, "--replace", "--json").out)["version"] == "0.1.0"
    assert pie("run", "say", "--", "--word", "hey").out == "heyhey\n"
    assert len(stored(tmp_path / "home")) == 1


def test_of_several_versions_it_is_said_which_to_remove(pie: Pie, tmp_path: Path) -> None:
    for version in ("0.9.0", "0.10.0", "0.11.0"):
        pie("install", write(tmp_path, version=version, program=f"word + '{version}'"))
    assert pie("run", "say", "--", "--word", "v").out == "v0.11.0\n"
    left = pie("remove", "say")
    assert left.err.startswith("error[several-versions]: say is there with 0.9.0, 0.10.0, 0.11.0.")
    assert json.loads(pie("remove", "say@0.11.0", "--json").out) == ["say@0.11.0"]
    assert pie("remove", "say", "--all").out == "Removed say@0.9.0, say@0.10.0.\n"
    assert stored(tmp_path / "home") == []


def test_a_component_is_compiled_before_it_is_installed(pie: Pie, tmp_path: Path) -> None:
    assert pie("install", component(tmp_path)).out == "Installed built@1.0.0. Try: pie run built\n"
    assert [row["kind"] for row in json.loads(pie("list", "--json").out)] == ["component"]
    left = pie("run", "built")
    assert left.err.startswith("error[missing-export]: built exports neither")


def test_of_a_daemon_it_is_told_how_to_serve_it(pie: Pie, tmp_path: Path) -> None:
    daemon = wat2wasm('(component (instance $handler) (export "wasi:http/incoming-handler@0.2.4" (instance $handler)))')
    said = "Installed built@1.0.0. Try: pie serve --route /built=built\n"
    assert pie("install", component(tmp_path, bytes(daemon))).out == said


@pytest.mark.parametrize(
    "content",
    [hostile.many_functions(3)[:-1], b"\0asm", b"", b"#!/bin/sh\n"],
    ids=["cut off", "only its beginning", "nothing", "a script"],
)
def test_what_is_no_component_is_not_installed(content: bytes, pie: Pie, tmp_path: Path) -> None:
    left = pie("install", component(tmp_path, content))
    assert left.err.startswith("error[not-a-component]: ")
    assert stored(tmp_path / "home") == []


def test_a_program_without_manifest_needs_one(pie: Pie, tmp_path: Path) -> None:
    path = component(tmp_path)
    (tmp_path / "Pie.toml").rename(tmp_path / "Other.toml")
    left = pie("install", path)
    assert left.err.startswith("error[no-manifest]: ")
    assert "--manifest" in left.err
    assert pie("install", path, "--manifest", "Other.toml").code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[package]\nname = 'a'\nverison = '1.0.0'\n", "[package] has no key verison. Did you mean version?"),
        ("[package]\nname = 'a b'\n", "a program cannot be installed as 'a b@0.1.0'"),
        ("[package]\nname = 'a'\nversion = '1.0'\n", "a program cannot be installed as 'a@1.0'"),
    ],
)
def test_a_wrong_manifest_is_told(text: str, said: str, pie: Pie, tmp_path: Path) -> None:
    path = write(tmp_path)
    Path(path, "Pie.toml").write_text(text)
    left = pie("install", path)
    assert left.err.startswith("error[bad-manifest]: ")
    assert said in left.err


def test_a_program_goes_through_a_registry(pie: Pie, tmp_path: Path) -> None:
    path = write(tmp_path)
    assert pie("publish", path, "--to", "registry").out == "Published say@0.1.0 to registry.\n"
    assert pie("publish", path, "--to", "registry").out == "say@0.1.0 was in registry already.\n"
    assert json.loads(pie("publish", path, "--to", "registry", "--json").out)["new"] is False
    left = pie("publish", write(tmp_path, program="0"), "--to", "registry")
    assert left.err.startswith("error[already-published]: say@0.1.0 is in registry, and is another program.")
    assert pie("install", "say", "--registry", "registry").code == 0
    assert pie("run", "say", "--", "--word", "hey").out == "hey\n"
    assert "Did you mean say?" in pie("install", "sya", "--registry", "registry").err
    assert pie("install", "say", "--registry", "nowhere").err.startswith("error[registry-unusable]: ")
    assert pie("install", "../say", "--registry", "registry").err.startswith("error[bad-identifier]: ")


def test_ctrl_c_ends_an_installation_with_its_compiler(shell: Shell, tmp_path: Path) -> None:
    path = component(tmp_path, hostile.many_functions(150_000))
    with shell.start("install", path) as process:
        wait_for(lambda: children(process.pid) > 0)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate()
    assert process.returncode == 130, complaint
    shell.everything_is_gone(process)
    assert stored(tmp_path / "home") == []


def children(pid: int) -> int:
    return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_the_doctor_looks_at_installed_programs(pie: Pie, tmp_path: Path) -> None:
    def finding() -> dict[str, str]:
        findings: list[dict[str, str]] = json.loads(pie("doctor", "--json").out)
        return {row["name"]: row for row in findings}["installed programs"]

    assert (finding()["state"], finding()["found"]) == ("ok", "0")
    pie("install", write(tmp_path))
    assert finding()["found"] == "1"
    [blob] = (tmp_path / "home" / "programs" / "blobs").iterdir()
    blob.write_bytes(b"{}")
    assert (finding()["state"], finding()["found"]) == ("note", "1 of 1 are damaged, such as say@0.1.0")
    (tmp_path / "home" / "programs" / "index.sqlite3").write_bytes(b"no database" * 100)
    assert finding()["state"] == "missing"


def test_the_shell_completes_installed_programs(pie: Pie, tmp_path: Path) -> None:
    for name in ("say", "sing", "talk"):
        pie("install", write(tmp_path, name))
    context, parameter = command.make_context("pie", ["version"]), command.params[0]
    assert [item.value for item in installed(context, parameter, "s")] == ["say", "sing"]
    assert [item.value for item in installed(context, parameter, "say@")] == ["say@0.1.0"]
    assert [(item.value, item.type) for item in path_or_installed(context, parameter, "t")] == [
        ("talk", "plain"),
        ("t", "file"),
    ]
