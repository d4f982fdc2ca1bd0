"""What a model is called: a directory, `embedded`, or `ORG/NAME[@REVISION]` of the Hugging Face cache.

Finding a model never asks the network; only `pie.hub.download` does.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from pie.config import Hub, embedded_model, expand
from pie.errors import ModelError

__all__ = ["EMBEDDED", "ModelId", "find_model", "model_from", "parse_id"]

EMBEDDED = "embedded"
"""The name of the model inside the package."""
_ID = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[A-Za-z0-9][\w./-]*))?", re.A)
_PAGE = re.compile(r"(?:https?:/+)?[\w.-]+\.\w+/(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)", re.A)
_NOWHERE = ("--", "..")  # the hub allows them in no name


@dataclass(frozen=True, slots=True)
class ModelId:
    """A model of the hub.

    Attributes:
        repository: such as Qwen/Qwen3-0.6B.
        revision: a branch, a tag or a commit.
    """

    repository: str
    revision: str = "main"

    def __str__(self) -> str:
        return self.repository if self.revision == "main" else f"{self.repository}@{self.revision}"


def parse_id(text: str) -> ModelId | None:
    """The model that a text names; None if it is no name of the hub."""
    match = _ID.fullmatch(text)
    if match is None or any(part in text for part in _NOWHERE):
        return None
    return ModelId(match["repository"], match["revision"] or "main")


def model_from(folder: Path, text: str) -> str:
    """A model that a file in `folder` names: a directory starts from there, a name stays as it is."""
    path = folder / text
    return str(path) if path.exists() or (parse_id(text) is None and text != EMBEDDED) else text


def find_model(text: str, hub: Hub) -> Path:
    """The directory of a model.

    Args:
        text: a directory, `embedded`, or ORG/NAME[@REVISION].
        hub: whose cache is looked into.

    Raises:
        ModelError: `model-not-found`; `model-incomplete` if a download has not been finished.
    """
    path = expand(text)
    if path.is_dir():
        return path
    if text == EMBEDDED:
        return embedded_model()
    wanted = parse_id(text)
    if wanted is None or path.exists():
        what = "is a file, not a directory" if path.exists() else "is no directory"
        raise ModelError("model-not-found", f"{text} {what}", remedy=_meant(text))
    from pie.hub.cache import locate  # takes its time, and directories need it not

    return locate(wanted, hub.cache)


def _meant(text: str) -> str:
    """What to give in the place of a text that names nothing."""
    page = _PAGE.match(text)
    if page is not None:
        return f"Give the name alone: {page['name']}."
    if difflib.get_close_matches(text.lower(), [EMBEDDED]):
        return f"Did you mean {EMBEDDED}?"
    return "Give a directory in Hugging Face format, or a name of `pie model list`."
