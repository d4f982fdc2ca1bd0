"""A program from its files: as text for the runner, or built into a component of its own."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from pie.build.componentize import componentize
from pie.build.javascript import bundle_program, componentize_javascript, exported_names
from pie.build.javascript_tools import find_tools
from pie.build.manifest import find_manifest
from pie.build.modules import Module, collect_modules, defines, entry_file, language_of
from pie.build.runner import copy_python
from pie.build.sources import Sources, find_sources
from pie.build.world import HANDLER_INTERFACE, check_name, write_world
from pie.errors import ProgramError

__all__ = ["build_program", "collect_source"]

Progress = Callable[[str], None]


def collect_source(
    path: Path,
    *,
    tools_dir: Path | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> str:
    """The program at `path` as JSON for the runner of its language.

    Of Python it is `{"entry": module, "files": {module: [file name, text]}}`; of JavaScript see `bundle_program`.

    Args:
        path: a source file, whose imports beside it are included, or a folder with a main.py (included whole) or a
            main.ts.
        tools_dir: where npm packages may be installed; None if they must be there already.
        progress: told in a short sentence what takes long.
        stop: another thread sets it to have the work given up.

    Raises:
        ProgramError: `program-not-found`, `no-main`, `bad-text`, `bad-source`, `program-too-large`,
            `javascript-tools-missing` or `stopped`.
    """
    entry = entry_file(path)
    if language_of(entry) == "javascript":
        return bundle_program(entry, find_tools(find_sources(), tools_dir, progress=progress, stop=stop))
    return _as_json(collect_modules(path))


def build_program(
    path: Path, output: Path, *, work_dir: Path, tools_dir: Path | None = None, progress: Progress | None = None
) -> None:
    """Build the program at `path` into a component that exports `pie:<name>/run`.

    Its top-level code runs now, once; each launch starts after it. The name is that of the manifest, or else of the
    folder or file.

    Args:
        path: as for `collect_source`.
        output: the file to write; complete, or not touched.
        work_dir: where temporary files may be; made if missing.
        tools_dir: as for `collect_source`.
        progress: told in a short sentence what takes long.

    Raises:
        ProgramError: as `collect_source`, and `bad-name`, `bad-manifest`, `build-failed`, `cannot-write`.
    """
    manifest = find_manifest(path)
    entry = entry_file(path)
    own_name = entry.stem if path.is_file() and entry.stem != "main" else entry.resolve().parent.name
    name = check_name(manifest.package.name if manifest else own_name.lower().replace("_", "-"))
    language = language_of(entry)
    program = collect_source(path, tools_dir=tools_dir, progress=progress)
    if progress is not None:
        progress(f"Building {name}")
    work_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pie-program-", dir=work_dir) as scratch:
        sources = find_sources()
        exports = [HANDLER_INTERFACE] if _answers_requests(entry, program, tools_dir) else []
        wit = write_world(Path(scratch) / "wit", sources, name=name, language=language, exports=exports)
        built = Path(scratch) / "program.wasm"
        if language == "javascript":
            tools = find_tools(sources, tools_dir)
            componentize_javascript(wit, tools, sources, program=program, output=built)
        else:
            _build_python(wit, sources, program, built)
        _place(built, output)


def _answers_requests(entry: Path, program: str, tools_dir: Path | None) -> bool:
    """Whether a program has a function `handle`."""
    if language_of(entry) == "javascript":
        return "handle" in exported_names(entry, find_tools(find_sources(), tools_dir))
    collected = json.loads(program)
    try:
        return defines(collected["files"][collected["entry"]][1], "handle")
    except SyntaxError:
        return False  # the build tells, with file and line


def _as_json(modules: list[Module]) -> str:
    files = {module.name: [module.file, module.text] for module in modules}
    return json.dumps({"entry": modules[0].name, "files": files})


def _build_python(wit: Path, sources: Sources, program: str, output: Path) -> None:
    python = wit.parent / "python"
    copy_python(sources.sdk, python / "inferlet")
    copy_python(sources.runner, python / "pie_runner")
    constants = python / "pie_runner" / "build.py"
    constants.write_text(constants.read_text().replace('PROGRAM = "{}"', f"PROGRAM = {program!r}"))
    componentize(wit, module="pie_runner.built", python_path=[python], output=output)


def _place(built: Path, output: Path) -> None:
    """Move a finished file to where it belongs, in one step."""
    try:
        descriptor, beside = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}-")
        with os.fdopen(descriptor, "wb") as copy:
            copy.write(built.read_bytes())
        os.chmod(beside, 0o644)
        os.replace(beside, output)
    except OSError as error:
        raise ProgramError("cannot-write", f"{output}: {error.strerror}", remedy="Choose another --output.") from error
