"""`pie check`: whether a program could run, without running it."""

from __future__ import annotations

import ast
import asyncio
import json
import os
from pathlib import Path

import click

from pie.cli.terminal import Progress
from pie.config import Settings
from pie.errors import ProgramError

__all__ = ["command"]


@click.command("check", short_help="See whether a program could run, without running it.")
@click.argument("path", type=click.Path(path_type=Path))
def command(*, path: Path) -> None:
    """Read the Pie.toml and the code at PATH, or compile and link a .wasm component, and run nothing.

    \b
    Examples:
      pie check my-program
      pie check program.wasm
    """
    if path.suffix == ".wasm":
        _check_component(path)
        click.echo(f"{path}: a component that can be linked and has a main.")
        return
    from pie.build.manifest import find_manifest

    manifest = find_manifest(path)
    num_modules = _check_source(path)
    named = f"{manifest.package.name} {manifest.package.version}" if manifest else "no Pie.toml"
    click.echo(f"{path}: {named}, {num_modules} {'module' if num_modules == 1 else 'modules'}, all can be read.")


def _check_source(path: Path) -> int:
    """Parse each module of a Python program, or bundle a JavaScript one; the number of modules."""
    from pie.build.modules import defines, entry_file, language_of
    from pie.build.program import collect_source

    settings = Settings.from_environment(os.environ)
    entry = entry_file(path)
    with Progress() as progress:
        program = json.loads(collect_source(path, tools_dir=settings.cache / "javascript", progress=progress))
    if language_of(entry) == "javascript":
        return 1
    files: dict[str, tuple[str, str]] = program["files"]
    for name, text in files.values():
        _parse(name, text)
    text = files[program["entry"]][1]
    if not (defines(text, "main") or defines(text, "handle")):
        raise ProgramError(
            "no-main",
            f"{entry} defines no main, and no handle for HTTP requests",
            remedy="Add `async def main(input)` at the top level of the file.",
        )
    return len(files)


def _parse(name: str, text: str) -> None:
    try:
        ast.parse(text, name)
    except SyntaxError as error:
        raise ProgramError("bad-source", f"{name}, line {error.lineno}: {error.msg}", remedy="Mend the line.") from None


def _check_component(path: Path) -> None:
    """Compile and link it, without a model."""
    from pie.host.imports import all_imports
    from pie.process.programs import Programs
    from pie.wasm.engine import WasmEngine

    settings = Settings.from_environment(os.environ)

    async def load() -> None:
        engine = WasmEngine(cache_dir=settings.cache / "components")
        try:
            with Progress() as progress:
                await Programs(engine, all_imports(), settings.cache).load(path, progress)
        finally:
            engine.close()

    asyncio.run(load())
