"""Pages on disk: one safetensors file with keys and values in a layout that every backend and page size can read.

The tensor `kv` is [layers, 2, tokens, kv_heads, head_dim]. The file's metadata holds the model's fingerprint, whatever
the caller adds, and a digest of all that and of the tensor: a bit that flips on the disk is found before it is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pie.durable import replacing
from pie.errors import ContextError

__all__ = ["FINGERPRINT_KEY", "read_page_file", "write_page_file"]

FINGERPRINT_KEY = "pie.fingerprint"
DIGEST_KEY = "pie.digest"


def write_page_file(path: Path, content: torch.Tensor, *, fingerprint: str, metadata: Mapping[str, str]) -> None:
    """Write `content` [layers, 2, tokens, kv_heads, head_dim] to `path`: complete and on the disk, or not at all.

    Raises:
        ContextError: `snapshot-not-saved` if the file system refuses.
    """
    content = content.contiguous()
    entries = {**metadata, FINGERPRINT_KEY: fingerprint}
    try:
        with replacing(path) as temporary:
            save_file({"kv": content}, temporary, {**entries, DIGEST_KEY: _digest(entries, content)})
    except (OSError, SafetensorError) as error:
        raise ContextError(
            "snapshot-not-saved", f"{path}: {error}", remedy="Make room on the disk and check the folder's rights."
        ) from error


def read_page_file(path: Path, *, fingerprint: str, like: torch.Tensor) -> torch.Tensor:
    """Read what `write_page_file` wrote.

    Args:
        path: the file.
        fingerprint: of the model that wants it.
        like: a tensor of the wanted shape and dtype (its values do not matter; a meta tensor will do).

    Raises:
        ContextError: `snapshot-unusable` if the file is damaged, of another model, or of another size.
    """
    try:
        with safe_open(path, "pt") as file:
            entries = dict(file.metadata() or {})
            found = entries.get(FINGERPRINT_KEY)
            if found != fingerprint:
                raise _unusable(path, f"it was made by another model (fingerprint {str(found)[:12]})")
            content = file.get_tensor("kv")
    except (OSError, SafetensorError) as error:
        raise _unusable(path, f"it cannot be read: {error}") from error
    if content.shape != like.shape or content.dtype != like.dtype:
        raise _unusable(
            path, f"it holds {tuple(content.shape)} {content.dtype} where {tuple(like.shape)} {like.dtype} is wanted"
        )
    if entries.pop(DIGEST_KEY, None) != _digest(entries, content):
        raise _unusable(path, "it is damaged: its digest is not that of its content")
    return content


def _digest(entries: Mapping[str, str], content: torch.Tensor) -> str:
    digest = hashlib.blake2b(json.dumps(sorted(entries.items())).encode(), digest_size=16)
    digest.update(content.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _unusable(path: Path, cause: str) -> ContextError:
    return ContextError(
        "snapshot-unusable", f"{path}: {cause}", remedy="Delete the snapshot, or serve the model and dtype it is of."
    )
