"""Every example is complete: its manifest declares what its program reads, and the overview lists it."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from pie.build.modules import defines

INFERLETS = Path(__file__).parents[2] / "inferlets"
NAMES = sorted(path.name for path in INFERLETS.iterdir() if path.is_dir())
DAEMONS = {name for name in NAMES if defines((INFERLETS / name / "python/main.py").read_text(), "handle")}


def parameters_read(source: str) -> set[str]:
    """The keys of `input` that a program asks for: `input["key"]`, `input.get("key")` and `"key" in input`."""
    keys = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case (
                ast.Subscript(value=ast.Name(id="input"), slice=ast.Constant(value=str(key)))
                | ast.Call(
                    func=ast.Attribute(value=ast.Name(id="input"), attr="get"), args=[ast.Constant(value=str(key)), *_]
                )
                | ast.Compare(left=ast.Constant(value=str(key)), comparators=[ast.Name(id="input")])
            ):
                keys.add(key)
    return keys


@pytest.mark.parametrize("name", sorted(set(NAMES) - DAEMONS))
def test_the_manifest_declares_exactly_what_the_program_reads(name: str) -> None:
    manifest = tomllib.loads((INFERLETS / name / "Pie.toml").read_text())
    read = parameters_read((INFERLETS / name / "python/main.py").read_text())
    assert set(manifest["parameters"]) == read
    assert read


@pytest.mark.parametrize("name", sorted(DAEMONS))
def test_an_example_that_answers_requests_has_no_input(name: str) -> None:
    assert "parameters" not in tomllib.loads((INFERLETS / name / "Pie.toml").read_text())
    assert not defines((INFERLETS / name / "python/main.py").read_text(), "main")


@pytest.mark.parametrize("name", NAMES)
def test_an_example_has_its_name_everywhere_and_needs_no_input(name: str) -> None:
    manifest = tomllib.loads((INFERLETS / name / "Pie.toml").read_text())
    assert manifest["package"]["name"] == name
    assert all(parameter["optional"] for parameter in manifest.get("parameters", {}).values())
    assert (INFERLETS / name / "README.md").read_text().startswith(f"# {name}\n")


def test_the_overview_lists_every_example() -> None:
    overview = (INFERLETS / "README.md").read_text()
    assert [name for name in NAMES if f"| [{name}]({name}) |" not in overview] == []
