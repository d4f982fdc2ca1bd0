"""`pie model`: what models are on this machine, and what is known of them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pie.cli.completing import downloaded, models
from pie.cli.grouping import Group
from pie.cli.listing import size, table
from pie.cli.model_download import download
from pie.config import Hub, embedded_model
from pie.errors import ModelError

if TYPE_CHECKING:
    from pie.configuration.configuration import Configuration

__all__ = ["command", "inspect"]


@click.group("model", cls=Group, short_help="List, download, inspect and remove models.")
def command() -> None:
    """List, download, inspect and remove models.

    \b
    Examples:
      pie model list
      pie model download Qwen/Qwen3-0.6B && pie serve --model Qwen/Qwen3-0.6B
    """


command.add_command(download)


@dataclass(frozen=True, slots=True)
class Listed:
    """A model in the listing; `why_not` says why it cannot be run, and is empty if it can."""

    name: str
    source: str
    architecture: str
    family: str
    size_bytes: int
    path: str
    why_not: str


@command.command("list", short_help="List models.")
@click.option("--all", "everything", is_flag=True, help="Also those in the cache that cannot be run, and why.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_models(*, everything: bool, as_json: bool) -> None:
    """List the embedded model, those of the configuration, and those in the Hugging Face cache that Pie can run.

    \b
    Examples:
      pie model list
      pie model list --all --json
    """
    rows = [row for row in _all_models() if everything or row.source != "cache" or not row.why_not]
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    head = ("NAME", "FROM", "FAMILY", "SIZE", "WHY IT CANNOT BE RUN")
    columns = len(head) if any(row.why_not for row in rows) else len(head) - 1
    cells = [(row.name, row.source, row.family, size(row.size_bytes), row.why_not)[:columns] for row in rows]
    table(head[:columns], cells, empty="")


@command.command("inspect", short_help="Tell what is known of a model, without loading it.")
@click.argument("name", metavar="NAME|DIR", shell_complete=models)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def inspect(*, name: str, as_json: bool) -> None:
    """Tell a model's sizes, its formats of chats, reasoning and tools, and whether Pie can run it.

    Weights are not loaded. NAME is one of `pie model list`, or of a table [models.NAME] of the configuration.

    \b
    Examples:
      pie model inspect embedded
      pie model inspect ~/models/Qwen3-0.6B --json
    """
    from pie.configuration.configuration import load_configuration
    from pie.hub.names import find_model
    from pie.inspection import inspect_model

    configured = {model.name: str(model.path) for model in load_configuration(os.environ).models}
    found = inspect_model(find_model(configured.get(name, name), Hub.from_environment(os.environ)))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for label, value in _lines(found):
        click.echo(f"{label:<20}{value}")


@command.command("remove", short_help="Remove a downloaded model.")
@click.argument("name", metavar="ORG/NAME[@REVISION]", shell_complete=downloaded)
def remove(*, name: str) -> None:
    """Remove a model from the Hugging Face cache, all revisions of it unless one is named.

    \b
    Example:
      pie model remove Qwen/Qwen3-0.6B
    """
    from pie.hub.cache import remove_model

    removed = remove_model(name, Hub.from_environment(os.environ).cache)
    click.echo(f"Removed {', '.join(removed.names)}, {size(removed.freed_bytes)} freed.")


def _all_models() -> list[Listed]:
    from pie.configuration.configuration import load_configuration
    from pie.hub.cache import cached_models, is_complete

    hub = Hub.from_environment(os.environ)
    rows = [_listed("embedded", "package", embedded_model())]
    rows += [_configured(name, path, hub) for name, path in _chosen(load_configuration(os.environ))]
    for model in cached_models(hub.cache):
        why_not = "" if is_complete(model, hub.cache) else "only a part of it is here"
        rows.append(_listed(model.name, "cache", model.path, why_not))
    return rows


def _chosen(configuration: Configuration) -> list[tuple[str, str]]:
    """Name and place of each model of the configuration."""
    first = configuration["model.path"]
    ours = [] if first is None else [("model.path", first)]
    return [*ours, *((f"models.{model.name}", str(model.path)) for model in configuration.models)]


def _configured(name: str, place: str, hub: Hub) -> Listed:
    from pie.hub.names import find_model

    try:
        path = find_model(place, hub)
    except ModelError as error:
        return Listed(name, "configuration", "unknown", "unknown", 0, place, error.cause)
    return _listed(name, "configuration", path)


def _listed(name: str, source: str, path: Path, why_not: str = "") -> Listed:
    from pie.inspection import summarize

    found = summarize(path)
    why_not = why_not or ("" if found.problem is None else found.problem.cause)
    return Listed(name, source, found.architecture, found.family, found.size_bytes, str(path), why_not)


def _choices(found: dict[str, Any]) -> list[str]:
    """What each choice of `--weights` takes."""
    return [f"{choice} {size(size_bytes)}" for choice, size_bytes in (found["weight_bytes"] or {}).items()]


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The facts for people."""

    def number(key: str, unit: str = "") -> str:
        return f"{found[key]:,}{unit}" if found[key] is not None else "unknown"

    reason = found["why_not"]
    told = "yes" if reason is None else f"no, {reason['code']}: {reason['cause']}. {reason['remedy']}"
    return [
        ("name", found["name"]),
        ("path", found["path"]),
        ("architecture", f"{found['architecture'] or 'unknown'} ({found['family']})"),
        ("parameters", f"{number('parameters')} as {', '.join(found['dtypes']) or 'unknown'}"),
        ("size", size(found["size_bytes"])),
        ("computes in", found["computes_in"] or "unknown"),
        ("weights in memory", ", ".join(_choices(found)) or "unknown"),
        ("context length", number("context_length", " tokens")),
        ("vocabulary", number("vocab_size", " tokens")),
        ("layers", number("layers")),
        ("KV cache", f"{number('kv_bytes_per_token', ' B')} per token, {number('kv_bytes_per_page', ' B')} per page"),
        ("chat template", found["chat_template"] or "unknown"),
        ("reasoning", found["reasoning"] or "none"),
        ("tool calls", found["tools"] or "none"),
        *(("note", note) for note in found["notes"]),
        ("can be run", told),
    ]
