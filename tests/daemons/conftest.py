"""A program that answers requests, built once per version of the SDK."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from pie.build.program import build_program
from pie.build.runner import runner_key
from pie.build.sources import find_sources

PROGRAM = Path(__file__).parent / "python" / "main.py"


@pytest.fixture(scope="session")
def answering_wasm(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = hashlib.sha256(PROGRAM.read_bytes() + runner_key(find_sources()).encode()).hexdigest()[:20]
    built = cache_dir / "tests" / f"answering-{key}.wasm"
    if not built.exists():
        built.parent.mkdir(exist_ok=True)
        folder = tmp_path_factory.mktemp("answering")
        shutil.copy(PROGRAM, folder / "main.py")
        build_program(folder, built, work_dir=cache_dir / "build")
    return built
