"""The cache of the Hugging Face tools: which models are in it, where, and how to be rid of one.

The layout is theirs, and read by their own library. Nothing here asks the network.
"""

from __future__ import annotations

import difflib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import scan_cache_dir, snapshot_download
from huggingface_hub.errors import CacheNotFound, IncompleteSnapshotError, LocalEntryNotFoundError

from pie.errors import ModelError
from pie.hub.names import ModelId, parse_id

if TYPE_CHECKING:
    from huggingface_hub import HFCacheInfo

__all__ = ["CachedModel", "Removed", "cached_models", "is_complete", "locate", "remove_model"]

NEEDED = ["config.json", "tokenizer.json", "*.safetensors", "*.safetensors.index.json"]
"""Without these of its files, a model is not there."""
UNUSED = ["*/*", "consolidated*"]
"""Files that no model needs: those of other formats in folders, and the weights a second time."""


@dataclass(frozen=True, slots=True)
class CachedModel:
    """One revision of a model in the cache.

    Attributes:
        name: by which it is found; with its revision unless that is `main`.
        repository: such as Qwen/Qwen3-0.6B.
        commit: the whole hash.
        refs: branches and tags that stand for it.
        path: its directory.
    """

    name: str
    repository: str
    commit: str
    refs: tuple[str, ...]
    path: Path


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed: the names of models, and how many bytes that freed."""

    names: tuple[str, ...]
    freed_bytes: int


def cached_models(cache: Path) -> list[CachedModel]:
    """All models in the cache, by name."""
    info = _scan(cache)
    found = [] if info is None else [repository for repository in info.repos if repository.repo_type == "model"]
    models = []
    for repository in found:
        for revision in repository.revisions:
            refs = tuple(sorted(revision.refs))
            name = str(ModelId(repository.repo_id, "main" if "main" in refs else (*refs, revision.commit_hash)[0]))
            models.append(CachedModel(name, repository.repo_id, revision.commit_hash, refs, revision.snapshot_path))
    return sorted(models, key=lambda model: model.name)


def locate(wanted: ModelId, cache: Path) -> Path:
    """The directory of a model that is in the cache.

    Raises:
        ModelError: `model-not-found`, `model-incomplete`.
    """
    try:
        return _snapshot(wanted, cache)
    except IncompleteSnapshotError:
        raise ModelError(
            "model-incomplete",
            f"only a part of {wanted} is in the Hugging Face cache",
            remedy=f"Fetch the rest by `{_download(wanted)}`.",
        ) from None
    except LocalEntryNotFoundError:
        there = f"{cache / _folder(wanted.repository)} has another revision only"
        nowhere = f"{wanted} is neither a directory nor a model in the Hugging Face cache"
        cause = there if (cache / _folder(wanted.repository) / "snapshots").is_dir() else nowhere
        raise ModelError("model-not-found", cause, remedy=f"Fetch it by `{_download(wanted)}`.") from None


def is_complete(model: CachedModel, cache: Path) -> bool:
    """Whether all files that it needs have arrived."""
    try:
        _snapshot(ModelId(model.repository, model.commit), cache)
    except LocalEntryNotFoundError:
        return False
    return True


def remove_model(name: str, cache: Path) -> Removed:
    """Remove a model, all revisions of it unless one is named.

    Args:
        name: ORG/NAME[@REVISION].
        cache: the folder of the cache.

    Raises:
        ModelError: `model-not-found`, with the nearest name.
        OSError: it cannot be removed.
    """
    models = cached_models(cache)
    wanted = parse_id(name)
    ours = [model for model in models if wanted is not None and model.repository == wanted.repository]
    if wanted is not None and "@" in name:
        ours = [model for model in ours if wanted.revision == model.commit or wanted.revision in model.refs]
        info = _scan(cache)
        if ours and info is not None:
            strategy = info.delete_revisions(*(model.commit for model in ours))
            strategy.execute()
            return Removed(tuple(model.name for model in ours), strategy.expected_freed_size)
    elif wanted is not None and (folder := cache / _folder(wanted.repository)).is_dir():
        freed = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_symlink() and path.is_file())
        shutil.rmtree(folder)
        return Removed(tuple(model.name for model in ours) or (name,), freed)
    raise _not_there(name, [model.name for model in models])


def _not_there(name: str, known: list[str]) -> ModelError:
    by_word = {word.lower(): one for one in known for word in (one.rpartition("/")[2], one)}
    near = difflib.get_close_matches(name.lower(), by_word, n=1)
    remedy = f"Did you mean {by_word[near[0]]}?" if near else "`pie model list --all` shows what there is."
    return ModelError("model-not-found", f"no model {name} is in the Hugging Face cache", remedy=remedy)


def _snapshot(wanted: ModelId, cache: Path) -> Path:
    return Path(
        snapshot_download(
            wanted.repository,
            revision=wanted.revision,
            cache_dir=cache,
            local_files_only=True,
            allow_patterns=NEEDED,
            ignore_patterns=UNUSED,
        )
    )


def _scan(cache: Path) -> HFCacheInfo | None:
    try:
        return scan_cache_dir(cache)
    except CacheNotFound:
        return None


def _folder(repository: str) -> str:
    return "models--" + repository.replace("/", "--")


def _download(wanted: ModelId) -> str:
    revision = "" if wanted.revision == "main" else f" --revision {wanted.revision}"
    return f"pie model download {wanted.repository}{revision}"
