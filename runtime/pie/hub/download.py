"""Downloads of models from the hub into the cache of the Hugging Face tools. The only place that asks the hub.

Fetches what Pie reads and nothing else: never pickled weights, which can run code. A model becomes visible when all of
it is there; files that have arrived are not fetched again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm import tqdm

from pie.config import Hub
from pie.errors import ModelError
from pie.hub.cache import UNUSED
from pie.hub.names import ModelId

__all__ = ["Watcher", "download_model"]

WANTED = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.*",
    "*.safetensors",
    "*.safetensors.index.json",
]
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who watches a download.

    Attributes:
        check: sees a directory with the model's config.json before its weights are fetched; raises if it is no use.
        progress: hears the bytes that have arrived, and how many there are; raising in it ends the download.
    """

    check: Callable[[Path], object]
    progress: Callable[[int, int], object]


def download_model(wanted: ModelId, hub: Hub, watcher: Watcher) -> Path:
    """Fetch a model, or what is missing of it.

    Returns:
        Its directory in the cache.

    Raises:
        ModelError: `model-not-found`, `model-gated`, `pickle-weights`, `no-weights`, `not-enough-disk`, `hub-failed`,
            `network-unavailable`.
        OSError: the cache cannot be written.
    """
    with _told(wanted, hub):
        info = HfApi(endpoint=hub.endpoint).model_info(wanted.repository, revision=wanted.revision)
        commit = str(info.sha)
        _refuse_without_weights(wanted, [file.rfilename for file in info.siblings or ()])
        pinned = ModelId(wanted.repository, commit)  # no branch stands for it until all of it is there
        silent = _bar(lambda _arrived, _total: None, 0)
        watcher.check(Path(_fetch(pinned, hub, allow_patterns=["config.json"], tqdm_class=silent)))
        files = _fetch(pinned, hub, allow_patterns=WANTED, tqdm_class=silent, dry_run=True)
        total = _check_space(wanted, hub, files)
        bar = _bar(watcher.progress, total)
        path = Path(_fetch(pinned, hub, allow_patterns=WANTED, tqdm_class=bar))
        if wanted.revision != commit:
            _fetch(wanted, hub, allow_patterns=WANTED, tqdm_class=bar)
        return path


def _fetch(wanted: ModelId, hub: Hub, **choices: Any) -> Any:
    return snapshot_download(
        wanted.repository,
        revision=wanted.revision,
        cache_dir=hub.cache,
        endpoint=hub.endpoint,
        ignore_patterns=UNUSED,
        **choices,
    )


def _refuse_without_weights(wanted: ModelId, files: list[str]) -> None:
    if any(name.endswith(".safetensors") and "/" not in name for name in files):
        return
    pickles = [name for name in files if name.endswith(PICKLES)]
    if pickles:
        raise ModelError(
            "pickle-weights",
            f"{wanted} has only pickled weights ({pickles[0]}), which can run code when loaded",
            remedy="Choose a version of the model with safetensors.",
        )
    raise ModelError("no-weights", f"{wanted} has no safetensors weights", remedy="Choose another model.")


def _check_space(wanted: ModelId, hub: Hub, files: list[Any]) -> int:
    """The bytes that are to be fetched, if the disk has room for them."""
    total: int = sum(file.file_size for file in files if file.will_download)
    free = shutil.disk_usage(hub.cache).free
    if total > free:
        raise ModelError(
            "not-enough-disk",
            f"{wanted} needs {total:,} bytes and {hub.cache} has {free:,} left",
            remedy="Free some space, or set HF_HOME to a folder on another disk.",
        )
    return total


def _bar(progress: Callable[[int, int], object], total_bytes: int) -> type:
    """A class of progress bars that draw nothing and add up what arrives."""
    arrived = 0

    class Bar(tqdm):  # type: ignore[misc]
        """What the hub's library tells of its progress; its threads call this."""

        def __init__(self, *arguments: Any, **choices: Any) -> None:
            self._counts = "Reconstructing" in str(choices.get("desc"))
            super().__init__(*arguments, **{**choices, "disable": True})

        def update(self, n: float | None = 1) -> None:
            nonlocal arrived
            arrived += int(n or 0) if self._counts else 0
            progress(arrived, total_bytes)

    return Bar


@contextmanager
def _told(wanted: ModelId, hub: Hub) -> Iterator[None]:
    """Turn what the hub's library raises into errors that say what to do."""
    try:
        yield
    except GatedRepoError as error:
        why = "the token has no access to it" if error.response.status_code == 403 else "it asks for a token"
        raise ModelError(
            "model-gated",
            f"{wanted.repository} is gated, and {why}",
            remedy=f"Ask for access at {hub.endpoint}/{wanted.repository}, and set HF_TOKEN to a token of yours.",
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(
            "model-not-found",
            f"{wanted.repository} has no revision {wanted.revision}",
            remedy="Give a branch, a tag or a whole commit.",
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            "model-not-found",
            f"{hub.endpoint} has no model {wanted.repository}, or shows it to its owners alone",
            remedy="Check the name; for a private model, set HF_TOKEN.",
        ) from error
    except (httpx2.TransportError, LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        cause = error.__cause__ or error
        if isinstance(cause, HfHubHTTPError):
            raise _hub_failed(hub, f"answered {cause.response.status_code}") from error
        raise _unreachable(hub, cause) from error
    except HfHubHTTPError as error:
        raise _hub_failed(hub, f"answered {error.response.status_code}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise _unreachable(hub, error) from error  # a file that came short
    except (ValueError, KeyError, TypeError) as error:
        raise _hub_failed(hub, f"gave an answer that is none of a hub ({type(error).__name__})") from error


def _unreachable(hub: Hub, error: BaseException) -> ModelError:
    offline = isinstance(error, OfflineModeIsEnabled)
    told = "HF_HUB_OFFLINE is set" if offline else (str(error).strip() or type(error).__name__).splitlines()[0]
    return ModelError(
        "network-unavailable",
        f"{hub.endpoint} cannot be reached: {told.rstrip('.')}",
        remedy="Check the network and HF_ENDPOINT, and give the command again: what has arrived is kept.",
    )


def _hub_failed(hub: Hub, what: str) -> ModelError:
    return ModelError("hub-failed", f"{hub.endpoint} {what}", remedy="Try again later, or check HF_ENDPOINT.")
