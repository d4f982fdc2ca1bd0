"""Manifests: what they may say, and inputs checked against them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pie.build.manifest import (
    Manifest,
    Package,
    Parameter,
    check_input,
    find_manifest,
    parse_manifest,
    read_manifest,
)
from pie.errors import ProgramError, UsageError

WHOLE = """
[package]
name = "my-agent"
version = "1.2.3"
description = "Does things"
authors = ["A <a@example.org>"]

[parameters.prompt]
type = "string"
description = "What to say"

[parameters.max_tokens]
type = "int"
optional = true
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "Pie.toml"
    file.write_text(text)
    return file


def test_a_manifest_is_read_whole(tmp_path: Path) -> None:
    assert read_manifest(write(tmp_path, WHOLE)) == Manifest(
        Package("my-agent", "1.2.3", "Does things", ["A <a@example.org>"]),
        {
            "prompt": Parameter("string", optional=False, description="What to say"),
            "max_tokens": Parameter("int", optional=True),
        },
    )


@pytest.mark.parametrize(
    ("text", "cause", "remedy"),
    [
        ("[package]\nname = 'a'\nverison = '1'", "[package] has no key verison", "Did you mean version?"),
        ("[package]\nname = 'a'\n[paramters.x]", "the file has no key paramters", "Did you mean parameters?"),
        ("[package]\nname = 'a'\nzzz = 1", "has no key zzz", "It may have name, version"),
        ("[package]\nname = 'a'\n[parameters.x]\ntyp = 'int'", "[parameters.x] has no key typ", "Did you mean type?"),
        ("[package]\nname = 'a'\n[parameters.x]\ntype = 'integer'", "in [parameters.x.type]", "Mend the entry."),
        ("[package]\nversion = '1'", "missing required field `name` in [package]", "Mend the entry."),
        (
            "[package]\nname = 'a'\n[daemon]\ninstance = 'one'",
            "[daemon] has no key instance",
            "Did you mean instances?",
        ),
        ("[package]\nname = 'a'\n[daemon]\ninstances = 2", "Expected `str`, got `int` in [daemon.instances]", "Mend"),
        ("[package]\nname = 'a'\n[daemon]\ninstances = 'two'", "'two' in [daemon.instances]", "Mend the entry."),
        ("[package]\nname = 5", "Expected `str`, got `int` in [package.name]", "Mend the entry."),
        (
            "[package]\nname = 'a'\n[dependecies]",
            "the file has no key dependecies",
            "Did you mean dependencies?",
        ),
        (
            "[package]\nname = 'a'\n[dependencies]\nb = 1",
            "got `int` in [dependencies",
            "Mend the entry.",
        ),
        ("[package\n", "is not TOML", "Mend the line."),
        ("a = " + "[" * 10_000, "is not TOML", "Mend the line."),
    ],
)
def test_a_wrong_manifest_is_refused_with_what_to_mend(tmp_path: Path, text: str, cause: str, remedy: str) -> None:
    with pytest.raises(ProgramError) as caught:
        read_manifest(write(tmp_path, text))
    assert caught.value.code == "bad-manifest"
    assert cause in caught.value.cause
    assert remedy in caught.value.remedy


UPSTREAM = """
[package]
name = "text-completion"
version = "0.1.0"
description = "Complete a text"
authors = ["A <a@example.org>"]
repository = "https://example.org/a"
readme = "README.md"

[runtime]
core = "^0.2.0"
mcp = "^0.2.0"

[parameters]
prompt = { type = "string", optional = false, description = "What to complete" }
temperature = { type = "float", optional = true }

[dependencies]
sampling = "0.1.0"
"""


def test_a_manifest_of_pie_0_4_is_read_whole(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, UPSTREAM))
    assert manifest.runtime == {"core": "^0.2.0", "mcp": "^0.2.0"}
    assert manifest.dependencies == {"sampling": "0.1.0"}
    assert manifest.parameters["temperature"] == Parameter("float", optional=True)
    assert parse_manifest(UPSTREAM, "here") == manifest


def test_a_manifest_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Pie.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(ProgramError) as caught:
        read_manifest(tmp_path / "Pie.toml")
    assert caught.value.code == "bad-manifest"


def test_a_manifest_is_found_beside_the_code_or_above_its_language_folder(tmp_path: Path) -> None:
    write(tmp_path, WHOLE)
    (tmp_path / "python").mkdir()
    (tmp_path / "other").mkdir()
    for path in (tmp_path, tmp_path / "main.py", tmp_path / "python", tmp_path / "python" / "main.py"):
        found = find_manifest(path)
        assert found is not None
        assert found.package.name == "my-agent"
    assert find_manifest(tmp_path / "other") is None


MANIFEST = Manifest(
    Package("p"),
    {
        "text": Parameter("string"),
        "n": Parameter("int", optional=True),
        "x": Parameter("float", optional=True),
        "flag": Parameter("bool", optional=True),
        "many": Parameter("list", optional=True),
        "one": Parameter("object", optional=True),
    },
)


@pytest.mark.parametrize(
    "value",
    [
        {"text": "a"},
        {"text": "a", "n": 1, "x": 1, "flag": True, "many": [], "one": {}},
        {"text": "", "x": 0.5, "n": None},
    ],
)
def test_an_input_that_fits_passes(value: Any) -> None:
    check_input(MANIFEST, value)


@pytest.mark.parametrize(
    ("value", "cause", "remedy"),
    [
        (None, "the input lacks text", "text (string), n (int, optional)"),
        ({"texd": "a"}, "there is no parameter texd", "Did you mean text?"),
        ({"text": 5}, "text is int, not string", "text (string)"),
        ({"text": "a", "n": 1.5}, "n is float, not int", ""),
        ({"text": "a", "n": True}, "n is bool, not int", ""),
        ({"text": "a", "flag": 1}, "flag is int, not bool", ""),
        ({"text": None}, "text is null, not string", ""),
        ([1], "the input is no object but list", ""),
        ({"text": "a", "_positional": ["b", 5]}, "'b 5' stands without a --name in front of it", ""),
        ({"text": "a", "_positional": 5}, "5 stands without a --name in front of it", ""),
    ],
)
def test_an_input_that_does_not_fit_is_refused_by_name(value: Any, cause: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_input(MANIFEST, value)
    assert caught.value.code == "bad-input"
    assert caught.value.cause == cause
    assert remedy in caught.value.remedy


def test_a_manifest_without_parameters_takes_any_input() -> None:
    check_input(Manifest(Package("p")), [1, 2])
