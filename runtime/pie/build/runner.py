"""The prebuilt runners: a component per language that runs any program of it, built once per version of its sources."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from pie.build.componentize import componentize
from pie.build.javascript import TARGET, componentize_javascript
from pie.build.javascript_tools import find_tools
from pie.build.lock import only_one
from pie.build.modules import LANGUAGE_NAMES, Language
from pie.build.sources import Sources, find_sources
from pie.build.world import write_world

__all__ = ["copy_python", "ensure_runner", "runner_key"]

SOURCE_INTERFACE = "pie:ext/source"
Progress = Callable[[str], None]


def ensure_runner(
    cache_dir: Path,
    language: Language = "python",
    *,
    tools_dir: Path | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Path:
    """Return the runner component, building it if the cache has none for these sources (about ten seconds).

    Any number of processes may call this at once: one builds, the others wait for it.

    Args:
        cache_dir: where components are kept; made if missing.
        language: of the programs that it runs.
        tools_dir: where npm packages may be installed; None if they must be there already.
        progress: told in a short sentence what takes long.
        stop: another thread sets it to have the work given up.

    Raises:
        ProgramError: `sdk-missing`, `build-failed`, `javascript-tools-missing`, `stopped`.
    """
    sources = find_sources()
    key = runner_key(sources, language)
    runner = cache_dir / f"{language}-runner-{key}.wasm"
    if runner.is_file():
        return runner
    cache_dir.mkdir(parents=True, exist_ok=True)
    with only_one(cache_dir / f"{language}-runner.lock", stop):
        if not runner.is_file():
            if progress is not None:
                progress(f"Building the {LANGUAGE_NAMES[language]} runner, once for this version")
            with tempfile.TemporaryDirectory(prefix="pie-runner-", dir=cache_dir) as scratch:
                wit = write_world(
                    Path(scratch) / "wit", sources, name="runner", language=language, imports=[SOURCE_INTERFACE]
                )
                built = Path(scratch) / "runner.wasm"
                if language == "python":
                    _build_python(wit, sources, key, built, stop)
                else:
                    tools = find_tools(sources, tools_dir, progress=progress, stop=stop)
                    componentize_javascript(wit, tools, sources, output=built, stop=stop)
                os.replace(built, runner)
    return runner


def runner_key(sources: Sources, language: Language = "python") -> str:
    """Digest of everything that the runner is made of, the tools included."""
    if language == "python":
        digest = hashlib.sha256(importlib.metadata.version("componentize-py").encode())
        roots = (sources.wit, sources.sdk, sources.runner)
    else:
        digest = hashlib.sha256(" ".join(TARGET).encode())
        digest.update((sources.javascript / "package-lock.json").read_bytes())
        roots = (sources.wit, sources.javascript / "src", sources.javascript / "runner")
    for root in roots:
        for path in sorted(path for path in root.rglob("*") if path.suffix in {".py", ".ts", ".wit"}):
            content = path.read_bytes()
            digest.update(f"\0{root.name}/{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()[:20]


def copy_python(source: Path, destination: Path) -> None:
    """Copy a Python package without compiled files."""
    shutil.copytree(source, destination, ignore=shutil.ignore_patterns("__pycache__"))


def _build_python(wit: Path, sources: Sources, key: str, output: Path, stop: threading.Event | None) -> None:
    python = wit.parent / "python"
    copy_python(sources.sdk, python / "inferlet")
    copy_python(sources.runner, python / "pie_runner")
    build = python / "pie_runner" / "build.py"
    build.write_text(build.read_text().replace('"unbuilt"', repr(key)))
    componentize(wit, module="pie_runner.app", python_path=[python], output=output, stop=stop)
