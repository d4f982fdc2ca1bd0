"""The folder whose programs other programs may launch."""

from __future__ import annotations

from pathlib import Path

import pytest

from pie.errors import ProgramError
from pie.process.folder import ProgramFolder


@pytest.mark.parametrize("main", ["main.py", "python/main.py", "main.ts", "main.js", "javascript/main.ts"])
def test_a_folder_with_a_main_in_either_language_is_found_by_its_name(tmp_path: Path, main: str) -> None:
    file = tmp_path / "judge" / main
    file.parent.mkdir(parents=True)
    file.write_text("")
    assert ProgramFolder(tmp_path).find("judge") == tmp_path / "judge"


@pytest.mark.parametrize("file", ["judge.py", "judge.ts", "judge.js", "judge.wasm"])
def test_a_file_in_either_language_is_found_by_its_name(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text("")
    assert ProgramFolder(tmp_path).find("judge") == tmp_path / file


@pytest.mark.parametrize("name", ["judge", "judge.py", "../judge", "a/judge", "judge@0.1.0"])
def test_what_is_not_there_or_is_no_name_is_not_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "judge").mkdir()
    with pytest.raises(ProgramError) as refused:
        ProgramFolder(tmp_path).find(name)
    assert refused.value.code == "program-not-found"
