"""`pie install`: a program becomes one that can be run by its name."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pie.cli.completing import path_or_installed
from pie.cli.terminal import Progress
from pie.config import Settings
from pie.errors import ProgramError

if TYPE_CHECKING:
    from pie.process.release import Release

__all__ = ["command"]


@click.command("install", short_help="Install a program, to run it by its name.")
@click.argument("what", metavar="PATH|NAME[@VERSION]", shell_complete=path_or_installed)
@click.option("--registry", metavar="DIR|URL", help="Take the program NAME from this registry.")
@click.option(
    "--manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The Pie.toml of PATH, if it does not lie beside it.",
)
@click.option("--replace", is_flag=True, help="Take the place of another program of the same name and version.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(*, what: str, registry: str | None, manifest: Path | None, replace: bool, as_json: bool) -> None:
    """Install the program at PATH, a folder, a source file or a .wasm component, or NAME from a registry.

    Components are compiled on the way; programs of source text start through the prebuilt runner. The name and version
    are those of Pie.toml. Nothing is fetched from anywhere but the registry that you name.

    \b
    Examples:
      pie install inferlets/text-completion && pie run text-completion
      pie install hello.wasm --manifest hello/Pie.toml
      pie install chat@0.1.0 --registry https://example.org/programs
    """
    from pie.process.blobs import digest_of
    from pie.process.store import ProgramStore

    settings = Settings.from_environment(os.environ)
    with Progress() as progress:
        if registry is None:
            release = _read(what, manifest, settings, progress)
        else:
            release = asyncio.run(_fetch(what, registry, progress))
        if release.is_component:
            asyncio.run(_compile(release, settings, progress))
    installed = ProgramStore(settings.home / "programs").install(
        release.content, release.manifest_text, replace=replace
    )
    digests = (digest_of(release.content), digest_of(release.manifest_text.encode()))
    if (installed.digest, installed.manifest_digest) != digests:
        raise ProgramError(
            "already-installed",
            f"another program is installed as {installed.identifier}",
            remedy="Raise the version in Pie.toml, or put it in its place with --replace.",
        )
    if as_json:
        click.echo(json.dumps(installed.describe(), indent=2))
    else:
        name = installed.name
        how = f"serve --route /{name}={name}" if release.is_daemon else f"run {name}"
        click.echo(f"Installed {installed.identifier}. Try: pie {how}")


def _read(what: str, manifest: Path | None, settings: Settings, progress: Progress) -> Release:
    from pie.process.release import read_release

    path = Path(what)
    if not path.exists():
        raise ProgramError(
            "program-not-found",
            f"there is no {what}",
            remedy="Give the path of a program, or its name and the --registry that has it.",
        )
    return read_release(path, manifest=manifest, tools_dir=settings.cache / "javascript", progress=progress)


async def _fetch(what: str, registry: str, progress: Progress) -> Release:
    from pie.process.identifier import parse_identifier
    from pie.process.registry import fetch_release
    from pie.process.registry_files import open_registry

    wanted = parse_identifier(what)
    progress(f"Fetching {wanted}")
    return await fetch_release(open_registry(registry), wanted)


async def _compile(release: Release, settings: Settings, progress: Progress) -> None:
    """See that the component is one, in a process of its own; its compiled code is kept for later."""
    from pie.wasm.engine import WasmEngine

    with WasmEngine(cache_dir=settings.cache / "components") as engine:
        await engine.compile(release.content, starting=lambda: progress(f"Compiling {release.name}"))
