"""`pie snapshot` and `pie adapter`: what is kept on this machine, listed, imported and removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.shell import Pie, write_program
from tests.engine.adapters import random_peft

from pie.cli.completing import snapshots
from pie.cli.snapshot import remove
from pie.config import embedded_model
from pie.engine.models.config_file import parse_config

SAVE = """
from inferlet import Context, Model

async def main(input):
    with Context(Model.default()) as context:
        context.user("Hello")
        await context.flush()
        for name in input["names"]:
            context.save(name)
"""


def save(pie: Pie, folder: Path, *names: str) -> None:
    left = pie("run", write_program(folder, SAVE), "--input", json.dumps({"names": names}))
    assert left.code == 0, left.err


def test_saved_contexts_are_listed_and_removed(pie: Pie, tmp_path: Path) -> None:
    assert json.loads(pie("snapshot", "list", "--json").out) == []
    assert pie("snapshot", "list").err == "There are no saved contexts.\n"
    save(pie, tmp_path, "notes", "evil\x1b[31m name")
    rows = json.loads(pie("snapshot", "list", "--json").out)
    assert [row["name"] for row in rows] == ["evil\x1b[31m name", "notes"]
    assert {row["user"] for row in rows} == {"local"}
    assert all(row["tokens"] > 0 and row["size_bytes"] > 0 and row["saved_at"].endswith("Z") for row in rows)
    assert "\x1b" not in pie("snapshot", "list").out
    assert pie("snapshot", "remove", "notes").out == "Removed notes.\n"
    assert [row["name"] for row in json.loads(pie("snapshot", "list", "--json").out)] == ["evil\x1b[31m name"]


def test_saved_contexts_are_completed(pie: Pie, tmp_path: Path) -> None:
    save(pie, tmp_path, "one", "other", "two")
    context, parameter = remove.make_context("pie", ["x"]), remove.params[0]
    assert [item.value for item in snapshots(context, parameter, "o")] == ["one", "other"]


def test_a_name_that_is_not_there_is_told_the_nearest(pie: Pie, tmp_path: Path) -> None:
    save(pie, tmp_path, "notes")
    left = pie("snapshot", "remove", "nots")
    assert left.code == 1
    assert left.err.startswith("error[snapshot-not-found]: user 'local' has no saved context 'nots'.")
    assert "Did you mean notes?" in left.err
    assert "snapshot-not-found" in pie("snapshot", "remove", "notes", "--user", "other").err
    assert "`pie adapter list`" in pie("adapter", "remove", "nots").err


def test_an_adapter_is_imported_used_listed_and_removed(pie: Pie, tmp_path: Path) -> None:
    config = parse_config(json.loads((embedded_model() / "config.json").read_text()))
    folder = random_peft(config, seed=1).write(tmp_path / "lora")
    assert pie("adapter", "import", str(folder), "--name", "tone").out == "Imported tone.\n"
    (row,) = json.loads(pie("adapter", "list", "--json").out)
    assert (row["name"], row["user"], row["model"]) == ("tone", "local", "embedded_model")
    program = write_program(
        tmp_path,
        "from inferlet import Adapter, Model\n"
        "async def main(input):\n    return Adapter.open(Model.default(), 'tone') is not None\n",
    )
    assert pie("run", program).out == "true\n"
    assert "tone" in pie("adapter", "list").out
    assert pie("adapter", "remove", "tone").out == "Removed tone.\n"
    assert json.loads(pie("adapter", "list", "--json").out) == []
    assert pie("run", program).out == "false\n"


def test_an_import_that_fails_leaves_no_name(pie: Pie, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "error[adapter-not-found]" in pie("adapter", "import", str(tmp_path / "empty"), "--name", "x").err
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "adapter_config.json").write_text("{}")
    (broken / "adapter_model.safetensors").write_bytes(b"rubbish")
    left = pie("adapter", "import", str(broken), "--name", "x")
    assert (left.code, "error[adapter-unusable]" in left.err) == (1, True)
    assert json.loads(pie("adapter", "list", "--json").out) == []


@pytest.mark.parametrize("command", ["snapshot", "adapter"])
def test_damaged_files_do_not_stop_a_listing(command: str, pie: Pie, tmp_path: Path) -> None:
    for name in ("snapshots/x/y.safetensors", "named-adapters/m/x/y.adapter"):
        (tmp_path / "home" / name).parent.mkdir(parents=True)
        (tmp_path / "home" / name).write_bytes(b"\xff\x00")
    assert json.loads(pie(command, "list", "--json").out) == []
