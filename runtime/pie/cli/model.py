"""`pie model`: what models are on this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from pie.cli.grouping import Group
from pie.config import embedded_model

__all__ = ["command"]


@click.group("model", cls=Group, short_help="Look at the models on this machine.")
def command() -> None:
    """Look at the models on this machine.

    \b
    Example:
      pie model list
    """


@command.command("list", short_help="List models.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_models(*, as_json: bool) -> None:
    """List the embedded model and the models in the Hugging Face cache.

    \b
    Example:
      pie model list --json
    """
    models = [_describe("embedded", embedded_model())]
    models += [_describe(name, path) for name, path in _hugging_face_cache()]
    if as_json:
        click.echo(json.dumps(models, indent=2))
        return
    width = max(len(model["name"]) for model in models)
    for model in models:
        size = f"{model['size_bytes'] / 1e6:,.1f} MB"
        click.echo(f"{model['name']:<{width}}  {model['architecture']:<24}  {size:>12}  {model['path']}")


def _hugging_face_cache() -> list[tuple[str, Path]]:
    root = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface") / "hub"
    found = []
    for folder in sorted(root.glob("models--*")):
        snapshots = [path for path in folder.glob("snapshots/*") if (path / "config.json").exists()]
        if snapshots:
            newest = max(snapshots, key=lambda path: path.stat().st_mtime)
            found.append((folder.name.removeprefix("models--").replace("--", "/"), newest))
    return found


def _describe(name: str, path: Path) -> dict[str, Any]:
    try:
        architectures = json.loads((path / "config.json").read_text()).get("architectures") or ["unknown"]
    except (OSError, ValueError):
        architectures = ["unreadable"]
    size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    return {"name": name, "architecture": str(architectures[0]), "size_bytes": size, "path": str(path)}
