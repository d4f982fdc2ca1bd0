"""`pie model download`: fetch a model from the Hugging Face hub."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pie.cli.interrupt import Interrupt
from pie.cli.listing import size
from pie.cli.terminal import Progress
from pie.config import Hub
from pie.errors import UsageError

__all__ = ["download"]


class Stopped(Exception):
    """Ctrl-C was pressed: raised in the threads that fetch, which then remove what they have begun."""


@click.command("download", short_help="Fetch a model from the Hugging Face hub.")
@click.argument("name", metavar="ORG/NAME[@REVISION]")
@click.option("--revision", help="A branch, a tag or a commit (main).")
def download(*, name: str, revision: str | None) -> int:
    """Fetch a model from the Hugging Face hub into the cache of its tools, and say how to use it.

    Configuration, tokenizer, chat template and safetensors weights are fetched, and nothing else; a model that Pie
    cannot run is refused before its weights are. It can be used when all of it is there. Files that have arrived are
    kept if the command is interrupted: give it again for the rest. HF_HOME, HF_ENDPOINT and HF_TOKEN hold as for other
    tools.

    \b
    Examples:
      pie model download Qwen/Qwen3-0.6B
      pie model download Qwen/Qwen3-0.6B --revision main
    """
    from huggingface_hub.utils.logging import set_verbosity_error

    from pie.hub.download import Watcher, download_model
    from pie.hub.names import parse_id
    from pie.inspection import check_configuration

    wanted = parse_id(f"{name}@{revision}" if revision else name)
    if wanted is None:
        raise UsageError(
            "bad-model-name", f"{name!r} is no name of a model", remedy="Write ORG/NAME, such as Qwen/Qwen3-0.6B."
        )
    set_verbosity_error()  # type: ignore[no-untyped-call] # its warnings would stand in the progress; what fails is told by ours
    with Progress() as progress, Interrupt(lambda: None) as interrupt:

        def told(arrived: int, total: int) -> None:
            if interrupt.code is not None:
                raise Stopped
            progress.update(f"Downloading {wanted}, {size(arrived)} of {size(total)}")

        def check(path: Path) -> None:
            if interrupt.code is not None:
                raise Stopped
            check_configuration(path)

        progress(f"Downloading {wanted}")
        try:
            path = download_model(wanted, Hub.from_environment(os.environ), Watcher(check, told))
        except Stopped:
            return interrupt.code or 1
    click.echo(f"Downloaded {wanted} to {path}. Try: pie run --model {wanted} PROGRAM")
    return 0
