"""The file of a saved context: where it lies, and what its metadata say.

The device writes the keys and values of the pages as a safetensors file; what the scheduler must know to make a context
of them stands in the file's header, as text: format, model, tokens, positions, masks.
Only the header is read here (source: the safetensors format, 8 bytes of length and then JSON).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from pie.forward import DeviceInfo
from pie.scheduler import faults
from pie.scheduler.context import CommittedPage, Context
from pie.scheduler.origins import RowOrigin
from pie.scheduler.prefix import page_digest

__all__ = [
    "decode_metadata",
    "encode_metadata",
    "model_of_other",
    "read_metadata",
    "remove_leftovers",
    "snapshot_path",
    "user_directory",
]

_FORMAT = "pie-context/1"
_MAX_HEADER_BYTES = 100 * 1024 * 1024
_LEFTOVER_S = 3600.0


def model_of_other(directory: Path, user: str, name: str, *, fingerprint: str) -> str | None:
    """Another model of which the user has saved a context under this name, if there is one."""
    for path in user_directory(directory, user).glob("*.safetensors"):
        metadata = read_metadata(path) or {}
        if metadata.get("name") == name and metadata.get("user") == user and metadata.get("fingerprint") != fingerprint:
            return metadata.get("model", "another")
    return None


def remove_leftovers(directory: Path) -> None:
    """Remove what a process that was killed while it saved has left; a file that is being written is younger."""
    for path in directory.glob("*/.*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _LEFTOVER_S:
                path.unlink()


def user_directory(directory: Path, user: str) -> Path:
    """Where the saved contexts of a user lie; any text is a user, so the folder's name is a digest."""
    return directory / hashlib.blake2b(user.encode(), digest_size=16).hexdigest()


def snapshot_path(directory: Path, user: str, name: str, *, fingerprint: str) -> Path:
    """The file of a saved context; any text is a name, and each model has its own, so the file's name is a digest."""
    digest = hashlib.blake2b(f"{fingerprint}\0{name}".encode(), digest_size=24).hexdigest()
    return user_directory(directory, user) / f"{digest}.safetensors"


def encode_metadata(context: Context, info: DeviceInfo, *, user: str, name: str) -> dict[str, str]:
    """Describe a context for its file's header."""
    pages = context.committed()
    tokens = [token for page in pages for token in page.token_ids.tolist()]
    positions = [position for page in pages for position in page.positions.tolist()]
    return {
        "format": _FORMAT,
        "user": user,
        "name": name,
        "model": info.model,
        "fingerprint": info.fingerprint,
        "page_size": str(info.page_size),
        "committed_pages": str(context.num_committed),
        "discarded_pages": json.dumps(list(context.discarded)),
        "token_ids": json.dumps([*tokens, *context.working_tokens]),
        "positions": json.dumps([*positions, *context.working_positions]),
        "page_masks": json.dumps([page.masks.hex() for page in pages]),
        "working_masks": json.dumps(
            {str(index): origin.key.hex() for index, origin in context.working_origins.items()}
        ),
    }


def decode_metadata(metadata: Mapping[str, str], info: DeviceInfo, *, name: str, root: bytes) -> Context:
    """Rebuild a context without pages from its file's header.

    Args:
        metadata: the header's text entries.
        info: the device that is to hold it.
        name: what the user calls it, for errors.
        root: digest that its pages are chained to.

    Raises:
        ContextError: `snapshot-unusable` if the file is of another model, page size or format, or damaged.
    """
    if metadata.get("format") != _FORMAT:
        raise faults.snapshot_unusable(name, info.model, f"its format is {metadata.get('format')!r}, not {_FORMAT!r}")
    if metadata.get("fingerprint") != info.fingerprint:
        raise faults.snapshot_unusable(name, info.model, f"it was made by model {metadata.get('model')!r}")
    if metadata.get("page_size") != str(info.page_size):
        cause = f"its pages hold {metadata.get('page_size')} tokens, this server's hold {info.page_size}"
        raise faults.snapshot_unusable(name, info.model, cause)
    try:
        return _lineage(metadata, info, root)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        cause = f"its header is damaged: {type(error).__name__}: {error}"
        raise faults.snapshot_unusable(name, info.model, cause) from error


def read_metadata(path: Path) -> dict[str, str] | None:
    """The text entries of a safetensors header; None if there is no such file, empty if it is no such file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _MAX_HEADER_BYTES:
                return {}
            header = json.loads(file.read(length))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        return {}
    entries = header.get("__metadata__") if isinstance(header, dict) else None
    return entries if isinstance(entries, dict) else {}


def _lineage(metadata: Mapping[str, str], info: DeviceInfo, root: bytes) -> Context:
    size = info.page_size
    context = Context(0, owner=None, root=root, page_size=size)
    tokens = np.array(json.loads(metadata["token_ids"]), np.int32)
    positions = np.array(json.loads(metadata["positions"]), np.int32)
    masks = [bytes.fromhex(mask) for mask in json.loads(metadata["page_masks"])]
    committed = int(metadata["committed_pages"])
    if tokens.ndim != 1 or tokens.shape != positions.shape or len(masks) != committed:
        raise ValueError("its lists have different lengths")
    if not 0 <= committed * size <= len(tokens):
        raise ValueError(f"{committed} committed pages of {len(tokens)} tokens")
    if len(tokens) and not (tokens.min() >= 0 and tokens.max() < info.vocab_size and positions.min() >= 0):
        raise ValueError("a token or position is out of range")
    for number, mask in enumerate(masks):
        page_tokens, page_positions = (array[number * size : (number + 1) * size] for array in (tokens, positions))
        parent = context.tail.digest if context.tail else root
        digest = page_digest(parent, page_tokens, page_positions, mask)
        context.tail = CommittedPage(context.tail, digest, page_tokens, page_positions, mask, {})
        context.num_committed += 1
        context.is_known &= not mask
    for number in json.loads(metadata.get("discarded_pages", "[]")):
        if not 0 <= int(number) < committed:
            raise ValueError(f"page {number} is discarded but not committed")
        context.discarded[int(number)] = None
    working = json.loads(metadata["working_masks"])
    context.is_known &= not working
    start = committed * size
    context.append(
        tokens[start:].tolist(),
        positions[start:].tolist(),
        {int(index): RowOrigin(bytes.fromhex(key)) for index, key in working.items()},
    )
    return context
