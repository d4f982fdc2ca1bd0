"""`pie run`: which programs the launched one may launch."""

from __future__ import annotations

from pathlib import Path

import pytest

from pie.build.packed import pack_program
from pie.cli.main import main
from pie.process.store import ProgramStore

PARENT = """
from inferlet import runtime

async def main(name):
    return await runtime.launch(name).wait()
"""


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    monkeypatch.setenv("PIE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIE_CACHE", str(cache_dir))
    monkeypatch.chdir(tmp_path)
    for folder in ("own", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"in-{folder}.py").write_text(f"def main(): return 'from {folder}'\n")
    (tmp_path / "own" / "parent.py").write_text(PARENT)


@pytest.mark.parametrize(
    ("options", "name", "shown"),
    [
        ([], "in-own", "from own"),
        ([], "in-other", "error[program-not-found]"),
        (["--programs", "other"], "in-other", "from other"),
        (["--programs", "other"], "in-own", "error[program-not-found]"),
        (["--programs", "nowhere"], "in-own", "error[usage]"),
    ],
)
def test_a_program_launches_what_is_beside_it_or_in_the_folder_that_was_named(
    options: list[str], name: str, shown: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["run", "own/parent.py", *options, "--", "--name", name])
    output = capfd.readouterr()
    assert shown in output.out + output.err
    assert left.value.code == (1 if "error" in shown else 0)


TOML = '[package]\nname = "kept"\nversion = "{version}"\n[parameters.x]\ntype = "int"\noptional = true\n'


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Two versions of a program are installed, and their folder is gone; the path of the store."""
    store = ProgramStore(tmp_path / "home" / "programs")
    for version in ("0.1.0", "0.2.0"):
        (tmp_path / "kept.py").write_text(f"def main(x): return 'kept {version}'\n")
        store.install(pack_program(tmp_path / "kept.py"), TOML.format(version=version), replace=False)
    (tmp_path / "kept.py").unlink()
    return tmp_path / "home" / "programs"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("kept", "kept 0.2.0"),
        ("kept@0.1.0", "kept 0.1.0"),
        ("kept@0.3.0", "error[program-not-found]"),
        ("../kept", "error[program-not-found]"),
        ("in-own", "from own"),
    ],
)
def test_a_program_launches_installed_ones(
    name: str, shown: str, installed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["run", "own/parent.py", "--", "--name", name])
    output = capfd.readouterr()
    assert shown in output.out + output.err
    assert str(installed) not in output.out + output.err


def test_what_is_beside_the_launched_program_comes_before_what_is_installed(
    installed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own" / "kept.py").write_text("def main(): return 'from own'\n")
    with pytest.raises(SystemExit):
        main(["run", "own/parent.py", "--", "--name", "kept"])
    assert capfd.readouterr().out == "from own\n"
    for damaged in (installed / "blobs").iterdir():
        damaged.write_bytes(b"{}")
    (tmp_path / "own" / "kept.py").unlink()
    with pytest.raises(SystemExit):
        main(["run", "own/parent.py", "--", "--name", "kept"])
    assert "error[program-damaged]" in capfd.readouterr().err
