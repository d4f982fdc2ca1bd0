"""The tokens that end a generation, as the files of a model directory name them.

Knows the files and their keys; what a name is worth in a vocabulary, the tokenizer knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pie.errors import ModelError

__all__ = ["missing_ends", "named_ends"]

ReadJson = Callable[[Path], dict[str, Any]]


def named_ends(folder: Path, read_json: ReadJson) -> Iterator[int | str]:
    """Ids and texts of end tokens, from generation_config.json, config.json and tokenizer_config.json.

    What cannot be either is left out, as is a negative id, by which some files say that there is none.
    """
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        named = read_json(path).get("eos_token_id") if path.is_file() else None
        yield from (end for end in (named if isinstance(named, list) else [named]) if type(end) is int and end >= 0)
    path = folder / "tokenizer_config.json"
    named = read_json(path).get("eos_token") if path.is_file() else None
    content = named.get("content") if isinstance(named, dict) else named
    if isinstance(content, str) and content:
        yield content


def missing_ends(folder: Path, named: list[int | str]) -> ModelError:
    """The error of a vocabulary that has none of the tokens that are named: no answer would come to an end."""
    return ModelError(
        "missing-token",
        f"{folder}: tokenizer.json has no end token, none of {', '.join(map(repr, dict.fromkeys(named)))}",
        remedy="Download the model again: its files do not belong together.",
    )
